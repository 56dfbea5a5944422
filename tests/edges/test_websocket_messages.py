"""
A WebSocket on its transport: messages, the closing handshake and the opening one.
"""

from __future__ import annotations

import logging

import pytest
from structlog.testing import capture_logs
from websockets.frames import Frame
from websockets.frames import Opcode as AnyOpcode

from realtime.edges.websocket import HIGH_WATER_BYTES
from realtime.settings import ServerSettings
from realtime.testing.host import RecordingPeer
from tests.edges.support import REQUEST, Line, a_line, close_payload

# -- messages --------------------------------------------------------------------------


def test_messages_reach_the_peer_in_order() -> None:
    """Text and binary messages, also from fragments, come as one call each."""
    line = a_line()
    line.send(1, b"one")
    line.send(2, b"two")
    line.send(1, b"th", fin=False)
    line.send(0, b"ree")

    assert line.peer.messages == [(b"one", False), (b"two", True), (b"three", False)]


def test_messages_behind_the_request_in_one_chunk_are_read() -> None:
    """A client need not wait for the response before it sends."""
    line = Line()
    frame = Frame(AnyOpcode.TEXT, b"early").serialize(mask=True)
    line.transport.feed(REQUEST + frame)

    assert line.peer.messages == [(b"early", False)]


def test_a_ping_is_answered_with_its_payload() -> None:
    """RFC 6455, 5.5.3."""
    line = a_line()
    line.send(9, b"payload")
    line.send(10, b"unsolicited")

    assert line.frames() == [(10, b"payload")]


def test_a_peer_that_fails_is_closed_as_internal_and_logged() -> None:
    """An exception in received ends this connection with 4005, and says so."""
    line = a_line()

    def fail(data: bytes, binary: bool) -> None:
        raise ValueError("a mistake in the peer")

    line.peer.received = fail  # type: ignore[method-assign]
    with capture_logs() as logs:
        line.send(1, b"x")

    assert line.frames()[0][1][:2] == (4005).to_bytes(2, "big")
    assert [log["event"] for log in logs] == ["peer_failed"]


@pytest.mark.parametrize("name", ["opened", "paused", "closed"])
def test_a_peer_that_fails_anywhere_harms_only_itself(name: str) -> None:
    """No exception of a peer reaches asyncio."""
    line = Line()

    def fail(*args: object) -> None:
        raise ValueError("a mistake in the peer")

    setattr(line.peer, name, fail)
    with capture_logs() as logs:
        line.transport.feed(REQUEST)
        line.transport.clog()
        line.socket.send(b"x" * HIGH_WATER_BYTES * 2)
        line.transport.lose()

    assert line.state.connections == set()
    assert [log["event"] for log in logs] == ["peer_failed"]


# -- closing ---------------------------------------------------------------------------


def test_the_client_closes() -> None:
    """Its close frame comes back, our direction is closed, then the peer hears it."""
    line = a_line()
    line.send(8, close_payload(1000, "bye"))
    assert line.frames() == [(8, close_payload(1000, "bye"))]
    assert line.transport.half_closed
    assert line.peer.closes == []

    line.transport.feed_eof()
    line.transport.settle()
    assert line.peer.closes == [(1000, "bye")]


def test_a_close_without_code_is_told_as_1005() -> None:
    """RFC 6455, 7.1.5."""
    line = a_line()
    line.send(8)
    assert line.frames() == [(8, b"")]

    line.transport.lose()
    assert line.peer.closes == [(1005, "")]


def test_we_close() -> None:
    """Nothing is sent after our close frame; the client's ends it; the code is ours."""
    line = a_line()
    line.socket.close(1001, "going")
    line.socket.send(b"late")
    line.socket.close(1000, "again")
    line.send(9, b"late too")
    assert line.frames() == [(8, close_payload(1001, "going"))]

    line.send(8, close_payload(1001))
    assert line.transport.half_closed
    line.transport.feed_eof()
    line.transport.settle()
    assert line.peer.closes == [(1001, "going")]


def test_messages_after_our_close_are_not_delivered() -> None:
    """The peer has said goodbye; also when it did so within the same chunk."""
    line = a_line()

    def close(data: bytes, binary: bool) -> None:
        line.peer.messages.append((data, binary))
        line.socket.close(1000, "")

    line.peer.received = close  # type: ignore[method-assign]
    frame = Frame(AnyOpcode.TEXT, b"x").serialize(mask=True)
    line.transport.feed(frame + frame)
    line.send(1, b"x")

    assert line.peer.messages == [(b"x", False)]


def test_a_reason_that_is_too_long_is_cut() -> None:
    """A close frame has room for 123 bytes of reason."""
    line = a_line()
    line.socket.close(4001, "ä" * 100)

    assert line.frames() == [(8, close_payload(4001, "ä" * 61))]


@pytest.mark.parametrize(
    "frame, code",
    [
        (b"\x83\x80\x00\x00\x00\x00", 1002),
        (b"\x81\x81\x00\x00\x00\x00\xff", 1007),
        (b"\x82\xfe\x03\xe9", 1009),
    ],
)
def test_a_broken_rule_is_answered_after_the_message_before_it(
    frame: bytes, code: int
) -> None:
    """In one chunk: the good message is delivered, then the close frame goes out."""
    line = a_line()
    good = Frame(AnyOpcode.TEXT, b"good").serialize(mask=True)
    line.transport.feed(good + frame)

    assert line.peer.messages == [(b"good", False)]
    ((opcode, payload),) = line.frames()
    assert (opcode, int.from_bytes(payload[:2], "big")) == (8, code)
    assert line.transport.half_closed

    line.transport.feed(b"whatever still comes")
    line.transport.feed_eof()
    line.transport.settle()
    assert line.peer.closes[0][0] == code


def test_over_tls_our_direction_cannot_be_closed_alone() -> None:
    """TLS has no half-close: the transport is closed instead, with the same timeout."""
    line = Line(tls=True).open()
    line.send(8, close_payload(1000))
    assert line.transport.closing

    line.clock.advance(6)
    assert line.transport.aborted


def test_the_server_stops() -> None:
    """A shutdown becomes 1001, which tells the client to come back."""
    line = a_line()
    line.socket.shutdown()

    ((opcode, payload),) = line.frames()
    assert (opcode, payload[:2]) == (8, (1001).to_bytes(2, "big"))


def test_the_server_stops_during_the_handshake() -> None:
    """There is nothing to say to a client that is not there yet."""
    line = Line()
    line.socket.shutdown()

    assert line.transport.closing


# -- opening ---------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 10, None])
def test_the_handshake_opens_however_the_request_is_cut(step: int | None) -> None:
    """The peer is told once, with the client's address."""
    line = Line()
    line.transport.feed(REQUEST, step)

    assert line.transport.take().startswith(b"HTTP/1.1 101 ")
    assert line.peer.calls == ["opened"]
    assert line.peer.socket is line.socket
    assert line.opened_for == [("", "192.0.2.7")]
    assert line.socket.remote == "192.0.2.7"


def test_a_trusted_proxy_tells_the_address() -> None:
    """Behind a named proxy, the remote address is the client's."""
    line = Line(server=ServerSettings(trusted_proxies=("192.0.2.0/24",)))
    header = b"X-Forwarded-For: 203.0.113.9\r\n\r\n"
    line.transport.feed(REQUEST[:-2] + header)

    assert line.opened_for == [("", "203.0.113.9")]


def test_a_request_that_never_ends_is_cut() -> None:
    """The handshake timeout runs from the beginning, whatever dribbles in."""
    line = Line()
    for _ in range(12):
        line.clock.advance(1)
        line.transport.feed(b"GET"[:1])

    assert line.transport.aborted


def test_a_head_that_is_too_large_is_refused() -> None:
    """No more than the bound is kept, and the client is told."""
    line = Line()
    line.transport.feed(REQUEST[:-2] + b"X: " + b"y" * 20_000, 1000)
    line.transport.feed(b"more and more")

    assert line.transport.data.startswith(b"HTTP/1.1 431 ")
    assert line.transport.half_closed
    assert line.peer.calls == []


def test_a_closing_node_says_when_to_come_back() -> None:
    """503 with Retry-After, and no peer is made."""
    line = Line()
    line.host.admission.closing = True
    line.transport.feed(REQUEST)

    head = line.transport.data.decode()
    assert head.startswith("HTTP/1.1 503 ")
    assert "\r\nRetry-After: " in head
    assert line.opened_for == []


def test_a_refused_client_that_stays_is_cut() -> None:
    """The response is followed by the end of our direction and by the close timeout."""
    line = Line()
    line.transport.feed(REQUEST.replace(b"/v1/ws", b"/v2/ws"))
    assert line.transport.data.startswith(b"HTTP/1.1 404 ")
    assert line.transport.half_closed

    line.clock.advance(6)
    assert line.transport.aborted


def test_a_host_that_cannot_make_a_peer_answers_500() -> None:
    """The failure is logged and told, and the server lives."""
    line = Line()

    def fail(subprotocol: str, remote: str) -> RecordingPeer:
        raise ValueError("a mistake in the host")

    line.host.make = fail
    line.transport.feed(REQUEST)

    assert line.transport.data.startswith(b"HTTP/1.1 500 ")


def test_the_library_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """One line per connection is ours; the library must not log payloads at DEBUG."""
    with caplog.at_level(logging.DEBUG):
        line = a_line()
        line.send(1, b"sec", fin=False)
        line.send(0, b"ret")
        line.send(3 + 5, b"")

    assert caplog.records == []
