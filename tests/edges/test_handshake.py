"""Who is let in, and what those who are not are told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.edges.handshake import (
    MAX_HEAD_BYTES,
    Accepted,
    HeadReader,
    HeadTooLarge,
    Refused,
    Rules,
    client_of,
    is_whole_head,
    shake_hands,
)
from realtime.edges.proxy import trusted_proxies

JSON, MSGPACK = "realtime.v1.json", "realtime.v1.msgpack"

HEADERS = {
    "Host": "example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": JSON,
}


def ask(
    line: str = "GET /v1/ws HTTP/1.1",
    *,
    subprotocols: tuple[str, ...] = (JSON, MSGPACK),
    origins: tuple[str, ...] = (),
    dev: bool = False,
    extra: str = "",
    **headers: str | None,
) -> Accepted | Refused:
    """Shake hands; a header that is None is left out, ``_`` stands for ``-``."""
    wanted = HEADERS | {name.replace("_", "-"): text for name, text in headers.items()}
    lines = [f"{name}: {text}\r\n" for name, text in wanted.items() if text is not None]
    head = f"{line}\r\n{''.join(lines)}{extra}\r\n".encode()
    return shake_hands(head, Rules(subprotocols, origins, dev))


def refusal(outcome: Accepted | Refused) -> tuple[int, str]:
    """Return the status and the text of a refusal, having checked its form."""
    assert isinstance(outcome, Refused)
    head, _, body = outcome.response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % outcome.status)
    assert b"\r\nContent-Type: text/plain; charset=utf-8" in head
    assert b"\r\nContent-Length: %d" % len(body) in head
    assert b"\r\nConnection: close" in head
    assert body.rstrip().endswith(b".")
    return outcome.status, body.decode()


def test_a_good_request_is_accepted() -> None:
    """101 with the key of the RFC's example, the sub-protocol and no extension."""
    outcome = ask(Sec_WebSocket_Extensions="permessage-deflate")

    assert isinstance(outcome, Accepted)
    assert outcome.subprotocol == JSON
    assert outcome.response.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in outcome.response
    assert b"Sec-WebSocket-Protocol: realtime.v1.json" in outcome.response
    assert b"Extensions" not in outcome.response


def test_the_query_does_not_matter() -> None:
    """Some clients can only add things there."""
    assert isinstance(ask("GET /v1/ws?anything=1 HTTP/1.1"), Accepted)


def test_another_path_is_told_the_right_one() -> None:
    """404."""
    status, text = refusal(ask("GET /ws HTTP/1.1"))

    assert status == 404
    assert "/v1/ws" in text


# -- sub-protocols ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "offered, chosen",
    [
        (MSGPACK, MSGPACK),
        (f"{MSGPACK}, {JSON}", MSGPACK),
        (f"{JSON}, {MSGPACK}", JSON),
        (f"other, {MSGPACK}", MSGPACK),
    ],
)
def test_the_first_known_sub_protocol_is_chosen(offered: str, chosen: str) -> None:
    """The client's order is its preference."""
    outcome = ask(Sec_WebSocket_Protocol=offered)

    assert isinstance(outcome, Accepted)
    assert outcome.subprotocol == chosen


@pytest.mark.parametrize("offered", [None, "realtime.v2.json", "chat, superchat"])
def test_without_a_known_sub_protocol_the_two_are_named(offered: str | None) -> None:
    """400, and what the client did offer."""
    status, text = refusal(ask(Sec_WebSocket_Protocol=offered))

    assert status == 400
    assert f"{JSON} or {MSGPACK}" in text
    assert (offered or "nothing") in text


def test_a_host_may_accept_clients_without_sub_protocol() -> None:
    """The empty name stands for that."""
    outcome = ask(subprotocols=("",), Sec_WebSocket_Protocol=None)
    assert isinstance(outcome, Accepted)
    assert outcome.subprotocol == ""
    assert b"Sec-WebSocket-Protocol" not in outcome.response

    offering = ask(subprotocols=("",), Sec_WebSocket_Protocol="chat")
    assert refusal(offering)[0] == 400


# -- origins ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin, host, origins, allowed",
    [
        (None, "example.com", (), True),
        (None, "example.com", ("https://app.example",), True),
        ("https://example.com", "example.com", (), True),
        ("http://example.com", "example.com", (), True),
        ("https://EXAMPLE.com", "example.COM", (), True),
        ("https://example.com:443", "example.com", (), True),
        ("http://example.com", "example.com:80", (), True),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", (), True),
        ("http://[::1]:8080", "[::1]:8080", (), True),
        ("https://example.com:8443", "example.com", (), False),
        ("https://example.com.evil", "example.com", (), False),
        ("https://evil-example.com", "example.com", (), False),
        ("https://evil.example", "example.com", (), False),
        ("null", "example.com", (), False),
        ("example.com", "example.com", (), False),
        ("", "example.com", (), False),
        ("https://app.example", "example.com", ("https://app.example",), True),
        ("https://app.example", "example.com", ("https://APP.example/",), True),
        ("http://app.example", "example.com", ("https://app.example",), False),
        ("https://example.com", "example.com", ("https://app.example",), False),
        ("null", "example.com", ("*",), True),
        ("https://evil.example", "example.com", ("*",), True),
    ],
)
def test_browsers_must_come_from_an_allowed_origin(
    origin: str | None, host: str, origins: tuple[str, ...], allowed: bool
) -> None:
    """The same host when none are configured, else those; apps send no Origin."""
    outcome = ask(origins=origins, Origin=origin, Host=host)
    if allowed:
        assert isinstance(outcome, Accepted)
    else:
        status, text = refusal(outcome)
        assert status == 403
        assert repr(origin) in text
        assert "server.allowed_origins" in text


def test_two_origins_are_refused() -> None:
    """A browser sends one."""
    outcome = ask(Origin="https://example.com", extra="Origin: https://example.com\r\n")

    assert refusal(outcome)[0] == 400


def test_under_dev_a_page_may_not_call_us_by_its_own_name() -> None:
    """To the browser it is the server's own page, though its name is only borrowed."""
    names = {"Host": "evil.example:8080", "Origin": "http://evil.example:8080"}
    assert isinstance(ask(**names), Accepted)

    status, text = refusal(ask(**names, dev=True))
    assert status == 403
    assert "localhost" in text
    assert isinstance(ask(**names, dev=True, origins=("*",)), Accepted)


def test_under_dev_programs_may_use_any_name() -> None:
    """Without Origin it is no browser, and nobody has been led here."""
    assert isinstance(ask(Host="my-machine:8080", dev=True), Accepted)


# -- the RFC's own rules ---------------------------------------------------------------


@pytest.mark.parametrize(
    "change, status",
    [
        ({"Upgrade": None}, 426),
        ({"Connection": "keep-alive"}, 426),
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Sec_WebSocket_Version": "8"}, 400),
        ({"Host": None}, 400),
        ({"extra": "Host: other.example\r\n"}, 400),
        ({"line": "GET /v1/ws HTTP/1.0"}, 505),
        ({"extra": "Content-Length: 5\r\n"}, 400),
        ({"extra": "no colon\r\n"}, 400),
        ({"extra": "X: " + "y" * 9000 + "\r\n"}, 431),
        ({"line": "GET /v1/ws?" + "y" * 9000 + " HTTP/1.1"}, 414),
    ],
)
def test_a_request_that_is_none_gets_a_sentence(
    change: dict[str, str | None], status: int
) -> None:
    """Whatever is wrong, the response is HTTP and says what."""
    assert refusal(ask(**change))[0] == status  # type: ignore[arg-type]


HEAD = (
    b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nx-forwarded-for:  198.51.100.1 ,"
    b"192.0.2.9\t\r\nX-Forwarded-For: 10.0.0.2\r\n\r\n"
)


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [
        (("10.0.0.0/8",), "192.0.2.9"),
        (("10.0.0.1",), "10.0.0.2"),
        ((), "10.0.0.1"),
        (("192.0.2.1",), "10.0.0.1"),
    ],
)
def test_the_client_is_told_by_trusted_proxies(
    trusted: tuple[str, ...], expected: str
) -> None:
    """The last one that is not trusted, of all lines of the header; else the peer."""
    client = client_of(HEAD, trusted_proxies(trusted), "10.0.0.1", "http")
    assert client.address == expected


@given(st.binary(max_size=100))
def test_a_head_of_garbage_names_nobody_else(garbage: bytes) -> None:
    """Before a head is known to be sound, it is read all the same."""
    proxies = trusted_proxies(("10.0.0.1",))
    assert client_of(garbage, proxies, "10.0.0.1", "http").address == "10.0.0.1"


@given(st.binary(max_size=300))
def test_any_bytes_are_answered(garbage: bytes) -> None:
    """No head raises, and none but a proper one is accepted."""
    outcome = shake_hands(garbage + b"\r\n\r\n", Rules((JSON,), ()))

    assert isinstance(outcome, Refused)
    assert outcome.response.startswith(b"HTTP/1.1 ")


# -- collecting the head ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (HEAD, True),
        (HEAD[:-1], False),
        (HEAD + b"\x81", False),
        (HEAD + HEAD, False),
        (b"GET", False),
        (b"", False),
        (b"x" * MAX_HEAD_BYTES + b"\r\n\r\n", False),
    ],
)
def test_a_whole_head_is_told_from_a_part_and_from_more(
    data: bytes, whole: bool
) -> None:
    """Only what is exactly one head, and not too large, is one."""
    assert is_whole_head(data) is whole


@given(st.integers(1, 40), st.binary(max_size=20))
def test_the_head_ends_at_the_empty_line_however_it_is_cut(
    step: int, rest: bytes
) -> None:
    """What follows in the same chunk is kept apart."""
    reader = HeadReader()
    data = b"GET / HTTP/1.1\r\nA: b\r\n\r\n" + rest
    for start in range(0, len(data), step):
        complete = reader.feed(data[start : start + step])
        if complete is not None:
            head, begun = complete
            assert head == data[: len(data) - len(rest)]
            assert begun + data[start + step :] == rest
            return
    raise AssertionError("the end of the head was not found")


def test_a_head_is_bounded() -> None:
    """The bound itself is allowed; one byte more is not, complete or not."""
    full = b"x" * (MAX_HEAD_BYTES - 4) + b"\r\n\r\n"
    assert HeadReader().feed(full + b"rest") == (full, b"rest")
    assert HeadReader().feed(b"x" * MAX_HEAD_BYTES) is None
    for data in (b"x" + full, b"x" * (MAX_HEAD_BYTES + 1)):
        with pytest.raises(HeadTooLarge):
            HeadReader().feed(data)
