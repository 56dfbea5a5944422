"""The transport that records and misbehaves."""

from __future__ import annotations

import asyncio

import pytest

from realtime.engine.socket import Socket
from realtime.testing.transport import RecordingSocket, RecordingTransport


class Protocol(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def data_received(self, data: bytes) -> None:
        """Note it."""
        self.calls.append(data)

    def eof_received(self) -> None:
        """Note it."""
        self.calls.append("eof")

    def pause_writing(self) -> None:
        """Note it."""
        self.calls.append("pause")

    def resume_writing(self) -> None:
        """Note it."""
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        """Note it."""
        self.calls.append(("lost", exc))


@pytest.fixture
def transport() -> RecordingTransport:
    """Return a transport with a protocol that notes."""
    return RecordingTransport(Protocol())


def calls(transport: RecordingTransport) -> list[object]:
    """Return what the protocol was told."""
    protocol = transport.get_protocol()
    assert isinstance(protocol, Protocol)
    return protocol.calls


def test_what_is_written_is_kept_write_by_write(transport: RecordingTransport) -> None:
    """take() returns what is new."""
    transport.write(b"a")
    transport.writelines([b"b", b"c"])
    assert transport.written == [b"a", b"bc"]
    assert transport.take() == b"abc"
    assert transport.take() == b""


def test_data_arrives_whole_or_in_steps(transport: RecordingTransport) -> None:
    """feed() calls data_received."""
    transport.feed(b"whole")
    transport.feed(b"steps", 2)

    assert calls(transport) == [b"whole", b"st", b"ep", b"s"]


def test_a_clogged_transport_pauses_its_protocol(transport: RecordingTransport) -> None:
    """Above high water once; draining resumes it and lets everything through."""
    transport.set_write_buffer_limits(10)
    transport.clog()
    transport.write(b"x" * 10)
    assert calls(transport) == []
    transport.write(b"y")
    transport.write(b"z")
    assert calls(transport) == ["pause"]
    assert transport.get_write_buffer_size() == 12
    assert transport.data == b""

    transport.drain()
    assert calls(transport) == ["pause", "resume"]
    assert transport.data == b"x" * 10 + b"yz"
    assert transport.get_write_buffer_limits() == (2, 10)


def test_a_dead_network_loses_what_is_written(transport: RecordingTransport) -> None:
    """Only meanwhile."""
    with transport.dropped():
        transport.write(b"lost")
    transport.write(b"kept")

    assert transport.data == b"kept"


def test_closing_waits_for_what_is_buffered(transport: RecordingTransport) -> None:
    """settle() does what the loop would: nothing before the buffer has drained."""
    told = calls(transport)
    transport.clog()
    transport.write(b"x")
    transport.close()
    transport.settle()
    assert told == []

    transport.drain()
    transport.settle()
    transport.settle()
    assert told == [("lost", None)]


def test_aborting_waits_for_nothing(transport: RecordingTransport) -> None:
    """What is buffered is dropped."""
    told = calls(transport)
    transport.clog()
    transport.write(b"x")
    transport.abort()
    transport.settle()

    assert told == [("lost", None)]
    assert transport.data == b""


def test_the_end_of_the_other_direction_closes(transport: RecordingTransport) -> None:
    """As asyncio does when eof_received returns nothing."""
    transport.feed_eof()

    assert calls(transport) == ["eof"]
    assert transport.is_closing()


def test_writing_after_the_end_is_a_mistake(transport: RecordingTransport) -> None:
    """As with the real one; and TLS cannot be half-closed."""
    assert transport.can_write_eof()
    assert not RecordingTransport(tls=True).can_write_eof()
    transport.write_eof()
    with pytest.raises(RuntimeError, match="write_eof"):
        transport.write(b"late")


def test_a_recording_socket_is_a_socket() -> None:
    """It keeps the contract: nothing is sent once the end has begun."""
    recording = RecordingSocket()
    socket: Socket = recording
    socket.send(b"a")
    socket.ping()
    socket.pause_reading()
    socket.close(4001, "slow")
    socket.close(1000, "again")
    socket.send(b"late")

    assert recording.frames == [b"a"]
    assert recording.pings == 1
    assert not recording.reading
    assert recording.closed_with == (4001, "slow")
