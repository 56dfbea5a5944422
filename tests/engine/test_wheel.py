"""The timer that all connections share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from realtime.engine.wheel import Entry, Timer, Wheel
from realtime.testing.clock import ManualClock


class Bell(Entry):
    """An entry that notes when it rang."""

    __slots__ = ("clock", "rung")

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock = clock
        self.rung: list[float] = []

    def fire(self) -> None:
        """Note the time."""
        self.rung.append(self.clock.monotonic())


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that stands at 1000.1."""
    return ManualClock(monotonic=1000.1)


@pytest.fixture
def wheel(clock: ManualClock) -> Wheel:
    """Return a wheel with steps of 0.25 s."""
    return Wheel(clock, 0.25)


@pytest.mark.parametrize("delay_s", [0.0, 0.001, 0.24, 0.25, 1.0, 10.0, 1800.0])
def test_a_timer_is_never_early_and_at_most_one_step_late(
    clock: ManualClock, wheel: Wheel, delay_s: float
) -> None:
    """The resolution is the only error, whatever the delay."""
    bell = Bell(clock)
    wheel.put(bell, delay_s)
    assert bell.scheduled

    clock.advance(delay_s + 5)
    (rung,) = bell.rung
    assert 1000.1 + delay_s <= rung <= 1000.1 + delay_s + 0.2500001
    assert not bell.scheduled


def test_a_callback_is_called_once(clock: ManualClock, wheel: Wheel) -> None:
    """schedule() takes a function and returns what can be called off."""
    calls: list[str] = []
    timer = wheel.schedule(lambda: calls.append("called"), 1)
    assert isinstance(timer, Timer)
    clock.advance(10)
    timer.cancel()

    assert calls == ["called"]


def test_a_timer_called_off_does_not_fire(clock: ManualClock, wheel: Wheel) -> None:
    """Calling off may be repeated, and leaves nothing behind."""
    bell = Bell(clock)
    wheel.put(bell, 1)
    wheel.take(bell)
    wheel.take(bell)
    clock.advance(10)

    assert bell.rung == []
    assert len(wheel) == 0
    assert wheel._steps == {}


def test_putting_again_replaces_the_earlier_time(
    clock: ManualClock, wheel: Wheel
) -> None:
    """An entry lies in the wheel once."""
    bell = Bell(clock)
    wheel.put(bell, 1)
    wheel.put(bell, 3)
    assert len(wheel) == 1

    clock.advance(2)
    assert bell.rung == []
    clock.advance(2)
    assert len(bell.rung) == 1


def test_the_wheel_stands_still_while_it_is_empty(
    clock: ManualClock, wheel: Wheel
) -> None:
    """No timer of the clock is pending before, and none after the last entry."""
    assert not wheel.turning
    timer = wheel.schedule(lambda: None, 60)
    assert clock.pending == 1
    timer.cancel()
    clock.advance(0.25)

    assert not wheel.turning
    assert clock.pending == 0


def test_now_is_the_time_of_the_latest_step(clock: ManualClock, wheel: Wheel) -> None:
    """It follows the clock while the wheel turns, and is set anew when it starts."""
    clock.advance(100)
    assert wheel.now == 1000.1
    wheel.schedule(lambda: None, 10)
    assert wheel.now == clock.monotonic()

    clock.advance(5)
    assert clock.monotonic() - 0.25 <= wheel.now <= clock.monotonic()


def test_entries_of_one_step_fire_in_the_order_they_were_put(
    clock: ManualClock, wheel: Wheel
) -> None:
    """First in, first out."""
    calls: list[int] = []
    for number in range(20):
        wheel.schedule(lambda number=number: calls.append(number), 1)  # type: ignore[misc]
    clock.advance(2)

    assert calls == list(range(20))


def test_entries_may_put_and_take_others_while_they_fire(
    clock: ManualClock, wheel: Wheel
) -> None:
    """One that fires can call off its neighbour and come back itself."""
    calls: list[str] = []
    second = Bell(clock)

    def first() -> None:
        calls.append("first")
        wheel.take(second)
        if len(calls) < 3:
            wheel.schedule(first, 0)

    wheel.schedule(first, 1)
    wheel.put(second, 1)
    clock.advance(5)

    assert calls == ["first"] * 3
    assert second.rung == []


def test_one_that_fails_does_not_stop_the_others(
    clock: ManualClock, wheel: Wheel
) -> None:
    """The failure is logged, and the wheel turns on."""
    bell, later = Bell(clock), Bell(clock)

    def fail() -> None:
        raise ValueError("a mistake in a timer")

    wheel.schedule(fail, 1)
    wheel.put(bell, 1)
    wheel.put(later, 2)
    with capture_logs() as logs:
        clock.advance(5)

    assert (len(bell.rung), len(later.rung)) == (1, 1)
    assert [log["event"] for log in logs] == ["timer_failed"]


def test_a_loop_that_was_busy_catches_up(clock: ManualClock, wheel: Wheel) -> None:
    """Steps that have passed unseen are run in order, each entry once."""
    calls: list[int] = []
    for number in (1, 2, 3):
        wheel.schedule(lambda number=number: calls.append(number), number)  # type: ignore[misc]
    clock._move(clock.monotonic() + 60)  # the loop was blocked
    clock.advance(0)

    assert calls == [1, 2, 3]
    assert not wheel.turning


def test_an_entry_that_comes_back_does_not_hide_the_steps_after_it(
    clock: ManualClock, wheel: Wheel
) -> None:
    """A loop that was busy runs all that fell due, whatever is put meanwhile."""
    bells = [Bell(clock) for _ in range(3)]
    wheel.schedule(lambda: wheel.put(bells[0], 30), 1)
    wheel.put(bells[1], 2)
    wheel.put(bells[2], 3)
    clock._move(clock.monotonic() + 10)  # the loop was blocked
    clock.advance(0)
    assert [len(bell.rung) for bell in bells] == [0, 1, 1]

    clock.advance(31)
    assert [len(bell.rung) for bell in bells] == [1, 1, 1]
    assert len(wheel) == 0


def test_stopping_forgets_every_entry(clock: ManualClock, wheel: Wheel) -> None:
    """Nothing fires afterwards, and the wheel may be used again."""
    bell = Bell(clock)
    wheel.put(bell, 1)
    wheel.stop()
    assert (len(wheel), bell.scheduled, clock.pending) == (0, False, 0)

    wheel.put(bell, 1)
    clock.advance(2)
    assert len(bell.rung) == 1


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 10), st.booleans())))
def test_whatever_is_put_and_taken_fires_in_time_or_not_at_all(
    steps: list[tuple[float, float, bool]],
) -> None:
    """Any mixture of delays, pauses and cancellations keeps the promise."""
    clock = ManualClock()
    wheel = Wheel(clock)
    bells: list[tuple[Bell, float, bool]] = []
    for delay_s, pause_s, called_off in steps:
        bell = Bell(clock)
        wheel.put(bell, delay_s)
        due = clock.monotonic() + delay_s
        clock.advance(pause_s)
        taken = called_off and not bell.rung
        if taken:
            wheel.take(bell)
        bells.append((bell, due, taken))
    clock.advance(60)

    for bell, due, taken in bells:
        assert len(bell.rung) == (0 if taken else 1)
        assert all(due - 1e-6 <= rung <= due + 0.25 + 1e-6 for rung in bell.rung)
    assert len(wheel) == 0
