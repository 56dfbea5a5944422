"""When changes are published: once per cadence, all of them, and soon."""

from __future__ import annotations

from itertools import pairwise
from math import floor

from hypothesis import given
from hypothesis import strategies as st

from realtime.core.pace import Pace

CADENCE_S = 0.1
EPOCH = 1_700_000_000.0  # of the wall clock, when the monotonic one is at 0


def published(changes: list[float], early_s: float = 0.0) -> list[float]:
    """
    Return when the publications are due of what changes at these times.

    Timers run *early_s* too early.
    """
    pace, due, times = Pace(CADENCE_S), None, list[float]()
    for at in [*sorted(changes), 1e9]:
        while due is not None and due <= at:
            times.append(due)
            pace.published(due - early_s, EPOCH + due - early_s)
            due = None
        if at < 1e9:
            pace.changed(EPOCH + at)
            if due is None:
                due = at + pace.delay_s(at, EPOCH + at)
    return times


def waits(changes: list[float]) -> list[float]:
    """Return how long each change waits for its publication, after learning."""
    times = published(changes)
    each = [min(t for t in times if t >= at) - at for at in sorted(changes)]
    return each[len(each) // 2 :]


def every_tick(*phases: float, ticks: int = 40) -> list[float]:
    """Changes at these times of every tick."""
    return [tick * CADENCE_S + phase for tick in range(ticks) for phase in phases]


def test_a_change_that_is_alone_is_published_at_once() -> None:
    """Where one node changes a value once per tick, it never waits."""
    assert max(waits(every_tick(0.005))) == 0


def test_changes_of_several_nodes_are_published_together() -> None:
    """Once it is known how far apart they come, none waits for another cadence."""
    for phases in [(0.005, 0.009), (0.005, 0.006), (0.003, 0.01, 0.02)]:
        assert max(waits(every_tick(*phases))) < 0.05
        assert len(published(every_tick(*phases))) <= 41


def test_nodes_whose_clocks_differ_wait_for_each_other_only_once() -> None:
    """A change far from the others waits for those of the next tick, not longer."""
    late = waits(every_tick(0.005, 0.08))
    assert max(late) < 0.04
    assert min(late) < 0.005


def test_one_late_change_makes_nobody_wait_for_long() -> None:
    """After a hiccup, what comes once per tick is published at once again."""
    changes = every_tick(0.005, ticks=80)
    changes.append(0.05)
    assert max(waits(changes)) < 0.002


def test_timers_that_are_early_do_not_allow_a_second_publication() -> None:
    """What is published a little before its cadence counts as of that cadence."""
    times = published(every_tick(0.004, 0.008, 0.07), early_s=0.0009)
    assert min(b - a for a, b in pairwise(times)) > CADENCE_S / 2


@given(st.lists(st.floats(0, 3), max_size=60))
def test_there_is_one_publication_per_cadence(changes: list[float]) -> None:
    """Whenever changes come, none is forgotten, and no cadence has two publications."""
    times = published(changes)
    cadences = [floor((EPOCH + at) / CADENCE_S + 1e-4) for at in times]
    assert len(set(cadences)) == len(cadences)
    assert bool(times) == bool(changes)
    for at in changes:
        assert any(0 <= time - at <= 2 * CADENCE_S for time in times)
