"""
Does something grow for ever? A robust slope of samples, and a verdict in words.

Pure. The slope is Theil and Sen's, the median of the slopes between all pairs of
points, so that single spikes (a collection of garbage, a burst) do not move it; its
confidence is Sen's, from Kendall's test. Samples of one process follow each other
closely, which makes any such interval too narrow: they are first put together into
blocks of which the median counts.

What grows while caches and allocators warm up, and then stops, is no leak; what grows
as fast in the second half as in the first is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import combinations
from statistics import median

BLOCKS = 120  # at most; the number of slopes is half of its square
LEAST_POINTS = 8
Z_95 = 1.96
_HOUR_S = 3600.0

Point = tuple[float, float]
"""A time in seconds, and a value."""


class Verdict(Enum):
    """What is to be thought of it."""

    STEADY = "no leak is seen"
    SLIGHT = "it grows, by too little to matter in this time"
    LEAK = "it grows and does not stop"
    SETTLING = "it has grown at first, and slows down"
    UNCLEAR = "it cannot be told yet"
    SHORT = "there are too few samples"


@dataclass(frozen=True, slots=True)
class Slope:
    """The slope per second, and between which slopes it is with 95 %."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Trend:
    """
    A verdict with its slope per hour (NaN where there are too few samples), in *unit*.
    """

    verdict: Verdict
    per_hour: float
    low: float
    high: float
    unit: str

    @property
    def sentence(self) -> str:
        """The whole, for people."""
        if self.verdict is Verdict.SHORT:
            return f"{self.verdict.value} after the warm-up: run longer"
        numbers = (
            f"{self.per_hour:+,.0f} {self.unit}/hour "
            f"(95 %: {self.low:+,.0f} to {self.high:+,.0f})"
        )
        sure = self.verdict in (Verdict.STEADY, Verdict.LEAK)
        return f"{self.verdict.value}, {numbers}{'' if sure else ': run longer'}"


def trend(
    points: Sequence[Point], unit: str, warm_up_s: float, least: float, share: float
) -> Trend:
    """
    Judge a series, in order of time, without what lies before *warm_up_s*.

    Growth over the whole series that is less than *least* (in *unit*) and than *share*
    of the value is none: memory comes in pages and arenas.
    """
    late = [point for point in points if point[0] >= warm_up_s]
    blocks = in_blocks(late)
    if len(blocks) < LEAST_POINTS:
        return Trend(Verdict.SHORT, math.nan, math.nan, math.nan, unit)
    slope = theil_sen(blocks)
    seconds = blocks[-1][0] - blocks[0][0]
    enough = max(least, share * abs(median(value for _, value in blocks)))
    verdict = _verdict(blocks, slope, enough / seconds)
    return Trend(
        verdict,
        slope.middle * _HOUR_S,
        slope.low * _HOUR_S,
        slope.high * _HOUR_S,
        unit,
    )


def _verdict(blocks: Sequence[Point], slope: Slope, enough: float) -> Verdict:
    """Compare with *enough*, a slope that would matter."""
    if slope.high < enough:
        return Verdict.STEADY if slope.low <= 0 else Verdict.SLIGHT
    if slope.low <= 0 or slope.middle < enough:
        return Verdict.UNCLEAR
    half = blocks[len(blocks) // 2 :]
    if len(half) >= LEAST_POINTS:
        later = theil_sen(half)
        if later.low <= 0 or later.middle < slope.middle / 3:
            return Verdict.SETTLING
    return Verdict.LEAK


def in_blocks(points: Sequence[Point]) -> list[Point]:
    """Return the medians of as many blocks as are allowed, or the points if few."""
    size = -(-len(points) // BLOCKS)
    if size <= 1:
        return list(points)
    blocks = (points[at : at + size] for at in range(0, len(points), size))
    return [
        (median(at for at, _ in block), median(value for _, value in block))
        for block in blocks
    ]


def theil_sen(points: Sequence[Point]) -> Slope:
    """
    Return the median slope of all pairs, and Sen's interval around it.

    Raises:
        ValueError: If there are not two points at different times.
    """
    slopes = sorted(
        (y2 - y1) / (x2 - x1)
        for (x1, y1), (x2, y2) in combinations(points, 2)
        if x1 != x2
    )
    if not slopes:
        raise ValueError("a slope needs two points at different times")
    n = len(points)
    # The variance of Kendall's S, less what ties of values take away from it.
    ties = sum(count * (count - 1) * (2 * count + 5) for count in _ties(points))
    variance = (n * (n - 1) * (2 * n + 5) - ties) / 18
    reach = Z_95 * math.sqrt(max(variance, 0.0))
    low = int((len(slopes) - reach) / 2)
    high = math.ceil((len(slopes) + reach) / 2)
    last = len(slopes) - 1
    return Slope(median(slopes), slopes[max(low, 0)], slopes[min(high, last)])


def _ties(points: Sequence[Point]) -> list[int]:
    counts: dict[float, int] = {}
    for _, value in points:
        counts[value] = counts.get(value, 0) + 1
    return [count for count in counts.values() if count > 1]
