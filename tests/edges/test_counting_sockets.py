"""Sockets are let in and counted at the doors, and every end of one is counted once."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress
from types import SimpleNamespace

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from realtime.edges.frontdoor import FrontDoor
from realtime.edges.websocket import WebSocketTransport
from realtime.engine import admission
from realtime.settings import LimitSettings, ServerSettings
from realtime.testing.clock import ManualClock
from realtime.testing.host import RecordingPeer, SimpleHost
from realtime.testing.server import running
from realtime.testing.transport import RecordingTransport
from tests.edges.support import REQUEST, Line

HTTP_REQUEST = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"


def counts(host: SimpleHost) -> tuple[int, int, int, int]:
    """WebSockets, HTTP connections, those that wait, addresses."""
    found = host.admission
    return found.sockets, found.http, found.waiting, found.addresses


# -- the handshake ---------------------------------------------------------------------


def test_the_address_that_counts_is_the_one_behind_the_proxy() -> None:
    """Two clients of one proxy are two addresses; a client cannot name another."""
    limits = LimitSettings(max_connections_per_address=1)
    server = ServerSettings(trusted_proxies=("192.0.2.7",))
    line = Line(limits=limits, server=server)
    first = REQUEST[:-2] + b"X-Forwarded-For: 198.51.100.1\r\n\r\n"
    again = REQUEST[:-2] + b"X-Forwarded-For: 203.0.113.9, 198.51.100.1\r\n\r\n"
    other = REQUEST[:-2] + b"X-Forwarded-For: 198.51.100.2\r\n\r\n"
    line.transport.feed(first)
    answers = [_answer(line.host, request) for request in (again, other)]

    assert line.transport.data.startswith(b"HTTP/1.1 101 ")
    assert answers[0].startswith(b"HTTP/1.1 429 ")
    assert b"198.51.100.1 has 1 connections" in answers[0]
    assert answers[1].startswith(b"HTTP/1.1 101 ")
    assert counts(line.host) == (2, 0, 1, 2)


def _answer(host: SimpleHost, request: bytes) -> bytes:
    """Let one more connection from the same proxy make a request."""
    state = SimpleNamespace(connections=set())
    transport = RecordingTransport(peername=("192.0.2.7", 1))
    door = FrontDoor(None, state, {"node": host})
    transport.set_protocol(door)
    door.connection_made(transport)
    transport.feed(request)
    return transport.data


def test_who_is_refused_is_refused_before_the_request_is_read() -> None:
    """Even nonsense is told that there is no room: reading it would cost more."""
    line = Line()
    line.host.admission.closing = True
    line.transport.feed(b"GET /v1/ws HTTP/1.1\r\nnonsense\r\n\r\n")

    assert line.transport.data.startswith(b"HTTP/1.1 503 ")


ACTS = st.lists(
    st.sampled_from(
        ["part", "rest", "close", "reset", "eof", "abort", "wait", "shutdown"]
    ),
    max_size=8,
)


@settings(deadline=None)
@given(ACTS, st.booleans(), st.booleans(), st.booleans())
def test_every_end_of_a_connection_is_counted_once(
    acts: list[str], full: bool, faulty: bool, bad: bool
) -> None:
    """However far it came, whoever ended it: all counts come back to zero."""
    clock = ManualClock()
    limits = LimitSettings(max_connections_per_address=5, connect_rate=100)

    def make(subprotocol: str, remote: str) -> RecordingPeer:
        if faulty:
            raise ValueError("a mistake in the host")
        return RecordingPeer()

    host = SimpleHost(make, limits=limits, clock=clock)
    host.admission.closing = full
    state = SimpleNamespace(connections=set())
    door = FrontDoor(None, state, {"node": host})
    transport = RecordingTransport(door, tls=bad)
    door.connection_made(transport)
    request = REQUEST.replace(b"Upgrade: ", b"Downgrade: ") if bad else REQUEST
    with capture_logs():  # rendering the tracebacks takes longer than all the rest
        for act in acts:
            if transport._protocol is None:
                break
            request = _act(act, transport, clock, request)
        if transport._protocol is not None:
            transport.lose()

    assert counts(host) == (0, 0, 0, 0)
    assert state.connections == set()
    assert len(host.wheel) == 0


def _act(
    act: str, transport: RecordingTransport, clock: ManualClock, request: bytes
) -> bytes:
    """Do it; return what has not been sent yet of the request."""
    protocol = transport.get_protocol()
    match act:
        case "part":
            transport.feed(request[:20])
            return request[20:]
        case "rest":
            transport.feed(request)
            return b""
        case "close":
            if not request:
                transport.feed(b"\x88\x80\0\0\0\0")
        case "reset":
            transport.lose(ConnectionResetError())
        case "eof":
            transport.feed_eof()
            transport.settle()
        case "abort":
            if isinstance(protocol, WebSocketTransport):
                protocol.abort()
        case "wait":
            clock.advance(20)
            transport.settle()
        case "shutdown":
            protocol.shutdown()  # type: ignore[attr-defined]
            transport.settle()
    return request


# -- real sockets ----------------------------------------------------------------------


def a_host(**limits: int | float) -> SimpleHost:
    """A host with few places."""
    given = {"hello_timeout_s": 1.0, "close_timeout_s": 0.5, **limits}
    return SimpleHost(limits=LimitSettings(**given))  # type: ignore[arg-type]


def until(condition: object, what: str) -> None:
    """Wait until *condition* is true."""
    deadline = time.monotonic() + 10
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def idle(port: int) -> socket.socket:
    """Make a request, and keep the connection."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=5)
    sock.sendall(HTTP_REQUEST)
    assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    return sock


def test_http_connections_beyond_the_limit_are_told_so() -> None:
    """503 with a time to come back; WebSockets and the connected do not notice."""
    host = a_host(max_http_connections=2)
    with running(host, timeout_keep_alive=30) as port, ExitStack() as stack:
        kept = [stack.enter_context(idle(port)) for _ in range(2)]
        answer = httpx.get(f"http://127.0.0.1:{port}/hello")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 404
        with connect(f"ws://127.0.0.1:{port}/v1/ws") as client:
            client.send("still here")
            assert client.recv() == "still here"
        kept[0].sendall(HTTP_REQUEST)
        assert kept[0].recv(65536).startswith(b"HTTP/1.1 200")
        kept[1].close()
        until(lambda: host.admission.http == 1, "its place is free")
        assert httpx.get(f"http://127.0.0.1:{port}/hello").status_code == 200
        stack.close()
        until(lambda: counts(host) == (0, 0, 0, 0), "all are gone")


def test_an_upgrade_on_a_used_connection_changes_what_it_counts_as() -> None:
    """It was an HTTP connection and is a WebSocket."""
    host = a_host(max_connections_per_address=1)
    with running(host) as port:
        with idle(port) as sock:
            assert counts(host) == (0, 1, 0, 1)
            sock.sendall(REQUEST)
            assert sock.recv(65536).startswith(b"HTTP/1.1 101")
            assert counts(host) == (1, 0, 0, 1)
        until(lambda: counts(host) == (0, 0, 0, 0), "it is gone")


def test_requests_of_one_address_are_limited_too() -> None:
    """429, and another address is served."""
    host = a_host(max_connections_per_address=2)
    with running(host) as port, idle(port), idle(port):
        with pytest.raises(InvalidStatus) as failure:
            connect(f"ws://127.0.0.1:{port}/v1/ws")
        assert failure.value.response.status_code == 429
        assert httpx.get(f"http://127.0.0.1:{port}/hello").status_code == 429


def test_a_health_check_where_there_is_no_room_is_one_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who begins with one does not pass the limits with what follows."""
    monkeypatch.setattr(admission, "RESERVED", 2)
    host = a_host(max_connections_per_address=1)
    check = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with running(host) as port, idle(port), ExitStack() as stack:
        for _ in range(3):  # in pieces, and with more behind it
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            sock.settimeout(5)
            sock.sendall(check[:6])
            sock.sendall(check[6:] + HTTP_REQUEST)
            answer = b""
            while more := sock.recv(65536):
                answer += more
            assert answer.startswith(b"HTTP/1.1 404 ")
            assert b"connection: close" in answer
            assert b"hello" not in answer
        assert counts(host) == (0, 1, 0, 1)
        until(lambda: host.admission.reserved == 0, "all places are free")
        for _ in range(2):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            sock.sendall(check[:-2])
        until(lambda: host.admission.reserved == 2, "two places are taken")
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 429


def test_who_says_nothing_gives_way_to_who_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many hold a connection without a word, others are served."""
    monkeypatch.setattr(admission, "MAX_WAITING", 20)
    host = a_host(hello_timeout_s=60)
    with running(host) as port, ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(100)
        ]
        until(lambda: host.admission.waiting == 20, "the first have given way")
        assert httpx.get(f"http://127.0.0.1:{port}/hello").status_code == 200
        with connect(f"ws://127.0.0.1:{port}/v1/ws") as client:
            client.send("served")
            assert client.recv() == "served"
        silent[0].settimeout(5)
        with suppress(ConnectionResetError):
            assert silent[0].recv(1) == b""
        stack.close()
        until(lambda: counts(host) == (0, 0, 0, 0), "all are gone")
