"""Who leaves when, what he is told, and what is waited for; on a clock of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from realtime.engine.drain import (
    AT_ONCE,
    SETTLE_S,
    STEP_S,
    Drain,
    Rotation,
    age_s,
    due,
)
from realtime.engine.metrics import Metrics
from realtime.errors import GOING_AWAY, ROTATED, CloseCode
from realtime.settings import DrainSettings
from realtime.testing.clock import ManualClock, settle

pytestmark = pytest.mark.anyio


class Guest:
    """Somebody connected, who leaves the house when he is closed."""

    def __init__(self, house: House, number: int = 0, opened_at: float = -1e6) -> None:
        self.house = house
        self.id = f"{number:016x}"
        self.opened_at = opened_at
        self.quiet = True
        self.told: list[tuple[float, float, str]] = []  # when, after_s, reason
        self.closed: tuple[float, CloseCode] | None = None
        house.guests.add(self)

    def goodbye(self, after_s: float, reason: str) -> None:
        """Note it."""
        self.told.append((self.house.now, after_s, reason))

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Note it and be gone."""
        assert self.closed is None
        self.closed = (self.house.now, code)
        self.leave()

    def leave(self) -> None:
        """Be gone."""
        self.house.guests.discard(self)


class House:
    """Guests, a clock, and what asks them to leave."""

    def __init__(self, guests: int = 0, **settings: float) -> None:
        self.clock = ManualClock()
        self._began = self.clock.monotonic()
        self.settings = DrainSettings(**settings)
        self.metrics = Metrics()
        self.guests: set[Any] = set()
        self.shut_at: float | None = None
        self.all = [Guest(self, number) for number in range(guests)]

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return round(self.clock.monotonic() - self._began, 6)

    def shut(self) -> None:
        """Note it."""
        self.shut_at = self.now

    def goodbyes(self, code: CloseCode) -> float:
        """How many the metrics count."""
        return float(self.metrics.goodbyes.labels(code.name)._value.get())

    async def drain(self) -> float:
        """Drain to the end; return how long that took."""
        drain = Drain(self.settings, self.clock, self.metrics, Random(1))
        return await self.run(drain.run([self.guests], self.shut))

    async def run(self, work: Coroutine[Any, Any, None]) -> float:
        """Let time pass until *work* is done; return when that is."""
        task = asyncio.create_task(work)
        await settle()
        while not task.done():
            await self.clock.elapse(STEP_S / 2)
            assert self.now < 1_000
        await task
        return self.now


# -- draining --------------------------------------------------------------------------


async def test_where_nobody_is_nobody_is_waited_for() -> None:
    """Not even for the notice."""
    house = House(notice_s=30)

    assert await house.drain() == 0
    assert house.shut_at == 0


async def test_few_leave_at_once() -> None:
    """A developer with a few tabs open does not wait."""
    house = House(guests=AT_ONCE, over_s=60)

    assert await house.drain() == 0
    assert {guest.closed for guest in house.all} == {(0, GOING_AWAY)}


async def test_many_leave_evenly_within_the_time_given() -> None:
    """Each is told once, with a time of his own, and closed as going away."""
    house = House(guests=5_000, over_s=10, return_s=5)
    took = await house.drain()
    assert 9.5 <= took <= 10.5
    by_second = [0] * 11
    for guest in house.all:
        [(when, after_s, reason)] = guest.told
        assert guest.closed == (when, GOING_AWAY)
        assert 0 <= after_s <= 5
        assert reason == "the server is shutting down"
        by_second[int(when)] += 1

    assert all(450 <= count <= 550 for count in by_second[:10])
    returns = [guest.told[0][0] + guest.told[0][1] for guest in house.all]
    in_a_second = [sum(s <= at < s + 1 for at in returns) for s in range(15)]
    assert max(in_a_second) < 600
    assert house.goodbyes(GOING_AWAY) == 5_000


async def test_during_the_notice_the_doors_are_open() -> None:
    """They are shut when it is over, and then the goodbyes begin."""
    house = House(guests=1, notice_s=7)
    late: list[Guest] = []
    house.clock.call_later(5, lambda: late.append(Guest(house)))
    await house.drain()

    assert house.shut_at == 7
    assert late[0].closed == (7, GOING_AWAY)


async def test_who_waits_for_an_answer_is_closed_when_he_has_it() -> None:
    """The goodbye comes at once, the end after the acknowledgement."""
    house = House(guests=3)
    busy = house.all[1]
    busy.quiet = False
    house.clock.call_later(1.0, lambda: setattr(busy, "quiet", True))
    took = await house.drain()
    assert [guest.told[0][0] for guest in house.all] == [0, 0, 0]
    assert house.all[0].closed == (0, GOING_AWAY)

    assert busy.closed is not None
    assert 1.0 <= busy.closed[0] <= 1.0 + STEP_S
    assert took <= 1.0 + STEP_S


async def test_an_answer_that_does_not_come_is_not_waited_for_for_ever() -> None:
    """The rest goes on meanwhile, and the log says how many were cut short."""
    house = House(guests=500, over_s=2)
    for guest in house.all[:7]:
        guest.quiet = False
    with capture_logs() as logs:
        took = await house.drain()

    assert 2 <= took <= 2 + SETTLE_S + 2 * STEP_S
    assert all(guest.closed for guest in house.all)
    assert [line["event"] for line in logs] == ["drain_begun", "drain_ended"]
    assert logs[1]["unacknowledged"] == 7


async def test_who_has_left_by_himself_is_told_nothing() -> None:
    """Between the beginning and his turn."""
    house = House(guests=300, over_s=1)
    house.clock.call_later(0.25, lambda: [guest.leave() for guest in house.all])
    await house.drain()
    told = [guest for guest in house.all if guest.told]

    assert 0 < len(told) < 150
    assert all(guest.closed is None for guest in house.all if not guest.told)


@settings(deadline=None)
@given(st.integers(1, 100_000), st.floats(0, 3600), st.floats(0, 4000))
def test_goodbyes_are_neither_late_nor_early(
    count: int, over_s: float, elapsed_s: float
) -> None:
    """All are told in time, at least a hundred a second, and no more than must be."""
    told = due(count, over_s, elapsed_s)
    assert 1 <= told <= count
    if count <= AT_ONCE or over_s <= STEP_S:
        assert told == count
        return
    rate = max(count / over_s, AT_ONCE)
    assert min(rate * elapsed_s, count) <= told + 1e-6
    assert told <= rate * (elapsed_s + STEP_S) + 1


class Late(ManualClock):
    """A clock of a busy machine: who sleeps is woken much too late."""

    async def sleep(self, delay_s: float) -> None:
        """Sleep five times as long."""
        await super().sleep(delay_s * 5)


async def test_a_busy_machine_does_not_make_it_longer() -> None:
    """When a step takes five times as long, so many more are told in the next."""
    house = House(guests=2_000, over_s=4)
    house.clock = Late()
    took = await house.drain()

    assert 3.5 <= took <= 4 + 5 * STEP_S
    assert all(guest.closed for guest in house.all)


# -- rotation --------------------------------------------------------------------------


async def rotate(house: House, for_s: float) -> None:
    """Let the old be looked for, for some time."""
    rotation = Rotation(
        house.settings, house.clock, house.metrics, house.guests, Random(1)
    )
    task = asyncio.create_task(rotation.run())
    await house.clock.elapse(for_s)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_without_a_greatest_age_nobody_grows_old() -> None:
    """Nothing runs at all."""
    house = House()
    rotation = Rotation(house.settings, house.clock, house.metrics, house.guests)
    await rotation.run()

    assert house.clock.pending == 0


async def test_the_old_are_moved_and_the_young_stay() -> None:
    """Each at an age of his own, about the greatest; with a code of its own."""
    house = House(max_age_s=1000, return_s=5)
    old = [Guest(house, number * 600, house.clock.monotonic()) for number in range(99)]
    young = Guest(house, 1, house.clock.monotonic() + 700)
    await rotate(house, 1_300)
    closed = [guest.closed for guest in old]

    assert {code for found in closed if found for code in found[1:]} == {ROTATED}
    times = sorted(found[0] for found in closed if found)
    assert len(times) == 99
    assert 750 <= times[0] <= 800
    assert 1_150 <= times[-1] <= 1_250
    assert times[80] - times[20] > 200
    assert young.closed is None
    assert {guest.told[0][2] for guest in old} == {ROTATED.meaning}
    assert house.goodbyes(ROTATED) == 99


async def test_who_was_told_to_leave_is_not_told_again() -> None:
    """Though the end of a connection may take its time."""
    house = House(max_age_s=10)
    guest = Guest(house)
    guest.leave = lambda: None  # type: ignore[method-assign]
    await rotate(house, 30)

    assert len(guest.told) == 1


@pytest.mark.parametrize(("max_age_s", "a_second"), [(3_600, 100), (2, 1_000)])
async def test_a_crowd_of_the_same_age_does_not_leave_together(
    max_age_s: float, a_second: int
) -> None:
    """At most a hundred a second, or twice as many as must if all are to be moved."""
    house = House(max_age_s=max_age_s)
    house.all = [Guest(house, number) for number in range(1_000)]
    await rotate(house, 30)
    by_second: dict[int, int] = {}
    for guest in house.all:
        if guest.closed is not None:
            second = int(guest.closed[0])
            by_second[second] = by_second.get(second, 0) + 1

    assert by_second
    assert max(by_second.values()) <= a_second


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1), st.floats(1, 1e6))
def test_the_age_of_a_connection_is_its_own(number: int, max_age_s: float) -> None:
    """The same whenever it is asked, and at most a quarter away from the setting."""
    id = f"{number:016x}"

    assert age_s(id, max_age_s) == age_s(id, max_age_s)
    assert 0.7499 <= age_s(id, max_age_s) / max_age_s <= 1.2501
