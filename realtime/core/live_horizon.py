"""
How far a live channel looks back and ahead: which buckets matter at a time.
"""

from __future__ import annotations

import math

from realtime.core.windows import Window, WindowKind

MAX_BEYOND = 64  # buckets that are read beside those of the current instance
MAX_LATE = 512  # tumbling instances that lateness keeps open; those before are let go
MAX_AHEAD_S = (
    60.0  # events may be dated this much ahead (by default; [events] max_ahead)
)
MAX_AHEAD_READ = 16  # buckets of these that are read

RETAIN_S = 60.0
"""
A closed instance is kept this long for what was accepted in time and committed late.

After that it is no longer reported.
"""


class Horizon:
    """The bounds for one window of one counter."""

    __slots__ = ("_ahead", "_delay_s", "_lateness_s", "_window")

    def __init__(self, window: Window, lateness_s: float, delay_s: float) -> None:
        self._window = window
        self._lateness_s = lateness_s
        self._delay_s = delay_s
        step_s = window.step_s
        ahead = math.ceil(MAX_AHEAD_S / step_s) if step_s else 0
        self._ahead = min(ahead, MAX_AHEAD_READ)

    def first(self, now: float) -> int:
        """Return the oldest bucket that matters."""
        window = self._window
        if window.kind is not WindowKind.TUMBLING:
            return window.bucket(now) - window.span + 1
        late_s = min(self._lateness_s, MAX_LATE * window.step_s)
        return window.bucket(now - late_s - self._delay_s - RETAIN_S)

    def first_read(self, now: float) -> int:
        """Return the oldest bucket that is read whether or not it is known."""
        first = self.first(now)
        if self._window.kind is not WindowKind.TUMBLING:
            return first
        return max(first, self._window.bucket(now) - (MAX_BEYOND - self._ahead))

    def to_read(self, now: float) -> range:
        """Return the buckets of a full read, without older ones that are known."""
        return range(self.first_read(now), self._window.bucket(now) + self._ahead + 1)

    def last(self, now: float) -> int:
        """Return the newest bucket whose changes are taken: some have not begun yet."""
        return self._window.bucket(now) + (MAX_BEYOND if self._ahead else 0)

    def instances(self, now: float) -> range:
        """Return the instances of a full read, by their last bucket."""
        current = self._window.bucket(now)
        if self._window.kind is not WindowKind.TUMBLING:
            return range(current, current + 1)
        return range(self.first_read(now), current + 1)

    def instance_of(self, at: float | None) -> int:
        """Return the last bucket of the instance that ends at *at*."""
        return 0 if at is None else round(at / self._window.step_s) - 1

    def closes_at(self, last: int) -> float:
        """
        Return when the tumbling instance has become final.

        That is one cadence after it stopped taking events, so that what came in the
        last instant has been committed.
        """
        return (last + 1) * self._window.step_s + self._lateness_s + self._delay_s

    def is_final(self, last: int, now: float) -> bool:
        """Whether the instance takes no further events. Only tumbling ones end."""
        tumbling = self._window.kind is WindowKind.TUMBLING
        return tumbling and now >= self.closes_at(last)
