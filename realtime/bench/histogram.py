"""
A latency histogram: exact enough, small, and the same whoever adds first.

Log-linear: values below 128 us have a bucket each, and above that every power of two
has 64. So a percentile is at most 1.6 % above the true one (it is told as its bucket's
upper end), from a microsecond to hours, in a few kilobytes. Histograms of several
processes are merged by adding bucket by bucket, so the percentiles of all are not an
average of percentiles. Values are kept in microseconds and told in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

_LINEAR_BITS = 7
_HALF = 1 << (_LINEAR_BITS - 1)

QUANTILES = (0.5, 0.9, 0.99, 0.999)


class Histogram:
    """How often each latency occurred. What is added is in seconds."""

    __slots__ = ("_buckets", "count", "max_us", "sum_us")

    def __init__(self) -> None:
        self.count = 0
        self.sum_us = 0
        self.max_us = 0
        self._buckets: dict[int, int] = {}

    def add(self, latency_s: float) -> None:
        """Count one latency; one below zero counts as zero."""
        us = int(latency_s * 1e6) if latency_s > 0 else 0
        bucket = _bucket_of(us)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        self.sum_us += us
        if us > self.max_us:
            self.max_us = us

    def merge(self, other: Histogram) -> Self:
        """Add what *other* has counted; return self."""
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self.count += other.count
        self.sum_us += other.sum_us
        self.max_us = max(self.max_us, other.max_us)
        return self

    def quantile_ms(self, share: float) -> float:
        """
        Return the latency that *share* (0 to 1) of all do not exceed; NaN if empty.
        """
        if not self.count:
            return float("nan")
        left = max(int(share * self.count + 0.999999), 1)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return min(_end_of(bucket), self.max_us) / 1e3
        return self.max_us / 1e3

    @property
    def max_ms(self) -> float:
        """The longest; NaN if empty."""
        return self.max_us / 1e3 if self.count else float("nan")

    @property
    def mean_ms(self) -> float:
        """The mean; NaN if empty."""
        return self.sum_us / self.count / 1e3 if self.count else float("nan")

    def percentiles(self) -> dict[str, float]:
        """Return ``p50_ms``, ``p90_ms``, ``p99_ms``, ``p999_ms`` and ``max_ms``."""
        names = (f"p{share * 100:g}".replace(".", "") for share in QUANTILES)
        found = {
            f"{name}_ms": self.quantile_ms(share)
            for name, share in zip(names, QUANTILES, strict=True)
        }
        return {**found, "max_ms": self.max_ms}

    def curve(self) -> Iterator[tuple[float, float]]:
        """Yield (share of all, latency in ms), ascending, for a plot."""
        passed = 0
        for bucket in sorted(self._buckets):
            passed += self._buckets[bucket]
            yield passed / self.count, min(_end_of(bucket), self.max_us) / 1e3

    def to_json(self) -> dict[str, object]:
        """Return all of it as plain values."""
        return {
            "count": self.count,
            "sum_us": self.sum_us,
            "max_us": self.max_us,
            "buckets": {str(bucket): n for bucket, n in sorted(self._buckets.items())},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Histogram:
        """Return what ``to_json`` was called on."""
        found = cls()
        buckets = data["buckets"]
        assert isinstance(buckets, Mapping)
        found._buckets = {int(bucket): int(n) for bucket, n in buckets.items()}
        found.count = int(str(data["count"]))
        found.sum_us = int(str(data["sum_us"]))
        found.max_us = int(str(data["max_us"]))
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}, p99 {self.quantile_ms(0.99):.2f} ms>"


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """Return one histogram of all."""
    found = Histogram()
    for one in histograms:
        found.merge(one)
    return found


def _bucket_of(us: int) -> int:
    shift = us.bit_length() - _LINEAR_BITS
    if shift <= 0:
        return us
    return shift * _HALF + (us >> shift)


def _end_of(bucket: int) -> int:
    """Return the greatest value in *bucket*."""
    shift = max(bucket // _HALF - 1, 0)
    return ((bucket - shift * _HALF + 1) << shift) - 1
