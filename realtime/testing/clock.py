"""
A clock that stands still until a test moves it.

``ManualClock`` keeps the contract of ``realtime.clock.Clock``: give it to whatever
takes a clock, then ``advance`` it. Timers run in the order of their deadlines, each at
its own time.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count


class ManualTimer:
    """A callback waiting in a ``ManualClock``."""

    __slots__ = ("callback", "deadline")

    def __init__(self, deadline: float, callback: Callable[[], None]) -> None:
        self.deadline = deadline
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Call it off; harmless when it has run or was called off before."""
        self.callback = None


class ManualClock:
    """A clock whose time passes only in ``advance`` and ``elapse``."""

    def __init__(
        self, time: float = 1_700_000_000.0, monotonic: float = 1_000.0
    ) -> None:
        self._time = time
        self._monotonic = monotonic
        self._timers: list[tuple[float, int, ManualTimer]] = []
        self._order = count()  # equal deadlines run in the order they were made

    def time(self) -> float:
        """Wall-clock seconds since the epoch."""
        return self._time

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        return self._monotonic

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> ManualTimer:
        """Run *callback* once, when the clock has been moved *delay_s* seconds on."""
        timer = ManualTimer(self._monotonic + max(0.0, delay_s), callback)
        heapq.heappush(self._timers, (timer.deadline, next(self._order), timer))
        return timer

    async def sleep(self, delay_s: float) -> None:
        """Wait until the clock has been moved. Cancelling is safe."""
        done = asyncio.get_running_loop().create_future()
        timer = self.call_later(delay_s, lambda: done.set_result(None))
        try:
            await done
        finally:
            timer.cancel()

    @property
    def pending(self) -> int:
        """How many timers wait."""
        return sum(timer.callback is not None for _, _, timer in self._timers)

    def advance(self, delay_s: float) -> None:
        """
        Move both times on and run what falls due, also what that brings about.

        Raises:
            ValueError: If *delay_s* is negative; see ``jump`` for the wall clock.
        """
        end = self._end(delay_s)
        while self._run_next(end):
            pass
        self._move(end)

    async def elapse(self, delay_s: float) -> None:
        """Like ``advance``, and let the tasks that this wakes run in between."""
        end = self._end(delay_s)
        await settle()
        while self._run_next(end):
            await settle()
        self._move(end)
        await settle()

    def jump(self, seconds: float) -> None:
        """Set the wall clock forwards or backwards, as an administrator would."""
        self._time += seconds

    def _end(self, delay_s: float) -> float:
        if not delay_s >= 0:
            raise ValueError(f"delay_s is {delay_s}: time cannot go backwards")
        return self._monotonic + delay_s

    def _move(self, monotonic: float) -> None:
        self._time += monotonic - self._monotonic
        self._monotonic = monotonic

    def _run_next(self, end: float) -> bool:
        """Run the next timer that is due by *end*; tell whether there was one."""
        while self._timers and self._timers[0][0] <= end:
            deadline, _, timer = heapq.heappop(self._timers)
            callback, timer.callback = timer.callback, None
            if callback is not None:
                self._move(max(deadline, self._monotonic))
                callback()
                return True
        return False


async def settle(passes: int = 10) -> None:
    """Let every task that is ready run, and those they make ready, *passes* deep."""
    for _ in range(passes):
        await asyncio.sleep(0)
