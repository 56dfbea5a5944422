"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from itertools import count


class ManualTimer:
    """A callback that waits in a ManualClock."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Call it off."""
        self.callback = None


class ManualClock:
    """The client's Clock, moved by ``advance``."""

    def __init__(
        self, wall: float = 1_700_000_000.0, monotonic: float = 1_000.0
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._timers: list[tuple[float, int, ManualTimer]] = []
        self._order = count()

    def time(self) -> float:
        """Wall-clock seconds."""
        return self._wall

    def monotonic(self) -> float:
        """Monotonic seconds."""
        return self._monotonic

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> ManualTimer:
        """Run *callback* once the clock was moved by *delay_s*."""
        timer = ManualTimer(callback)
        due = self._monotonic + delay_s
        heapq.heappush(self._timers, (due, next(self._order), timer))
        return timer

    @property
    def delays(self) -> list[float]:
        """How far away the timers that wait are, in seconds."""
        waiting = [due for due, _, timer in self._timers if timer.callback is not None]
        return [round(due - self._monotonic, 6) for due in waiting]

    def advance(self, seconds: float) -> None:
        """Move the clock and run what becomes due."""
        end = self._monotonic + seconds
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            self._move(due)
            if timer.callback is not None:
                timer.callback()
        self._move(end)

    def jump(self, seconds: float) -> None:
        """Set the wall clock, as an administrator would."""
        self._wall += seconds

    def _move(self, monotonic: float) -> None:
        self._wall += monotonic - self._monotonic
        self._monotonic = monotonic


async def eventually(fact: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Let the event loop run until *fact* holds; sockets need a few rounds."""
    deadline = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.001)
