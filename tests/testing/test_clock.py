"""The clock that tests move."""

from __future__ import annotations

import asyncio

import pytest

from realtime.clock import Clock
from realtime.testing.clock import ManualClock

pytestmark = pytest.mark.anyio


def test_it_is_a_clock() -> None:
    """The type checker agrees that it keeps the contract."""
    clock: Clock = ManualClock()

    assert clock.time() == 1_700_000_000.0
    assert clock.monotonic() == 1_000.0


def test_both_times_move_together() -> None:
    """Advancing moves wall clock and monotonic time by the same."""
    clock = ManualClock(time=10.0, monotonic=1.0)
    clock.advance(2.5)

    assert (clock.time(), clock.monotonic()) == (12.5, 3.5)


def test_jumping_moves_the_wall_clock_only() -> None:
    """An administrator sets the clock; delays do not care."""
    clock = ManualClock(time=10.0, monotonic=1.0)
    clock.jump(-7200)

    assert (clock.time(), clock.monotonic()) == (-7190.0, 1.0)


def test_time_cannot_go_backwards() -> None:
    """A negative or undefined delay is a mistake in the test."""
    for wrong in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="backwards"):
            ManualClock().advance(wrong)


def test_timers_run_in_the_order_of_their_deadlines_at_their_own_time() -> None:
    """Equal deadlines run in the order they were made; new ones are included."""
    clock = ManualClock(monotonic=0.0)
    seen: list[tuple[str, float]] = []

    def note(name: str) -> None:
        seen.append((name, clock.monotonic()))
        if name == "b":
            clock.call_later(0.5, lambda: note("d"))

    clock.call_later(2, lambda: note("c"))
    clock.call_later(1, lambda: note("a"))
    clock.call_later(1, lambda: note("b"))
    clock.advance(10)

    assert seen == [("a", 1.0), ("b", 1.0), ("d", 1.5), ("c", 2.0)]
    assert clock.monotonic() == 10.0
    assert clock.pending == 0


def test_a_timer_called_off_does_not_run() -> None:
    """Calling off may be repeated, also after it has run."""
    clock = ManualClock()
    seen: list[str] = []
    timer = clock.call_later(1, lambda: seen.append("ran"))
    timer.cancel()
    timer.cancel()
    clock.advance(2)
    assert seen == []

    timer = clock.call_later(1, lambda: seen.append("ran"))
    clock.advance(2)
    timer.cancel()
    assert seen == ["ran"]


async def test_sleepers_wake_when_time_has_passed() -> None:
    """``elapse`` lets them run in between, so that they may sleep again."""
    clock = ManualClock(monotonic=0.0)
    seen: list[float] = []

    async def tick() -> None:
        while True:
            await clock.sleep(1)
            seen.append(clock.monotonic())

    task = asyncio.create_task(tick())
    await clock.elapse(3.5)
    assert seen == [1.0, 2.0, 3.0]

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.pending == 0
