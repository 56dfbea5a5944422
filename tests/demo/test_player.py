"""The replay of the demonstration."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import islice, pairwise
from typing import Any

import pytest

from realtime.clock import Timer
from realtime.demo.player import MAX_LAG_S, Player, Quake, play, read_quakes

pytestmark = pytest.mark.anyio


class StepClock:
    """A clock that moves only when somebody sleeps on it, or by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def time(self) -> float:
        return 1_700_000_000.0 + self.now

    def monotonic(self) -> float:
        return self.now

    def call_later(self, delay_s: float, callback: object) -> Timer:
        raise AssertionError("the player needs no timers")

    async def sleep(self, delay_s: float) -> None:
        self.now += delay_s
        await asyncio.sleep(0)


def three_quakes() -> Player:
    """Events due at 0, 2 and 8 seconds of a loop of 12."""
    rows = [Quake(1000.0 + at, {"id": str(at)}) for at in (0, 1, 4)]
    return Player(rows, loop_s=12.0)


async def play_until(
    calls: int, clock: StepClock, player: Player, busy_s: float = 0.0
) -> list[list[dict[str, Any]]]:
    """Play until *track* was called *calls* times; return what it was given."""
    batches: list[list[dict[str, Any]]] = []

    async def track(events: list[dict[str, Any]]) -> None:
        batches.append(events)
        clock.now += busy_s
        if len(batches) == calls:
            raise StopAsyncIteration

    with pytest.raises(StopAsyncIteration):
        await play(track, clock, player)
    return batches


def test_the_whole_week_is_there() -> None:
    """The file holds 1,707 events in order of time, of which 1,679 are earthquakes."""
    quakes = read_quakes()
    assert Counter(quake.properties["type"] for quake in quakes) == {
        "earthquake": 1679,
        "explosion": 15,
        "quarry blast": 13,
    }
    assert all(one.at <= other.at for one, other in pairwise(quakes))
    assert max(quake.properties["magnitude"] for quake in quakes) == 6.4
    assert all(quake.properties["region"] for quake in quakes)


def test_a_loop_keeps_the_rhythm() -> None:
    """Gaps are the real ones divided by the speed, and the loops do not overlap."""
    due = [due_s for due_s, _ in islice(three_quakes().events(), 7)]
    assert due == pytest.approx([0, 2, 8, 12, 14, 20, 24])


def test_one_loop_takes_three_minutes() -> None:
    """By default the event that opens the second loop is due after 180 seconds."""
    player = Player()
    due_s, event = next(islice(player.events(), len(player.quakes), None))
    assert due_s == 180.0
    assert event["name"] == "quake"
    assert event["properties"] == player.quakes[0].properties


def test_events_do_not_share_their_properties() -> None:
    """Changing one event does not change the next loop."""
    player = three_quakes()
    events = player.events()
    next(events)[1]["properties"]["id"] = "changed"
    assert [event["properties"]["id"] for _, event in islice(events, 3)] == [
        "1",
        "4",
        "0",
    ]


@pytest.mark.parametrize("quakes", [[], [Quake(1.0, {})], [Quake(1.0, {})] * 2])
def test_a_player_needs_a_span_of_time(quakes: list[Quake]) -> None:
    """Fewer than two events, or all at one time, are refused."""
    with pytest.raises(ValueError, match="quakes"):
        Player(quakes)


def test_a_loop_takes_time() -> None:
    """A loop of no seconds is refused with the value."""
    with pytest.raises(ValueError, match=r"loop_s: 0\.0"):
        Player([Quake(1.0, {}), Quake(2.0, {})], loop_s=0.0)


async def test_events_are_dated_when_they_are_due() -> None:
    """Each event is sent when it is due, with that time."""
    clock = StepClock()
    started = clock.time()
    batches = await play_until(4, clock, three_quakes())
    assert [event["at"] - started for [event] in batches] == pytest.approx(
        [0, 2, 8, 12]
    )


async def test_what_became_due_meanwhile_goes_together() -> None:
    """While track is busy for 4 seconds, two events become due and share a batch."""
    clock = StepClock()
    started = clock.time()
    player = Player([Quake(float(at), {}) for at in (0, 1, 2, 3)], loop_s=6.0)
    batches = await play_until(2, clock, player, busy_s=4.0)
    assert [[event["at"] - started for event in batch] for batch in batches] == [
        [pytest.approx(0)],
        [pytest.approx(1.5), pytest.approx(3)],
    ]


async def test_a_long_sleep_is_no_flood() -> None:
    """After a long sleep, the play goes on with one event instead of all missed."""
    clock = StepClock()
    batches = await play_until(2, clock, three_quakes(), busy_s=MAX_LAG_S + 1000)
    assert [len(batch) for batch in batches] == [1, 1]
    assert batches[1][0]["at"] == pytest.approx(clock.time() - MAX_LAG_S - 1000)
