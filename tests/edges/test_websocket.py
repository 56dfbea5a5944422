"""
A WebSocket on its transport: what such classes get wrong, tested first.

No sockets and no waiting: the transport records, the clock stands until it is moved.
"""

from __future__ import annotations

from realtime.edges.websocket import HIGH_WATER_BYTES
from realtime.wire.frames import Opcode, server_frame
from tests.edges.support import REQUEST, Line, a_line, close_payload

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
