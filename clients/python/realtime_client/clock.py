"""Time as a dependency: the real clock, and ways to wait by whichever is given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A callback that is due later."""

    def cancel(self) -> None:
        """Call it off; harmless when it has run or was called off before."""


class Clock(Protocol):
    """What the client knows of time. Give it another one in tests."""

    def time(self) -> float:
        """Wall-clock seconds since the epoch. May jump; used for event time only."""

    def monotonic(self) -> float:
        """Seconds that never go backwards. Used for every delay."""

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """Run *callback* once, *delay_s* seconds from now, on the event loop."""


class SystemClock:
    """The real clock, on the running event loop."""

    def time(self) -> float:
        """Wall-clock seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        return time.monotonic()

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """Run *callback* once, *delay_s* seconds from now."""
        return asyncio.get_running_loop().call_later(delay_s, callback)


class Signal:
    """
    Wakes one task, at once or at a time of the clock; what ``asyncio.Event`` lacks.

    Only one task may wait at a time.
    """

    __slots__ = ("_clock", "_set", "_waiter")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wake the task that waits, or let the next wait return at once."""
        self._set = True
        self._release()

    def clear(self) -> None:
        """Forget that it was set."""
        self._set = False

    async def wait(self, deadline: float | None = None) -> bool:
        """
        Wait until it is set or the clock's monotonic time reaches *deadline*.

        Returns whether it was set. A deadline of None never comes; one that has passed
        lets other tasks run first.
        """
        if self._set:
            return True
        timer = None
        if deadline is not None:
            delay_s = deadline - self._clock.monotonic()
            if delay_s <= 0:
                await asyncio.sleep(0)
                return self._set
            timer = self._clock.call_later(delay_s, self._release)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
        return self._set

    def _release(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Bell:
    """Wakes every task that waits for something to become true."""

    __slots__ = ("_clock", "_signals")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._signals: set[Signal] = set()

    def ring(self) -> None:
        """Let everybody look again."""
        for signal in self._signals:
            signal.set()

    async def wait_for(
        self, fact: Callable[[], bool], timeout_s: float | None = None
    ) -> bool:
        """Wait until *fact* holds; returns False if it does not within *timeout_s*."""
        deadline = None if timeout_s is None else self._clock.monotonic() + timeout_s
        signal = Signal(self._clock)
        self._signals.add(signal)
        try:
            while not fact():
                signal.clear()
                if not await signal.wait(deadline):
                    return fact()
        finally:
            self._signals.discard(signal)
        return True
