"""How often is too often, and how much memory a crowd of strangers may take."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.core.limits import (
    AddressCounts,
    AddressRates,
    Queue,
    Rate,
    address_key,
    whole_seconds,
)

STEPS = st.lists(st.floats(0, 3), min_size=1, max_size=200)

# -- rates -----------------------------------------------------------------------------


def allowed(rate: Rate, times: list[float]) -> list[float]:
    """The instants, of those asked for, at which one more was allowed."""
    state, found = 0.0, []
    for now in times:
        if rate.wait_s(state, now) <= 0:
            state = rate.take(state, now)
            found.append(now)
    return found


def test_a_burst_and_then_one_after_the_other() -> None:
    """Three at once, then one every half second."""
    rate = Rate(per_s=2, burst=3)
    times = [100 + step / 10 for step in range(20)]

    assert allowed(rate, [100.0] * 9) == [100.0] * 3
    assert allowed(rate, [100.0, 100.0, *times]) == [100, 100, 100, 100.5, 101, 101.5]


def test_whoever_waits_as_told_is_let_in() -> None:
    """Not a moment before, and exactly then."""
    rate = Rate(per_s=3, burst=1)
    state = rate.take(0.0, 50.0)
    wait_s = rate.wait_s(state, 50.0)

    assert wait_s == pytest.approx(1 / 3)
    assert rate.wait_s(state, 50.0 + wait_s - 0.001) > 0
    assert rate.wait_s(state, 50.0 + wait_s) == 0


@settings(deadline=None)
@given(st.floats(0.1, 50), st.integers(1, 20), STEPS)
def test_in_no_time_more_than_the_rate_and_one_burst(
    per_s: float, burst: int, steps: list[float]
) -> None:
    """Between any two instants, however they ask."""
    rate, times, now = Rate(per_s, burst), [], 1000.0
    for step in steps:
        now += step / per_s
        times += [now] * 3
    taken = allowed(rate, times)
    for first, begun in enumerate(taken):
        for last, ended in enumerate(taken[first:], 1):
            assert last <= burst + (ended - begun) * per_s + 1e-6


@pytest.mark.parametrize(
    ("setting", "rate"),
    [(0, None), (0.5, Rate(0.5, 1.0)), (1, Rate(1, 1)), (100, Rate(100, 100))],
)
def test_a_setting_allows_a_seconds_worth_at_once(
    setting: float, rate: Rate | None
) -> None:
    """But always one; and nothing is limited by 0."""
    assert Rate.of(setting) == rate


# -- addresses -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "", True),
        ("", "192.0.2.1", False),
        ("no:address", "no:address", True),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:
    """IPv4 by address, IPv6 by its network of 64 bits; anything else by its text."""
    assert (address_key(one) == address_key(other)) is same


def test_addresses_have_rates_of_their_own() -> None:
    """One that is over its rate does not matter to others."""
    rates = AddressRates(Rate(per_s=1, burst=1))
    rates.take("a", 10.0)

    assert rates.wait_s("a", 10.0) == 1.0
    assert rates.wait_s("b", 10.0) == 0.0


def test_an_address_that_has_been_quiet_takes_no_memory() -> None:
    """Each that comes lets two go that count as unknown."""
    rates = AddressRates(Rate(per_s=10, burst=10))
    for number in range(100):
        rates.take(f"early-{number}", 10.0)
    for number in range(60):
        rates.take(f"late-{number}", 20.0)

    assert len(rates) <= 60


def test_a_crowd_of_strangers_cannot_take_more_memory_than_is_allowed() -> None:
    """The longest quiet are forgotten; nobody is refused because of the crowd."""
    rates = AddressRates(Rate(per_s=1, burst=1), max_entries=50)
    for number in range(1_000):
        rates.take(str(number), 10.0)

    assert len(rates) == 50
    assert rates.wait_s("999", 10.0) == 1.0
    assert rates.wait_s("0", 10.0) == 0.0


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"))))
def test_counts_settle_to_nothing(moves: list[tuple[bool, str]]) -> None:
    """They are what came less what went, and take no memory for none."""
    counts, model = AddressCounts(), dict.fromkeys("abc", 0)
    for comes, key in moves:
        if comes:
            counts.enter(key)
            model[key] += 1
        elif model[key]:
            counts.leave(key)
            model[key] -= 1
    assert {key: counts[key] for key in model} == model
    assert len(counts) == sum(count > 0 for count in model.values())
    for key, count in model.items():
        for _ in range(count):
            counts.leave(key)
    assert len(counts) == 0


# -- the queue of those turned away ----------------------------------------------------


def test_a_crowd_is_told_to_return_at_the_rate_that_can_be_let_in() -> None:
    """A thousand refused at once, a hundred a second: over ten seconds, evenly."""
    queue = Queue(per_s=100)
    delays = [queue.join(0.0, 50.0, 0.5) for _ in range(1_000)]
    by_second = [sum(s < delay <= s + 1 for delay in delays) for s in range(10)]

    assert all(99 <= count <= 101 for count in by_second)
    assert queue.wait_s(50.0) == pytest.approx(10)
    assert queue.wait_s(61.0) == 0


def test_chance_spreads_the_turns() -> None:
    """By a quarter each way."""
    early, late = (Queue(1).join(9.0, 50.0, chance) for chance in (0.0, 1.0))

    assert (early, late) == (7.5, 12.5)


def test_nobody_is_sent_away_for_too_long() -> None:
    """Once the queue is as long as may be, it grows no further."""
    queue = Queue(per_s=10, longest_s=20)
    delays = [queue.join(0.0, 50.0, 0.5) for _ in range(10_000)]

    assert max(delays) <= 20
    assert queue.wait_s(50.0) <= 20.1


@pytest.mark.parametrize(
    ("delay_s", "seconds"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.1, 2), (7.0000000001, 7)]
)
def test_headers_have_whole_seconds(delay_s: float, seconds: int) -> None:
    """Rounded up, and never 0."""
    assert whole_seconds(delay_s) == seconds
