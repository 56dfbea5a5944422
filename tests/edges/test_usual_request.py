"""What is read at a tenth of the price is answered as the book would."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.edges.handshake import Accepted, Refused, Rules, by_the_book, shake_hands
from realtime.edges.usual_request import MAX_BYTES, MAX_FIELDS, read_usual

JSON, MSGPACK = "realtime.v1.json", "realtime.v1.msgpack"
LINE = "GET /v1/ws HTTP/1.1"
FIELDS = (
    ("Host", "example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Protocol", JSON),
)

Fields = tuple[tuple[str, str], ...]


def head_of(fields: Fields, line: str = LINE) -> bytes:
    """The request of these fields."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"{line}\r\n{lines}\r\n".encode("latin-1")


def said(outcome: Accepted | Refused) -> tuple[object, ...]:
    """All that is answered, but for the time."""
    lines = outcome.response.split(b"\r\n")
    assert len([line for line in lines if line.startswith(b"Date: ")]) == 1
    rest = sorted(line for line in lines if not line.startswith(b"Date: "))
    if isinstance(outcome, Refused):
        return "refused", outcome.status, rest
    return "accepted", outcome.subprotocol, outcome.compression, rest


# -- what is usual ---------------------------------------------------------------------

CHROME = (
    ("Pragma", "no-cache"),
    ("Cache-Control", "no-cache"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
    ("Origin", "http://example.com"),
    ("Accept-Encoding", "gzip, deflate"),
    ("Cookie", "a=b; c=d"),
    ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
)


@pytest.mark.parametrize(
    "fields",
    [
        FIELDS,
        FIELDS + CHROME,
        tuple((name.lower(), value) for name, value in FIELDS + CHROME),
        (*FIELDS[:2], ("Connection", "keep-alive, Upgrade"), *FIELDS[3:]),  # Firefox
        FIELDS[:5],
    ],
)
def test_what_clients_send_is_usual(fields: Fields) -> None:
    """Apps, Chrome, Firefox, libraries in lower case, and without sub-protocols."""
    found = read_usual(head_of(fields))

    assert found is not None
    assert found.host == "example.com"
    assert found.key == "dGhlIHNhbXBsZSBub25jZQ=="


@pytest.mark.parametrize(
    "head",
    [
        head_of((*FIELDS, ("Host", "other.example"))),
        head_of((*FIELDS, ("X-Forwarded-For", "1.2.3.4"), ("x-forwarded-for", "5"))),
        head_of((*FIELDS, ("Content-Length", "0"))),
        head_of((*FIELDS, ("Transfer-Encoding", "chunked"))),
        head_of((*FIELDS, ("Name", "J\xfcrgen"))),
        head_of((*FIELDS, ("Long", "x" * MAX_BYTES))),
        head_of((*FIELDS, *((f"X-{each}", "x") for each in range(MAX_FIELDS)))),
        head_of(FIELDS, "POST /v1/ws HTTP/1.1"),
        head_of(FIELDS, "GET /v1/ws HTTP/1.0"),
        head_of(FIELDS).replace(b": web", b" : web"),
        head_of(FIELDS).replace(b"Upgrade: web", b"Upgrade:\r\n web"),
        head_of(FIELDS).replace(b"Upgrade: websocket", b"Upgrade: websocket\nA: b"),
        head_of(FIELDS)[:-2],
    ],
)
def test_what_is_unusual_is_left_to_the_book(head: bytes) -> None:
    """Twice the same, a body, old protocols, folded lines, large ones ..."""
    assert read_usual(head) is None


# -- the same answer -------------------------------------------------------------------

VALUES = {
    "Host": ["example.com", "example.com:80", "127.0.0.1:8080", ""],
    "Upgrade": ["websocket", "WebSocket", "websocket, h2c", "h2c", "", "web socket"],
    "Connection": ["Upgrade", "upgrade", "keep-alive, Upgrade", "close", "a, ,Upgrade"],
    "Sec-WebSocket-Key": [
        "dGhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZR==",  # bits that are not zero at the end
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZ===",
        "dGhlIHNhbXBs-SBub25jZQ==",
        "",
    ],
    "Sec-WebSocket-Version": ["13", "8", "13, 8", "013", ""],
    "Sec-WebSocket-Protocol": [
        JSON,
        MSGPACK,
        f"{MSGPACK}, {JSON}",
        f"other,{JSON}",
        f", {JSON}",
        f"{JSON} {MSGPACK}",
        "other",
        "",
    ],
    "Origin": ["http://example.com", "https://evil.example", "null", ""],
    "Sec-WebSocket-Extensions": [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=8",
        "other; x=1",
        "permessage-deflate;;",
        "",
    ],
    "Content-Length": ["0", "5"],
    "X-Other": ["x", "\xe9", "\t padded \t", ""],
}

LINES = [
    LINE,
    "GET /v1/ws?a=1 HTTP/1.1",
    "GET /v1/other HTTP/1.1",
    "GET /v1/ws HTTP/1.0",
    "GET  /v1/ws HTTP/1.1",
    "HEAD /v1/ws HTTP/1.1",
]

RULES = [
    Rules((JSON, MSGPACK), ()),
    Rules((JSON, MSGPACK), (), dev=True),
    Rules((JSON,), ("https://evil.example",), compression=True),
    Rules(("",), ("*",), compression=True),
]


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """A good request with a few things changed, left out, or said once more."""
    fields = dict(FIELDS)
    for name in draw(st.lists(st.sampled_from(list(VALUES)), max_size=3)):
        fields[name] = draw(st.sampled_from(VALUES[name]))
    for name in draw(st.lists(st.sampled_from(list(fields)), max_size=1)):
        del fields[name]
    pairs = draw(st.permutations(list(fields.items())))
    if draw(st.integers(0, 9)) == 0:
        pairs = [*pairs, pairs[0]]
    if draw(st.booleans()):
        pairs = [(name.lower(), value) for name, value in pairs]
    line = draw(st.sampled_from([LINE] * 5 + LINES))
    return head_of(tuple(pairs), line)


@settings(max_examples=500)
@given(heads(), st.sampled_from(RULES))
def test_the_answer_is_that_of_the_book(head: bytes, rules: Rules) -> None:
    """Let in or not, sub-protocol, compression, and every line of the response."""
    assert said(shake_hands(head, rules)) == said(by_the_book(head, rules))


@settings(max_examples=500)
@given(st.data(), st.sampled_from(RULES))
def test_a_byte_that_is_wrong_changes_no_answer(
    data: st.DataObject, rules: Rules
) -> None:
    """Wherever it stands, and whatever it is."""
    head = bytearray(head_of(FIELDS + CHROME[3:]))
    at = data.draw(st.integers(0, len(head) - 5))
    head[at] = data.draw(st.sampled_from(list(b'\0\t\n\r :,;="\x7f\x80\xffaA0')))
    if b"\r\n\r\n" in head[:-4]:
        return  # the head would end there
    assert said(shake_hands(bytes(head), rules)) == said(
        by_the_book(bytes(head), rules)
    )
