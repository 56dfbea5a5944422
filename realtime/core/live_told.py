"""
What the watchers of one live channel were told, and so what is news to them.
"""

from __future__ import annotations

from collections.abc import Iterator

from realtime.core.live_cells import Reading
from realtime.core.live_horizon import Horizon
from realtime.core.live_value import LiveValue
from realtime.core.windows import Window, WindowKind


class Told:
    """The last value told of every instance, by the instance's last bucket."""

    __slots__ = ("_by_instance", "_empty", "_front", "_horizon", "_window")

    def __init__(self, window: Window, horizon: Horizon, empty: int | None) -> None:
        self._window = window
        self._horizon = horizon
        self._empty = empty
        self._by_instance: dict[int, LiveValue] = {}
        self._front = LiveValue(empty, None, 0)  # what was told of the newest instance

    def __iter__(self) -> Iterator[int]:
        """The instances that were told of, in no order."""
        return iter(self._by_instance)

    @property
    def shows_something(self) -> bool:
        """Whether watchers see a value other than that of nothing."""
        return self._front.value != self._empty

    def news(self, last: int, reading: Reading, now: float) -> LiveValue | None:
        """Return what to tell of the instance now, as told; None if it is no news."""
        told = self._by_instance.get(last)
        final = self._horizon.is_final(last, now)
        if told is not None:
            final = final or told.final
            if told.value == reading.value and told.final == final:
                return None
        elif not self._is_worth_telling(last, reading):
            return None
        value = LiveValue(reading.value, self._window.end_of(last), reading.rev, final)
        self._by_instance[last] = value
        if not self._is_before_front(value.at):
            self._front = value
        return value

    def forget(self, before: int) -> None:
        """Let go of the instances before *before*."""
        for last in [each for each in self._by_instance if each < before]:
            del self._by_instance[last]

    def _is_worth_telling(self, last: int, reading: Reading) -> bool:
        """Whether an instance that was never told of is news."""
        if self._window.kind is WindowKind.SLIDING:
            return reading.value != self._front.value
        if reading.rev:
            return True
        # A new instance without events: news only to those who see something else.
        starts = not self._is_before_front(self._window.end_of(last))
        return starts and self.shows_something

    def _is_before_front(self, at: float | None) -> bool:
        front = self._front.at
        return at is not None and front is not None and at < front
