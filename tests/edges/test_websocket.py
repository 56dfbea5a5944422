"""
A WebSocket on its transport: first what such classes get wrong, then the rest.

No sockets and no waiting: the transport records, the clock stands until it is moved.
"""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs
from websockets.frames import Close, Frame
from websockets.frames import Opcode as AnyOpcode
from websockets.protocol import OPEN, Protocol, Side

from realtime.edges.websocket import HIGH_WATER_BYTES, WebSocketTransport
from realtime.settings import LimitSettings, ServerSettings
from realtime.testing.clock import ManualClock
from realtime.testing.host import RecordingPeer, SimpleHost
from realtime.testing.transport import RecordingTransport
from realtime.wire.frames import Opcode, server_frame

REQUEST = (
    b"GET /v1/ws HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
LIMITS = LimitSettings(close_timeout_s=5.0, hello_timeout_s=10.0, max_frame_bytes=1000)


class Line:
    """A WebSocket, its transport, its peer and the clock, with the client's side."""

    def __init__(
        self, *, tls: bool = False, server: ServerSettings | None = None
    ) -> None:
        self.clock = ManualClock()
        self.peer = RecordingPeer()
        self.opened_for: list[tuple[str, str]] = []
        self.host = SimpleHost(
            self._make,
            limits=LIMITS,
            server=server or ServerSettings(),
            clock=self.clock,
        )
        self.state = SimpleNamespace(connections=set())
        self.socket = WebSocketTransport(None, self.state, {"node": self.host})
        self.transport = RecordingTransport(
            self.socket, peername=("192.0.2.7", 1234), tls=tls
        )
        self.socket.connection_made(self.transport)

    def _make(self, subprotocol: str, remote: str) -> RecordingPeer:
        self.opened_for.append((subprotocol, remote))
        return self.peer

    def open(self) -> Line:
        """Shake hands and forget the response."""
        self.transport.feed(REQUEST)
        assert self.transport.take().startswith(b"HTTP/1.1 101 ")
        return self

    def send(self, opcode: int, payload: bytes = b"", fin: bool = True) -> None:
        """Let a frame of the client arrive."""
        frame = Frame(AnyOpcode(opcode), payload, fin)
        self.transport.feed(frame.serialize(mask=True))

    def frames(self) -> list[tuple[int, bytes]]:
        """Return the frames that have reached the client since the last call."""
        client = Protocol(Side.CLIENT, state=OPEN)
        client.receive_data(self.transport.take())
        frames = client.events_received()
        assert client.parser_exc is None
        return [
            (int(frame.opcode), bytes(frame.data))
            for frame in frames
            if isinstance(frame, Frame)
        ]


def a_line() -> Line:
    """Return an open WebSocket."""
    return Line().open()


def close_payload(code: int, reason: str = "") -> bytes:
    """Return what a close frame carries."""
    return Close(code, reason).serialize()


# -- flow control ----------------------------------------------------------------------


def test_the_peer_is_paused_above_high_water_and_resumed_when_drained() -> None:
    """The transport's water marks reach the peer, each once."""
    line = a_line()
    line.transport.clog()
    line.socket.send(b"x" * HIGH_WATER_BYTES)
    assert line.peer.calls == ["opened"]

    line.socket.send(b"x")
    assert line.peer.calls == ["opened", "paused"]
    assert line.socket.buffered == HIGH_WATER_BYTES + 1

    line.transport.drain()
    assert line.peer.calls == ["opened", "paused", "resumed"]
    assert line.socket.buffered == 0


def test_pings_are_not_answered_while_paused_except_the_latest() -> None:
    """A client that pings and never reads costs one pong, not one per ping."""
    line = a_line()
    line.transport.clog()
    line.socket.send(server_frame(Opcode.BINARY, b"x" * HIGH_WATER_BYTES))
    held = line.socket.buffered
    for number in range(1000):
        line.send(9, b"%d" % number)
    assert line.socket.buffered == held

    line.transport.drain()
    assert line.frames()[1:] == [(10, b"999")]


def test_flow_control_says_nothing_after_the_end_has_begun() -> None:
    """A draining transport does not resume a peer that is closing."""
    line = a_line()
    line.transport.clog()
    line.socket.send(b"x" * HIGH_WATER_BYTES * 2)
    line.socket.close(1000, "")
    line.transport.drain()

    assert line.peer.calls == ["opened", "paused"]


def test_reading_stops_while_the_peer_wants_it_to() -> None:
    """pause_reading and resume_reading reach the transport, and may be repeated."""
    line = a_line()
    line.socket.pause_reading()
    line.socket.pause_reading()
    assert not line.transport.reading

    line.socket.resume_reading()
    line.socket.resume_reading()
    assert line.transport.reading


# -- what keepalive needs --------------------------------------------------------------


def test_anything_received_counts_as_life() -> None:
    """last_received is the wheel's time of the latest chunk, even half a frame."""
    line = a_line()
    line.host.wheel.schedule(lambda: None, 100)
    line.clock.advance(7)
    before = line.socket.last_received
    line.transport.feed(b"\x82")

    assert line.socket.last_received == before + 7


def test_silence_is_not_told_while_reading_is_paused() -> None:
    """A client that is not read cannot be called silent."""
    line = a_line()
    line.host.wheel.schedule(lambda: None, 100)
    line.socket.pause_reading()
    line.clock.advance(50)
    assert line.socket.last_received == line.host.wheel.now

    line.socket.resume_reading()
    line.clock.advance(1)
    assert line.socket.last_received == line.host.wheel.now - 1


def test_a_ping_of_ours_is_an_empty_ping_frame() -> None:
    """ping() sends the two bytes."""
    line = a_line()
    line.socket.ping()

    assert line.frames() == [(9, b"")]


# -- the timeout of the closing handshake ----------------------------------------------


def test_a_client_that_does_not_answer_our_close_is_cut() -> None:
    """After the close timeout the transport is aborted; the code is ours."""
    line = a_line()
    line.socket.close(4001, "slow")
    assert line.frames() == [(8, close_payload(4001, "slow"))]

    line.clock.advance(4.9)
    line.transport.settle()
    assert line.peer.closes == []

    line.clock.advance(0.5)
    assert line.transport.aborted
    line.transport.settle()
    assert line.peer.closes == [(4001, "slow")]


def test_a_client_that_answers_but_never_hangs_up_is_cut() -> None:
    """Both close frames are there, the TCP connection lingers: aborted in time."""
    line = a_line()
    line.socket.close(1001, "")
    line.send(8, close_payload(1001))
    assert line.transport.half_closed
    assert not line.transport.aborted

    line.clock.advance(6)
    assert line.transport.aborted


def test_a_client_that_closes_and_never_reads_is_cut() -> None:
    """What waits in the transport after a close frame does not keep it for ever."""
    line = a_line()
    line.transport.clog()
    line.socket.send(b"x" * HIGH_WATER_BYTES * 2)
    line.send(8, close_payload(1000))
    line.transport.settle()
    assert line.peer.closes == []

    line.clock.advance(6)
    line.transport.settle()
    assert line.peer.closes == [(1000, "")]


def test_half_a_connection_with_unwritten_data_is_cut() -> None:
    """The loop waits for the buffer after the client's EOF; we do not wait for ever."""
    line = a_line()
    line.transport.clog()
    line.socket.send(b"x" * HIGH_WATER_BYTES * 2)
    line.transport.feed_eof()
    line.transport.settle()
    assert not line.transport.aborted

    line.clock.advance(6)
    line.transport.settle()
    assert line.peer.closes == [(1006, "")]


def test_reading_goes_on_when_the_end_begins() -> None:
    """A paused socket would never see the answer to its close frame."""
    line = a_line()
    line.socket.pause_reading()
    line.socket.close(1000, "")

    assert line.transport.reading


# -- letting go ------------------------------------------------------------------------


def test_a_lost_connection_is_told_once_and_leaves_nothing() -> None:
    """connection_lost: closed(1006), out of the server's set, no timer, no peer."""
    line = a_line()
    assert line.state.connections == {line.socket}
    line.transport.lose(ConnectionResetError())

    assert line.peer.calls == ["opened", "closed"]
    assert line.peer.closes == [(1006, "")]
    assert line.state.connections == set()
    assert len(line.host.wheel) == 0
    line.clock.advance(1)
    assert line.clock.pending == 0


def test_everything_is_harmless_after_the_end() -> None:
    """A peer that is late with its calls breaks nothing and writes nothing."""
    line = a_line()
    line.transport.lose()
    socket = line.socket
    socket.send(b"x")
    socket.ping()
    socket.close(1000, "")
    socket.abort()
    socket.pause_reading()
    socket.resume_reading()
    socket.shutdown()

    assert socket.buffered == 0
    assert line.transport.data == b""
    assert line.peer.calls == ["opened", "closed"]


def test_an_aborted_connection_is_told_as_lost() -> None:
    """abort() cuts at once; the peer hears 1006 when asyncio says it is gone."""
    line = a_line()
    line.socket.abort()
    line.socket.abort()
    assert line.peer.closes == []

    line.transport.settle()
    assert line.peer.closes == [(1006, "")]
    assert line.transport.data == b""


def test_an_idle_connection_has_no_timer() -> None:
    """Once open, nothing of the socket lies in the wheel."""
    line = a_line()

    assert len(line.host.wheel) == 0


def test_the_objects_of_a_connection_have_slots() -> None:
    """There is no dictionary per connection."""
    line = a_line()

    assert not hasattr(line.socket, "__dict__")


def test_a_connection_lost_during_the_handshake_tells_nobody() -> None:
    """There is no peer before the handshake is done."""
    line = Line()
    line.transport.feed(REQUEST[:50])
    line.transport.lose()

    assert line.opened_for == []
    assert line.state.connections == set()
    assert len(line.host.wheel) == 0


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


def test_a_full_node_says_when_to_come_back() -> None:
    """503 with Retry-After, and no peer is made."""
    line = Line()
    line.host.full = True
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
