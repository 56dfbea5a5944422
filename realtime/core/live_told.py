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

    def begin(self, current: LiveValue) -> None:
        """Take *current* as what the first watcher is told by the reply."""
        self._front = current

    def news(self, last: int, reading: Reading, now: float) -> LiveValue | None:
        """Return what to tell of the instance now, as told; None if it is no news."""
        told = self._by_instance.get(last)
        final = self._horizon.is_final(last, now)
        if told is not None:
            final = final or told.final
            if told.value == reading.value and told.final == final:
                return None
        elif not self._is_worth_telling(last, reading, final):
            return None
        # A ledger that has lost data begins its revs anew; those that are told grow.
        rev = reading.rev if told is None else max(reading.rev, told.rev)
        if told is not None and told.value != reading.value:
            rev = max(rev, told.rev + 1)
        value = LiveValue(reading.value, self._window.end_of(last), rev, final)
        self._by_instance[last] = value
        if value.at == self._front.at or self._is_after_front(last):
            self._front = value
        return value

    def forget(self, before: int) -> None:
        """Let go of the instances before *before*."""
        for last in [each for each in self._by_instance if each < before]:
            del self._by_instance[last]

    def _is_worth_telling(self, last: int, reading: Reading, final: bool) -> bool:
        """Whether an instance that was never told of is news."""
        if self._window.kind is WindowKind.SLIDING:
            return reading.value != self._front.value
        if reading.value != self._empty or (final and reading.rev):
            return True
        # A new instance that starts at nothing: news to those who see something else.
        return self.shows_something and self._is_after_front(last)

    def _is_after_front(self, last: int) -> bool:
        end, front = self._window.end_of(last), self._front.at
        return end is not None and front is not None and end > front
