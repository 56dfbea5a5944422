"""
Windows of event time: all of it, tumbling, or sliding in steps.

Time is cut into buckets numbered since the epoch, each one *grain* long: the window's
size for a tumbling one, its step for a sliding one. An *instance* of a window is the
run of buckets that one value stands for; it is named by the end of its last bucket.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from realtime.units import parse_duration_s

MAX_BUCKETS = 1000  # of one sliding window: a value is the merge of that many cells
MAX_SIZE_S = 366 * 86400

_RIGHT = 'write "total", a length such as "5m", or a length and a step such as "1h/1m"'


class WindowKind(Enum):
    """How a window moves with time."""

    TOTAL = "total"  # never
    TUMBLING = "tumbling"  # from one instance to the next, without overlap
    SLIDING = "sliding"  # by one step; successive instances overlap


@dataclass(frozen=True, slots=True)
class Window:
    """
    One declared window; ``text`` is its name, as it was declared.

    ``size_s`` is its length and ``step_s`` its grain, in whole seconds: the same for a
    tumbling window, 0 and 0 for the total.
    """

    text: str
    kind: WindowKind
    size_s: int
    step_s: int

    @classmethod
    def parse(cls, text: str) -> Window:
        """
        Read ``"total"``, ``"5m"`` (tumbling) or ``"1h/1m"`` (sliding in steps).

        Raises:
            ValueError: With a sentence that says what would be right.
        """
        if text == "total":
            return cls(text, WindowKind.TOTAL, 0, 0)
        if text != "".join(text.split()):
            raise ValueError(f"window {text[:40]!r} has spaces in it: {_RIGHT}")
        length, slash, step = text.partition("/")
        size_s = _whole_seconds(length, text)
        if not slash:
            return cls(text, WindowKind.TUMBLING, size_s, size_s)
        step_s = _whole_seconds(step, text)
        _check_step(text, size_s, step_s)
        return cls(text, WindowKind.SLIDING, size_s, step_s)

    @property
    def span(self) -> int:
        """How many buckets make up one instance."""
        return self.size_s // self.step_s if self.step_s else 1

    def bucket(self, at: float) -> int:
        """Return the number of the bucket that contains the instant *at*."""
        # Whole seconds first: at / step_s could round up to the next bucket's number.
        return math.floor(at) // self.step_s if self.step_s else 0

    def buckets(self, at: float) -> range:
        """Return the buckets of the instance containing *at*, oldest first."""
        return self.buckets_until(self.bucket(at))

    def buckets_until(self, last: int) -> range:
        """Return the buckets of the instance whose last bucket is *last*."""
        return range(last - self.span + 1, last + 1)

    def end(self, at: float) -> float | None:
        """Return the end of the instance containing *at*; None for the total."""
        return self.end_of(self.bucket(at))

    def end_of(self, last: int) -> float | None:
        """Return the event-time end of bucket *last*; None for the total."""
        return float((last + 1) * self.step_s) if self.step_s else None


def _whole_seconds(length: str, window: str) -> int:
    try:
        seconds = parse_duration_s(length)
    except ValueError:
        raise ValueError(f"{window[:40]!r} is not a window: {_RIGHT}") from None
    if seconds != int(seconds) or seconds < 1:
        raise ValueError(
            f"window {window[:40]!r}: {length[:40]!r} must be a whole number of "
            "seconds, at least one"
        )
    if seconds > MAX_SIZE_S:
        raise ValueError(
            f'window {window[:40]!r} is longer than 366d: use "total" for all time'
        )
    return int(seconds)


def _check_step(text: str, size_s: int, step_s: int) -> None:
    if step_s == size_s:
        right = text.partition("/")[0]
        raise ValueError(
            f"window {text[:40]!r} steps by its whole length: write {right!r}"
        )
    if size_s % step_s:
        raise ValueError(
            f"window {text[:40]!r}: the step of {step_s} s must divide {size_s} s"
        )
    if size_s // step_s > MAX_BUCKETS:
        longer = math.ceil(size_s / MAX_BUCKETS)
        raise ValueError(
            f"window {text[:40]!r} has {size_s // step_s} steps; at most {MAX_BUCKETS} "
            f"are allowed: make the step {longer} s or longer"
        )
