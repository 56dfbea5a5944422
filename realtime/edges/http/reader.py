"""What waits for one reader of server-sent events, bounded in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from realtime.clock import Clock
from realtime.errors import GOING_AWAY, SLOW, CloseCode
from realtime.wire.frames import FrameKey


class Reader:
    """
    A subscriber whose frames are taken by the one task that writes its stream.

    ``push`` and ``push_latest`` never block. Once the bound is passed the reader is
    finished as slow: what waited is dropped, and its end says so.
    """

    __slots__ = (
        "_clock",
        "_latest",
        "_max_bytes",
        "_on_finish",
        "_queue",
        "_wake",
        "end",
        "last_taken",
        "retry_ms",
        "sending",
        "waiting_bytes",
    )

    frame_key = FrameKey.SSE

    def __init__(self, max_bytes: int, clock: Clock) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._queue: list[bytes] = []
        self._latest: dict[int, bytes] = {}
        self._wake = asyncio.Event()
        self._on_finish: Callable[[], None] | None = None
        self.waiting_bytes = 0
        self.end: CloseCode | None = None  # why it is over; None while it is not
        self.retry_ms: int | None = None  # when to come back, told with the end
        self.sending = False  # a chunk is on its way out
        self.last_taken = clock.monotonic()  # when a chunk last left, or began to

    def push(self, frame: bytes) -> None:
        """Let one frame wait, after those that wait already."""
        if self._fits(len(frame)):
            self._queue.append(frame)
            self._wake.set()

    def push_latest(self, number: int, frame: bytes) -> None:
        """Let the value of channel *number* wait, in place of an older one."""
        if self._fits(len(frame) - len(self._latest.get(number, b""))):
            self._latest[number] = frame
            self._wake.set()

    def _fits(self, more: int) -> bool:
        if self.end is not None:
            return False
        if self.waiting_bytes + more > self._max_bytes:
            self._clear()
            self.finish(SLOW)
            return False
        self.waiting_bytes += more
        return True

    def finish(self, end: CloseCode, retry_ms: int | None = None) -> None:
        """Take nothing more; what waits may still be taken. The first end counts."""
        if self.end is not None:
            return
        self.end = end
        self.retry_ms = retry_ms
        self._wake.set()
        if self._on_finish is not None:
            self._on_finish()

    # -- engine.drain.Leaver -------------------------------------------------------

    @property
    def quiet(self) -> bool:
        """Whether it waits for an answer: it never does."""
        return True

    def goodbye(self, after_s: float, reason: str) -> None:
        """End, and let the client come back in *after_s* seconds."""
        self.finish(GOING_AWAY, retry_ms=max(1, int(after_s * 1000)))

    def close(self, code: CloseCode, reason: str = "") -> None:
        """End, if it has not been told to."""
        self.finish(code)

    # ------------------------------------------------------------------------------

    def when_finished(self, callback: Callable[[], None]) -> None:
        """Have *callback* called at the end; at once, if that has come."""
        self._on_finish = callback
        if self.end is not None:
            callback()

    async def ready(self) -> None:
        """Wait until something waits or the end has come."""
        await self._wake.wait()

    def take(self) -> bytes:
        """
        Return everything that waits as one chunk, empty if nothing does.

        You must call ``taken`` once a chunk that was not empty has been written.
        """
        chunk = b"".join((*self._queue, *self._latest.values()))
        self._clear()
        if self.end is None:
            self._wake.clear()
        if chunk:
            self.sending = True
            self.last_taken = self._clock.monotonic()
        return chunk

    def taken(self) -> None:
        """Note that the chunk has been written."""
        self.sending = False
        self.last_taken = self._clock.monotonic()

    def _clear(self) -> None:
        self._queue.clear()
        self._latest.clear()
        self.waiting_bytes = 0
