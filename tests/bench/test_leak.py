"""Series with a leak, and series that only look like it."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.bench.leak import (
    BLOCKS,
    Point,
    Trend,
    Verdict,
    in_blocks,
    theil_sen,
    trend,
)

MIB = 1024.0  # in KiB
EVERY_S = 5.0


def noise(seed: int, size: float, count: int) -> list[float]:
    """Return normally distributed numbers around 0, always the same."""
    chance = random.Random(seed)
    return [chance.gauss(0.0, size) for _ in range(count)]


def judged(values: list[float], warm_up_s: float = 0.0) -> Trend:
    """Judge samples of memory in KiB, one every five seconds."""
    points = [(EVERY_S * index, value) for index, value in enumerate(values)]
    return trend(points, "KiB", warm_up_s, least=512.0, share=0.005)


def test_the_slope_of_a_line_is_the_lines() -> None:
    """Without noise, there is no doubt."""
    slope = theil_sen([(float(x), 3.0 * x + 7.0) for x in range(20)])

    assert (slope.low, slope.middle, slope.high) == (3.0, 3.0, 3.0)


def test_spikes_do_not_move_the_slope() -> None:
    """A fifth of the samples are far off, all on one side."""
    points = [(float(x), 100.0 if x % 5 == 0 else 0.0) for x in range(50)]

    assert theil_sen(points).middle == 0.0


def test_one_moment_has_no_slope() -> None:
    """Two values at the same time are no line."""
    with pytest.raises(ValueError, match="two points"):
        theil_sen([(1.0, 1.0), (1.0, 2.0)])


@given(
    st.floats(-100, 100),
    st.lists(st.floats(-1000, 1000), min_size=8, max_size=40),
)
def test_the_interval_contains_the_slope(steepness: float, values: list[float]) -> None:
    """Whatever the noise."""
    slope = theil_sen([(float(x), steepness * x + y) for x, y in enumerate(values)])

    assert slope.low <= slope.middle <= slope.high


def test_the_interval_is_right_in_nineteen_of_twenty_cases() -> None:
    """Of 400 series with the slope 1, some 380 have it in their interval."""
    inside = 0
    for seed in range(400):
        points = [(float(x), x + y) for x, y in enumerate(noise(seed, 5.0, 30))]
        slope = theil_sen(points)
        inside += slope.low <= 1.0 <= slope.high

    assert 365 <= inside <= 395


def test_constant_memory_is_steady() -> None:
    """All samples are equal."""
    found = judged([100 * MIB] * 100)

    assert found.verdict is Verdict.STEADY
    assert found.per_hour == 0.0


@pytest.mark.parametrize("seed", range(10))
def test_noise_alone_is_no_leak(seed: int) -> None:
    """An hour at 100 MiB that goes up and down by 2 MiB."""
    values = [100 * MIB + each for each in noise(seed, 2 * MIB, 720)]

    assert judged(values).verdict in (Verdict.STEADY, Verdict.UNCLEAR)


@pytest.mark.parametrize("seed", range(10))
def test_a_leak_under_noise_is_found(seed: int) -> None:
    """An hour in which 10 MiB are lost, and as much noise as before."""
    rise = 10 * MIB / 720
    values = [
        100 * MIB + rise * index + each
        for index, each in enumerate(noise(seed, 2 * MIB, 720))
    ]
    found = judged(values)

    assert found.verdict is Verdict.LEAK
    assert found.low <= found.per_hour <= found.high
    assert found.per_hour == pytest.approx(10 * MIB, rel=0.2)
    assert "grows" in found.sentence
    assert "KiB/hour" in found.sentence


@pytest.mark.parametrize("seed", range(10))
def test_what_fills_up_and_stops_is_no_leak(seed: int) -> None:
    """Caches: 20 MiB come in the first minutes, and then nothing."""
    values = [
        100 * MIB + 20 * MIB * (1 - math.exp(-index / 60)) + each
        for index, each in enumerate(noise(seed, 0.2 * MIB, 720))
    ]

    assert judged(values).verdict is not Verdict.LEAK


def test_growth_of_a_few_pages_is_no_leak_and_not_nothing() -> None:
    """Clear, but 100 KiB in the whole time: only more time can tell."""
    found = judged([100 * MIB + index * 100 / 720 for index in range(720)])

    assert found.verdict is Verdict.SLIGHT
    assert found.sentence.endswith("run longer")


def test_shrinking_memory_is_steady() -> None:
    """What is given back is no leak."""
    values = [200 * MIB - index * 20.0 for index in range(720)]

    assert judged(values).verdict is Verdict.STEADY


def test_the_warm_up_does_not_count() -> None:
    """All growth lies before."""
    values = [MIB * min(index, 60) for index in range(200)]

    assert judged(values, warm_up_s=300.0).verdict is Verdict.STEADY


def test_few_samples_are_no_verdict() -> None:
    """Also if nearly all were before the warm-up."""
    assert judged([1.0] * 5).verdict is Verdict.SHORT
    assert judged([1.0] * 100, warm_up_s=480.0).verdict is Verdict.SHORT
    assert "run longer" in judged([1.0] * 5).sentence


@given(st.integers(0, 3000))
def test_blocks_are_few_and_leave_nothing_out(count: int) -> None:
    """Hours of samples become no more points than can be judged."""
    points: list[Point] = [(float(x), 1.0) for x in range(count)]
    blocks = in_blocks(points)

    assert len(blocks) <= BLOCKS
    assert bool(blocks) == bool(points)
    assert blocks == sorted(blocks)
