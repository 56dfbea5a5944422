"""
Time as an argument: the clock that the engine is given, real or (in tests) manual.

Floors below the engine take ``now`` as a number and never ask a clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A callback that is due later and can be called off."""

    def cancel(self) -> None:
        """Call it off; harmless when it has run or was called off before."""


class Clock(Protocol):
    """What the engine knows of time."""

    def time(self) -> float:
        """Wall-clock seconds since the epoch. May jump; used for event time only."""

    def monotonic(self) -> float:
        """Seconds that never go backwards. Used for every delay."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Run *callback* once, *delay_s* seconds from now, on the event loop."""

    async def sleep(self, delay_s: float) -> None:
        """Wait. Cancelling is safe."""


class SystemClock:
    """The real clock, on the running event loop."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay_s, callback)

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


def call_soon(callback: Callable[[], None]) -> Timer:
    """Run *callback* at the end of this turn of the running event loop."""
    return asyncio.get_running_loop().call_soon(callback)
