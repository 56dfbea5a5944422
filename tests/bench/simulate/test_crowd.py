"""A crowd that comes back."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.bench.simulate.crowd import Clients, Course, Crowd, Door

DOORS = st.builds(
    Door,
    connect_s=st.floats(1e-5, 5e-3),
    refuse_s=st.floats(1e-6, 1e-3),
    redis_s=st.floats(0, 1e-3),
    connect_rate=st.sampled_from([0.0, 20.0, 100.0, 1_000.0]),
    accept_queue=st.sampled_from([8, 128, 4_096]),
    busy=st.floats(0, 0.9),
)
CLIENTS = st.builds(Clients, jitter=st.booleans(), timeout_s=st.floats(1.0, 30.0))


def play(
    door: Door, clients: Clients, count: int, seed: int = 0, over_s: float = 0.0
) -> Course:
    """Let *count* clients be cut off, over a while, and come back."""
    random = Random(seed)
    cut_at = [random.random() * over_s for _ in range(count)]
    return Crowd(door, clients, cut_at, random).play()


def most_within(times: Sequence[float], window_s: float) -> int:
    """Return how many of *times* fell into the fullest window."""
    ordered = sorted(times)
    return max(
        (
            bisect_right(ordered, at + window_s) - number
            for number, at in enumerate(ordered)
        ),
        default=0,
    )


@settings(max_examples=30, deadline=None)
@given(door=DOORS, clients=CLIENTS, count=st.integers(1, 400), over=st.floats(0, 30))
def test_everybody_comes_back_once(
    door: Door, clients: Clients, count: int, over: float
) -> None:
    """Nobody is lost and nobody is counted twice, whatever was refused or dropped."""
    course = play(door, clients, count, over_s=over)

    assert course.missing == 0
    assert len(course.admitted_at) == len(course.entered_at) == count
    # Each attempt has one outcome, but those that end after their client has gone in.
    outcomes = count + len(course.refused_at) + len(course.gave_up_at)
    assert len(course.attempts_at) == outcomes


@settings(max_examples=30, deadline=None)
@given(door=DOORS, clients=CLIENTS, count=st.integers(1, 400))
def test_a_crowd_never_passes_the_rate(
    door: Door, clients: Clients, count: int
) -> None:
    """In no second more than twice the rate (a second's worth may come at once)."""
    if not door.connect_rate:
        return
    course = play(door, clients, count)

    for window_s in (0.1, 1.0, 5.0):
        most = door.connect_rate * window_s + door.connect_rate + 1
        assert most_within(course.entered_at, window_s) <= most


@settings(max_examples=30, deadline=None)
@given(door=DOORS, clients=CLIENTS, count=st.integers(1, 400))
def test_the_queue_is_bounded_and_never_negative(
    door: Door, clients: Clients, count: int
) -> None:
    """The kernel keeps what it may and drops the rest."""
    course = play(door, clients, count)

    assert all(0 <= size <= door.accept_queue for _, size in course.queues)
    assert course.queues[-1][1] == 0


def test_without_limits_the_last_one_waits_for_all_the_others() -> None:
    """All at once, served in turn: 1,000 of a millisecond are in after a second."""
    door = Door(connect_s=0.001, refuse_s=0.0)

    course = play(door, Clients(jitter=False), 1_000)

    assert course.back_s(1.0) == pytest.approx(1.0)
    assert course.back_s(0.5) == pytest.approx(0.5)
    assert course.longest_queue == 999  # one is being served
    assert course.spent_s == pytest.approx(1.0)


def test_other_work_slows_the_door() -> None:
    """With half of the core in use, everything takes twice as long."""
    door = Door(connect_s=0.001, refuse_s=0.0, busy=0.5)

    assert play(door, Clients(jitter=False), 500).back_s(1.0) == pytest.approx(1.0)


def test_redis_may_be_the_slower_one() -> None:
    """Who was let in waits for it; the door does not."""
    door = Door(connect_s=0.0001, refuse_s=0.0, redis_s=0.01)

    course = play(door, Clients(jitter=False), 300)

    assert course.back_s(1.0) == pytest.approx(3.0, rel=0.01)
    assert max(course.entered_at) < 0.1


def test_a_rate_lets_in_a_second_s_worth_and_then_so_many_a_second() -> None:
    """1,100 at 100 a second are in after ten seconds, more or less a turn."""
    door = Door(connect_s=1e-5, refuse_s=1e-5, connect_rate=100.0)

    course = play(door, Clients(jitter=False), 1_100)

    assert sum(at < 0.1 for at in course.entered_at) == pytest.approx(110, abs=10)
    assert 10 <= course.back_s(1.0) <= 30
    assert course.refused_at


def test_a_full_node_lets_in_as_many_as_it_has_room_for() -> None:
    """The others are told to come back, and are still outside in the end."""
    door = Door(connect_s=1e-4, refuse_s=1e-5, room=40)
    crowd = Crowd(door, Clients(), [0.0] * 100, Random(3))

    course = crowd.play(until_s=60.0)

    assert len(course.admitted_at) == 40
    assert course.missing == 60
    assert course.back_s(1.0) == inf


def test_without_admission_a_crowd_wastes_what_is_done_for_those_who_gave_up() -> None:
    """Clients that are not answered in time come anew; with jitter fewer do."""
    door = Door(connect_s=0.01, refuse_s=0.005)
    hasty = Clients(jitter=False, timeout_s=2.0)

    course = play(door, hasty, 2_000)

    assert course.gave_up_at
    assert course.spent_s > 2_000 * 0.01
    assert course.missing == 0


def test_the_same_seed_plays_the_same() -> None:
    """And another one plays another course."""
    door = Door(connect_s=0.001, refuse_s=0.0005, connect_rate=50.0)

    one, same, other = (play(door, Clients(), 200, seed) for seed in (5, 5, 6))

    assert one.admitted_at == same.admitted_at
    assert one.admitted_at != other.admitted_at
