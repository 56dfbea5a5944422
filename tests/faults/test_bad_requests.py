"""HTTP requests that are wrong: the documented status, and nobody else notices."""

from __future__ import annotations

import json
import re
import socket
from contextlib import suppress
from typing import Any

import httpx
import msgpack
import pytest

from realtime.testing.processes import NodeProcess
from realtime.testing.servers import HOST
from tests.faults.support import (
    API_KEY,
    HTTP,
    PATIENCE_S,
    PAYLOAD,
    Witness,
    check_log,
    logged,
    metric,
    rss_bytes,
    user_token,
)

pytestmark = pytest.mark.usefixtures("served")

JSON = "application/json"
MSGPACK = "application/msgpack"
MAX_BODY = 1024 * 1024
LIKE = {"name": "like", "properties": {"post": "42"}}
BATCH = {"device": "shop", "first": 1, "events": [LIKE]}


def post(
    node: NodeProcess, path: str, body: bytes, kind: str = JSON, **headers: str
) -> httpx.Response:
    """Send *body* as a backend does."""
    sent = {"Authorization": f"Bearer {API_KEY}", "Content-Type": kind, **headers}
    return HTTP.post(f"{node.url}{path}", content=body, headers=sent)


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Return status, name and field; every error has the one shape."""
    found = answer.json()["error"]
    assert found["reason"]
    return answer.status_code, found["name"], found.get("field")


BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", JSON),
    "half an object": (b'{"device":', JSON),
    "words": (PAYLOAD.encode(), JSON),
    "NaN": (b'{"events": [NaN]}', JSON),
    "not UTF-8": (b'{"device":"\xff"}', JSON),
    "an array": (json.dumps([PAYLOAD]).encode(), JSON),
    "deep brackets": (b"[" * 50_000 + b"]" * 50_000, JSON),
    "half a map": (b"\x82\xa4type", MSGPACK),
    "JSON that is said to be MessagePack": (b"{}", MSGPACK),
    "an extension": (msgpack.packb(msgpack.Timestamp(1, 0)), MSGPACK),
    "an array of four billion": (b"\xdd\xff\xff\xff\xff", MSGPACK),
}


@pytest.mark.parametrize(("body", "kind"), BODIES.values(), ids=list(BODIES))
@pytest.mark.parametrize("path", ["/v1/events", "/v1/publish", "/v1/broadcast"])
def test_a_body_that_is_no_object_is_a_bad_message(
    node: NodeProcess, path: str, body: bytes, kind: str
) -> None:
    """The reason says what is wrong with it; the log says that it was refused."""
    answer = post(node, path, body, kind)

    assert error(answer) == (400, "bad_message", None)
    logged(node, event="request_refused", route=path, status=400, error="bad_message")


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        ("text/plain", {}),
        ("", {}),
        ("application/json; charset=latin-1", {}),
        (JSON, {"Content-Encoding": "gzip"}),
    ],
)
def test_a_body_of_another_kind_is_415(
    node: NodeProcess, kind: str, headers: dict[str, str]
) -> None:
    """Neither JSON nor MessagePack, or compressed: nothing of it is read."""
    answer = post(node, "/v1/events", b"{}", kind, **headers)

    assert error(answer) == (415, "unsupported_media_type", None)


@pytest.mark.parametrize(
    ("change", "status", "name", "field"),
    [
        ({"device": "a/b"}, 400, "bad_message", "device"),
        ({"device": "x" * 129}, 400, "bad_message", "device"),
        ({"first": 0}, 400, "bad_message", "first"),
        ({"first": -(2**63)}, 400, "bad_message", "first"),
        ({"first": 2**64}, 400, "bad_message", "first"),
        ({"first": 1e308}, 400, "bad_message", "first"),
        ({"lost": 1}, 400, "bad_message", "lost"),
        ({"sent_at": "now"}, 400, "bad_message", "sent_at"),
        ({"user": "x" * 256}, 400, "bad_message", "user"),
        ({"frist": 1}, 400, "bad_message", "frist"),
        ({"events": {}}, 400, "bad_message", "events"),
        ({"events": [LIKE] * 1001}, 413, "limit_exceeded", "events"),
        ({"first": 2**53 - 1, "events": [LIKE] * 2}, 413, "limit_exceeded", "first"),
        ({"first": 9}, 409, "gap", "first"),
    ],
)
def test_a_wrong_field_is_named(
    node: NodeProcess, change: dict[str, Any], status: int, name: str, field: str
) -> None:
    """Events are refused whole, by the field that is wrong."""
    answer = post(node, "/v1/events", json.dumps(BATCH | change).encode())

    assert error(answer) == (status, name, field)


@pytest.mark.parametrize(
    ("path", "body", "status", "name"),
    [
        ("/v1/publish", {"channel": "chat", "data": 1}, 400, "bad_channel"),
        ("/v1/publish", {"channel": "nope:a", "data": 1}, 404, "unknown_channel"),
        ("/v1/publish", {"channel": "chat:a"}, 400, "bad_message"),
        ("/v1/publish", {"channel": "live:beats", "data": 1}, 403, "permission_denied"),
        (
            "/v1/publish",
            {"channel": "chat:a", "data": "x" * 65_536},
            413,
            "limit_exceeded",
        ),
        ("/v1/broadcast", {"channels": [], "data": 1}, 400, "bad_message"),
        (
            "/v1/broadcast",
            {"channels": ["chat:a"] * 1001, "data": 1},
            400,
            "bad_message",
        ),
        ("/v1/broadcast", {"channels": [7], "data": 1}, 400, "bad_message"),
    ],
)
def test_a_wrong_publication_is_refused(
    node: NodeProcess, path: str, body: dict[str, Any], status: int, name: str
) -> None:
    """By the same names as on the socket."""
    answer = post(node, path, json.dumps(body).encode())

    assert error(answer)[:2] == (status, name)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/counters/nope", 404),
        ("/v1/counters/likes", 400),
        ("/v1/counters/likes?post=42&window=9m", 400),
        ("/v1/counters/likes?post=42&at=NaN", 400),
        ("/v1/counters/likes?post=42&at=1e999", 400),
        ("/v1/counters/likes?post=42&post=43", 400),
        ("/v1/counters/likes?post=42&past=43", 400),
        ("/v1/counters/%00", 404),
        ("/v1/counters/likes/cells?limit=0", 400),
        ("/v1/counters/likes/cells?limit=1e9", 400),
        ("/v1/counters/likes/cells?order=random", 400),
        ("/v1/devices/a%2Fb", 404),
        ("/v1/devices/%F0%9F%8E%89", 400),
        ("/v1/live", 400),
        ("/v1/live?channel=nope:a", 404),
        ("/v1/live?channel=chat:a%0A", 400),
        ("/v1/nothing", 404),
        ("/page/..%2f..%2fapp.py", 404),
        ("/page/%2e%2e/%2e%2e/app.py", 404),
        ("/%00", 404),
    ],
)
def test_a_wrong_address_is_refused(node: NodeProcess, path: str, status: int) -> None:
    """Whatever is in an address: one of our own answers, with a reason."""
    headers = {"Authorization": f"Bearer {API_KEY}"}
    answer = HTTP.get(f"{node.url}{path}", headers=headers)

    assert error(answer)[0] == status


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({}, "unauthorized"),
        ({"Authorization": "Bearer"}, "unauthorized"),
        ({"Authorization": "Basic YTpi"}, "unauthorized"),
        ({"Authorization": f"Bearer {PAYLOAD}"}, "unauthorized"),
        ({"Authorization": "Bearer " + user_token(key="x" * 32)}, "unauthorized"),
        ({"Authorization": "Bearer " + user_token(lives_s=-60)}, "token_expired"),
        ({"X-API-Key": API_KEY + "x"}, "unauthorized"),
        ({"X-API-Key": ""}, "unauthorized"),
    ],
)
def test_who_is_not_who_he_says_is_401(
    node: NodeProcess, headers: dict[str, str], name: str
) -> None:
    """Forged and expired tokens and wrong keys, before anything of the body is read."""
    body = json.dumps(BATCH).encode()
    sent = {"Content-Type": JSON, **headers}
    answer = HTTP.post(f"{node.url}/v1/events", content=body, headers=sent)

    assert error(answer)[:2] == (401, name)
    assert "www-authenticate" in answer.headers


def test_another_method_is_405(node: NodeProcess) -> None:
    """With the methods that there are."""
    answer = HTTP.delete(f"{node.url}/v1/events")

    assert error(answer)[:2] == (405, "method_not_allowed")
    assert answer.headers["allow"] == "OPTIONS, POST"


# -- over a raw socket -----------------------------------------------------------------


def exchange(node: NodeProcess, *parts: bytes, end: bool = False) -> bytes:
    """Send *parts* as they are; with *end*, nothing more. Return the whole answer."""
    with socket.create_connection((HOST, node.port), PATIENCE_S) as sock:
        answer = b""
        with suppress(ConnectionError):  # the rest of a body may not be wanted
            for part in parts:
                sock.sendall(part)
            if end:
                sock.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while more := sock.recv(65_536):
                answer += more
                if is_whole(answer):
                    break
        return answer


def is_whole(answer: bytes) -> bool:
    """Whether all of the body has come."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return bool(blank) and length is not None and len(body) >= int(length[1])


def head(path: str, *lines: str) -> bytes:
    """The head of a POST by a backend."""
    fixed = ("Host: test", f"Authorization: Bearer {API_KEY}", f"Content-Type: {JSON}")
    return "\r\n".join((f"POST {path} HTTP/1.1", *fixed, *lines, "", "")).encode()


def test_a_body_that_announces_too_much_is_413(node: NodeProcess) -> None:
    """It is refused before a byte of it has come."""
    answer = exchange(node, head("/v1/events", f"Content-Length: {MAX_BODY + 1}"))

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in answer


def test_a_body_in_endless_chunks_is_413(node: NodeProcess) -> None:
    """A body without a length is bounded, too."""
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    parts = [head("/v1/events", "Transfer-Encoding: chunked"), *[chunk] * 64]
    answer = exchange(node, *parts)

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_that_is_cut_short_is_no_defect(node: NodeProcess) -> None:
    """Who leaves in the middle gets nothing and leaves nothing in the log."""
    before = metric(node, "events_counted_total")
    for lines in (("Content-Length: 1000",), ("Transfer-Encoding: chunked",)):
        answer = exchange(node, head("/v1/events", *lines), b'{"device"', end=True)
        assert b"200 OK" not in answer
    check_log(node)
    assert metric(node, "events_counted_total") >= before


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00" * 20, id="TLS"),
        pytest.param(b"GET\r\n\r\n", id="half a request line"),
        pytest.param(b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", id="another version"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", id="no colon"),
        pytest.param(
            b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            id="a negative length",
        ),
        pytest.param(
            b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Content-Length: 6\r\n\r\nhello",
            id="two lengths",
        ),
        pytest.param(
            b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"zz\r\n",
            id="a chunk of no size",
        ),
        pytest.param(b"GET /v1/ws HTTP/1.1\r\nHost: x\r\n\r\n", id="no upgrade"),
        pytest.param(
            b"GET /v1/ws HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
            id="a WebSocket with a huge header",
        ),
        pytest.param(
            b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            id="a huge address",
        ),
    ],
)
def test_a_request_that_is_none_is_refused(
    node: NodeProcess, request_bytes: bytes
) -> None:
    """Bytes that are no HTTP get a status of 400 and more, or just the end."""
    answer = exchange(node, request_bytes, end=True)

    assert answer == b"" or re.match(rb"HTTP/1\.1 4\d\d ", answer), answer[:200]


GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
HEADERS = b"".join(b"X-%d: %b\r\n" % (number, b"x" * 1_000) for number in range(1_000))


@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        pytest.param(GET, HEADERS, id="headers"),
        pytest.param(GET + b"X: ", b"x" * 1_000_000, id="a header"),
        pytest.param(b"GET /", b"x" * 1_000_000, id="an address"),
        pytest.param(
            GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", HEADERS, id="trailers"
        ),
        pytest.param(b"", (GET + b"\r\n") * 20_000, id="requests in advance"),
    ],
)
def test_what_never_ends_is_bounded(
    node: NodeProcess, begun: bytes, piece: bytes
) -> None:
    """Nothing of it is kept, and the connection ends."""
    before = rss_bytes(node)
    with (
        socket.create_connection((HOST, node.port), PATIENCE_S) as sock,
        suppress(ConnectionError),
    ):
        sock.sendall(begun)
        for _ in range(100):
            sock.sendall(piece)

    assert rss_bytes(node) - before < 10 * 1024 * 1024
    check_log(node)


def mistreat(node: NodeProcess) -> None:
    """Send some 80 MB of bodies, wrong ones and halves of large ones."""
    rubbish = json.dumps({"device": "shop", "first": 1, "junk": "x" * 900_000})
    for _ in range(40):
        assert post(node, "/v1/events", rubbish.encode()).status_code == 400
    for _ in range(80):
        with socket.create_connection((HOST, node.port), PATIENCE_S) as sock:
            sock.sendall(head("/v1/events", "Content-Length: 900000"))
            sock.sendall(b"x" * 500_000)


def test_requests_that_are_refused_leave_nothing_in_memory(
    node: NodeProcess, witness: Witness
) -> None:
    """What the server holds does not grow with what it has refused, 240 MB of it."""
    mistreat(node)  # what is held at one time, and how the allocator keeps it
    before = rss_bytes(node)
    for _ in range(3):
        mistreat(node)

    assert rss_bytes(node) - before < 32 * 1024 * 1024
    witness.beat()
