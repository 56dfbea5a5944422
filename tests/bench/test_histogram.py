"""Latencies are kept in little space, and none of them is told too low."""

from __future__ import annotations

import math

import orjson
from hypothesis import given
from hypothesis import strategies as st

from realtime.bench.histogram import Histogram, merged

MICROSECONDS = st.integers(0, 10**10)
LATENCIES = st.lists(MICROSECONDS, min_size=1, max_size=200)
SHARES = st.sampled_from([0.01, 0.5, 0.9, 0.99, 0.999, 1.0])


def histogram(*latencies_us: int) -> Histogram:
    """One with these latencies in it."""
    found = Histogram()
    for us in latencies_us:
        # Half a microsecond more: what is added is cut to whole ones.
        found.add((us + 0.5) / 1e6)
    return found


@given(LATENCIES, SHARES)
def test_a_quantile_is_never_too_low_and_hardly_too_high(
    latencies: list[int], share: float
) -> None:
    """It is at most 1.6 % above the latency that has this rank."""
    rank = math.ceil(share * len(latencies) - 1e-6)
    true_us = sorted(latencies)[max(rank, 1) - 1]

    found_us = histogram(*latencies).quantile_ms(share) * 1e3

    assert true_us <= found_us * (1 + 1e-9)
    assert found_us <= true_us * (1 + 1 / 64) + 1


@given(LATENCIES, LATENCIES)
def test_merging_is_counting_together(first: list[int], second: list[int]) -> None:
    """Several processes find what one would have found."""
    apart = merged([histogram(*first), histogram(*second)])

    assert apart == histogram(*first, *second)


@given(LATENCIES)
def test_it_survives_json(latencies: list[int]) -> None:
    """What is written into a file is all of it."""
    kept = histogram(*latencies)

    assert Histogram.from_json(orjson.loads(orjson.dumps(kept.to_json()))) == kept


def test_percentiles_have_names_with_units() -> None:
    """These are the keys of rows."""
    found = histogram(*range(1000, 1_001_000, 1000)).percentiles()

    assert list(found) == ["p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"]
    assert found["max_ms"] == 1000.0


def test_an_empty_one_has_no_quantiles() -> None:
    """They are not a number, which tables show as a dash."""
    assert math.isnan(Histogram().quantile_ms(0.5))
    assert math.isnan(Histogram().max_ms)
    assert math.isnan(Histogram().mean_ms)


def test_what_came_before_it_was_due_counts_as_no_wait() -> None:
    """Clocks are read in an order; a latency below zero is zero."""
    found = Histogram()
    found.add(-0.5)

    assert found.quantile_ms(0.5) == 0.0


def test_the_curve_ends_with_all() -> None:
    """It ascends, and its end is the longest latency."""
    points = list(histogram(1000, 2000, 50_000).curve())

    assert points == sorted(points)
    assert points[-1] == (1.0, 50.0)
