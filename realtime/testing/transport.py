"""
Stand-ins for what carries bytes, which record what was written and misbehave on demand.

``RecordingTransport`` takes the place of asyncio's transport under a protocol, and
``RecordingSocket`` that of an open WebSocket under a peer. Neither needs an event loop:
where asyncio would call back later, the test says when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast


class RecordingTransport(asyncio.Transport):
    """
    A transport whose far end is a list.

    Unlike the real one it never calls ``connection_lost`` by itself: call ``lose``, or
    ``settle`` for what the event loop would do after ``close`` or ``abort``.
    """

    def __init__(
        self,
        protocol: asyncio.Protocol | None = None,
        *,
        peername: object = ("127.0.0.1", 50_000),
        tls: bool = False,
    ) -> None:
        super().__init__({"peername": peername, "sslcontext": tls or None})
        self.written: list[bytes] = []  # what has reached the far end, write by write
        self.reading = True
        self.half_closed = False
        self.closing = False
        self.aborted = False
        self._protocol = protocol
        self._tls = tls
        self._clogged = False
        self._dropping = False
        self._buffer: list[bytes] = []
        self._low, self._high = 16 * 1024, 64 * 1024
        self._paused = False

    # -- what a test looks at and does ---------------------------------------------

    @property
    def data(self) -> bytes:
        """Everything that has reached the far end."""
        return b"".join(self.written)

    def take(self) -> bytes:
        """Return what has reached the far end since the last call."""
        data, self.written = self.data, []
        return data

    def clog(self) -> None:
        """Let what is written wait here, as when the far end does not read."""
        self._clogged = True

    def drain(self) -> None:
        """Let it through again."""
        self._clogged = False
        self.written += self._buffer
        self._buffer = []
        if self._paused:
            self._paused = False
            self._on("resume_writing")

    @contextmanager
    def dropped(self) -> Iterator[None]:
        """Lose what is written meanwhile, as a dead network does."""
        self._dropping = True
        try:
            yield
        finally:
            self._dropping = False

    def feed(self, data: bytes, step: int | None = None) -> None:
        """Let *data* arrive, whole or *step* bytes at a time."""
        step = step or max(len(data), 1)
        for start in range(0, len(data), step):
            self._on("data_received", data[start : start + step])

    def feed_eof(self) -> None:
        """Let the far end close its direction, and do what asyncio does then."""
        if not self._on("eof_received"):
            self.close()

    def settle(self) -> None:
        """Let the event loop notice that the transport was closed and has drained."""
        if self.closing and (self.aborted or not self._buffer):
            self.lose()

    def lose(self, exc: Exception | None = None) -> None:
        """Let the connection be gone."""
        self.closing = True
        self._buffer = []
        self._on("connection_lost", exc)
        self._protocol = None

    # -- asyncio.Transport ---------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Record *data*, or let it wait or vanish."""
        if self.half_closed:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.aborted or self._dropping or not data:
            return
        if not self._clogged:
            self.written.append(bytes(data))
            return
        self._buffer.append(bytes(data))
        if not self._paused and self.get_write_buffer_size() > self._high:
            self._paused = True
            self._on("pause_writing")

    def writelines(
        self, list_of_data: Iterable[bytes | bytearray | memoryview]
    ) -> None:
        """Write them joined."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """Close our direction."""
        self.half_closed = True

    def can_write_eof(self) -> bool:
        """TLS cannot be half-closed."""
        return not self._tls

    def get_write_buffer_size(self) -> int:
        """Bytes that have not reached the far end."""
        return sum(map(len, self._buffer))

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """Set the water marks."""
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the water marks, low and high."""
        return self._low, self._high

    def pause_reading(self) -> None:
        """Note it; ``feed`` is the test's own doing and still works."""
        self.reading = False

    def resume_reading(self) -> None:
        """Note it."""
        self.reading = True

    def is_reading(self) -> bool:
        """Whether the protocol wants data."""
        return self.reading

    def close(self) -> None:
        """Note it; see ``settle``."""
        self.closing = True

    def abort(self) -> None:
        """Note it and drop what waits; see ``settle``."""
        self.closing = self.aborted = True
        self._buffer = []

    def is_closing(self) -> bool:
        """Whether ``close`` or ``abort`` was called."""
        return self.closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Give the transport to another protocol."""
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that has the transport now."""
        if self._protocol is None:
            raise RuntimeError("the transport has no protocol, or has lost it")
        return self._protocol

    def _on(self, event: str, *args: Any) -> Any:
        return getattr(self._protocol, event)(*args) if self._protocol else None


class RecordingSocket:
    """An open WebSocket that keeps what it was told; see ``engine.socket.Socket``."""

    def __init__(self, remote: str = "192.0.2.1", subprotocol: str = "") -> None:
        self.remote = remote
        self.subprotocol = subprotocol
        self.last_received = 0.0
        self.buffered = 0
        self.frames: list[bytes] = []
        self.pings = 0
        self.reading = True
        self.aborted = False
        self.closed_with: tuple[int, str] | None = None

    @property
    def closing(self) -> bool:
        """Whether the end has begun."""
        return self.aborted or self.closed_with is not None

    def send(self, frame: bytes, /) -> None:
        """Keep *frame*; nothing is sent once the closing handshake has begun."""
        if not self.closing:
            self.frames.append(frame)

    def ping(self) -> None:
        """Count it."""
        self.pings += 1

    def close(self, code: int, reason: str) -> None:
        """Keep the first code and reason."""
        if not self.closing:
            self.closed_with = (code, reason)

    def abort(self) -> None:
        """Note it."""
        self.aborted = True

    def pause_reading(self) -> None:
        """Note it."""
        self.reading = False

    def resume_reading(self) -> None:
        """Note it."""
        self.reading = True
