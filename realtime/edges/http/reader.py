"""What waits for one reader of server-sent events, bounded in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from realtime.clock import Clock
from realtime.engine.backlog import Backlog
from realtime.engine.subscriber import Delivery, Droppable, FlowTally, Part
from realtime.errors import GOING_AWAY, SLOW, CloseCode
from realtime.wire.frames import FrameKey


class Reader:
    """
    A subscriber whose frames are taken by the one task that writes its stream.

    Nothing that is pushed blocks. Once the bound is passed, what gives way is as for an
    outbox; after that the reader is finished as slow: what waited is dropped, and its
    end says so.
    """

    __slots__ = (
        "_backlog",
        "_clock",
        "_max_bytes",
        "_on_finish",
        "_wake",
        "end",
        "last_taken",
        "retry_ms",
        "sending",
    )

    frame_key = FrameKey.SSE
    id = None  # it publishes nothing, so nothing is its own

    def __init__(
        self, max_bytes: int, clock: Clock, tally: FlowTally | None = None
    ) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._backlog = Backlog(max_bytes, tally or FlowTally())
        self._wake = asyncio.Event()
        self._on_finish: Callable[[], None] | None = None
        self.end: CloseCode | None = None  # why it is over; None while it is not
        self.retry_ms: int | None = None  # when to come back, told with the end
        self.sending = False  # a chunk is on its way out
        self.last_taken = clock.monotonic()  # when a chunk last left, or began to

    @property
    def waiting_bytes(self) -> int:
        """What waits to be taken."""
        return self._backlog.bytes

    def room(self) -> int:
        """Bytes that one page of what was missed may have: half of the bound."""
        return self._max_bytes // 2 - self._backlog.bytes

    def push(self, frame: bytes) -> None:
        """Let frames wait, after those that wait already."""
        if self.end is None:
            self._held(self._backlog.add(frame))

    def push_latest(self, number: int, frame: bytes) -> None:
        """Let the value of channel *number* wait, in place of an older one."""
        if self.end is None:
            self._held(self._backlog.add_latest(number, frame))

    def push_droppable(self, drop: Droppable, frame: bytes) -> None:
        """Let frames wait that may be dropped; if they are, a gap is told."""
        if self.end is None:
            self._backlog.add_droppable(drop, frame)
            self._wake.set()

    def push_merged(self, parts: Sequence[Part], joined: bytes) -> None:
        """Let frames wait that may give way to newer ones."""
        for part in parts:
            if self.end is None:
                self._held(self._backlog.add_part(part))

    def push_joined(self, parts: Sequence[Delivery], joined: bytes) -> None:
        """Let each of *parts* wait in its manner."""
        for part in parts:
            part.to(self)

    def _held(self, fits: bool) -> None:
        if fits:
            self._wake.set()
        else:
            self._backlog.clear()
            self.finish(SLOW)

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
        backlog = self._backlog
        chunk = backlog.take(backlog.bytes)
        backlog.tell_gaps(self.frame_key)
        chunk += backlog.take(backlog.bytes)
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
