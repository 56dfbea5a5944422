"""
The state of live channels: what one node knows, tells newcomers, and publishes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from realtime.core.cells import CellChange, CellKey, ShardCell, UniqueCount
from realtime.core.counters_definition import CounterDefinition
from realtime.core.live_cells import Cells, Reading
from realtime.core.live_horizon import Horizon
from realtime.core.live_told import Told
from realtime.core.live_value import LiveValue
from realtime.core.measures import EMPTY_VALUE, Measure
from realtime.core.naming import LiveName
from realtime.core.windows import WindowKind

__all__ = ["LiveState", "LiveValue"]

Revs = Mapping[tuple[int, int], int]
"""By bucket and shard; of unique counts by the instance's last bucket, and 0."""

NO_REVS: Revs = MappingProxyType({})

JUMP_S = 60.0  # a clock set back by less is waited for; by more, it is followed


class LiveState:
    """
    One watched live channel on one node.

    Feed it with ``load`` (full reads) and ``apply`` (changes as they come), or for
    unique counts with ``load_counts``; then ask for ``publications``. The first full
    read is what the first subscriber is told, so it is no news, and nothing is before.
    """

    __slots__ = (
        "_cells",
        "_counts",
        "_empty",
        "_first",
        "_horizon",
        "_loaded",
        "_name",
        "_now",
        "_since",
        "_told",
        "_unique",
        "_window",
    )

    def __init__(self, definition: CounterDefinition, name: LiveName) -> None:
        window = definition.window(name.window)
        if window is None:
            raise ValueError(f"{definition.name} has no window {name.window!r}")
        self._unique = definition.measure is Measure.UNIQUE
        self._name = name
        self._window = window
        self._horizon = Horizon(window, definition.lateness_s, definition.cadence_s)
        self._cells = Cells(definition.measure, definition.decimals)
        self._counts: dict[int, UniqueCount] = {}  # by the instance's last bucket
        self._empty = EMPTY_VALUE[definition.measure]
        self._loaded = False
        self._told = Told(window, self._horizon, self._empty)
        self._now = 0.0  # the latest that was given
        self._first = 0  # the oldest bucket that matters
        self._since = math.inf  # the oldest bucket that was ever read

    # -- what is known ------------------------------------------------------------

    def keys(self, now: float) -> list[CellKey]:
        """Return the cells to read for everything that is open at *now*."""
        newest = self._horizon.to_read(now)
        older = self._known_before(newest.start)
        return [self._key(bucket) for bucket in (*older, *newest)]

    def size(self, now: float) -> int:
        """Return about how many cells a full read at *now* is of."""
        return len(self._horizon.to_read(now)) + len(self._cells)

    def revs(self) -> Revs:
        """Return what is known, to be given to the load of a read made from now on."""
        if self._unique:
            return {(last, 0): count.rev for last, count in self._counts.items()}
        return self._cells.revs()

    def load(
        self,
        readings: Mapping[CellKey, tuple[ShardCell, ...]],
        now: float,
        known: Revs = NO_REVS,
    ) -> None:
        """
        Take a full read; what is known to be newer stays.

        *known* is what ``revs`` said before the read was made. What the ledger had then
        and has no longer, it has lost.
        """
        now = self._advance(now)
        for key in self.keys(now):
            for cell in readings.get(key, ()):
                before = known.get((key.bucket, cell.shard), 0)
                self._cells.put(key.bucket, cell, before)
        self._settle(now)

    def apply(self, change: CellChange, now: float) -> bool:
        """
        Take a changed cell; return whether that may call for a publication.

        For unique counts it calls for a read first.
        """
        key, name = change.key, self._name
        if (
            key.grain_s != self._window.step_s
            or key.dims != name.dims
            or key.counter != name.counter
        ):
            return False
        now = self._advance(now)
        bucket = key.bucket
        if not self._first <= bucket <= self._horizon.last(now):
            return False
        # Of an older one than was ever read, other shards' cells would be missing.
        if bucket < self._since and bucket < self._horizon.first_read(now):
            return False
        return self._cells.put(
            key.bucket, ShardCell(change.shard, change.state, change.rev)
        )

    def unions(self, now: float) -> list[tuple[float | None, list[CellKey]]]:
        """
        Return, for unique counts, the ``at`` and the cells of each instance to read.

        These are the newest ones; and, because reading costs more than hearing, of
        older ones those that have just become final.
        """
        newest = self._horizon.instances(now)
        older = self._known_before(newest.start)
        closed = [last for last in older if self._horizon.is_final(last, now)]
        return [
            (
                self._window.end_of(last),
                [self._key(bucket) for bucket in self._window.buckets_until(last)],
            )
            for last in (*closed, *newest)
        ]

    def load_counts(
        self,
        counts: Sequence[tuple[float | None, UniqueCount]],
        now: float,
        known: Revs = NO_REVS,
    ) -> None:
        """Take the counts of ``unions``, as ``load`` takes cells."""
        now = self._advance(now)
        for at, count in counts:
            last = self._horizon.instance_of(at)
            if last < self._first:  # let go of since the read was asked for
                continue
            newest = self._counts.get(last)
            lost = count.rev < known.get((last, 0), 0)
            if lost:  # until they caught up with it, changes would not be news
                self._cells.clear()
            if lost or newest is None or newest.rev <= count.rev:
                self._counts[last] = count
        self._settle(now)

    # -- what is said -------------------------------------------------------------

    def current(self, now: float) -> LiveValue:
        """
        Return the value of the instance containing *now*.

        A unique count that has not been read for it yet is that of the newest instance
        that was, with the ``at`` of that one.
        """
        last = self._window.bucket(self._latest(now))
        reading = self._reading(last)
        if reading is None:
            last = max((each for each in self._counts if each < last), default=last)
            reading = self._reading(last) or Reading(self._empty, 0)
        return LiveValue(reading.value, self._window.end_of(last), reading.rev)

    def publications(self, now: float) -> list[LiveValue]:
        """
        Return what changed since the last call, the oldest instance first.

        Changes are those of values, by events or by time: a sliding window that fell, a
        tumbling one that became final, a new one that starts at nothing.
        """
        if not self._loaded:
            return []
        now = self._advance(now)
        values = []
        for last in self._reportable(now):
            reading = self._reading(last)
            if reading is not None:
                value = self._told.news(last, reading, now)
                if value is not None:
                    values.append(value)
        return values

    def next_boundary(self, now: float) -> float | None:
        """
        Return the next instant at which time alone may change something.

        As of the last call of ``publications``; None if only events can.
        """
        window = self._window
        if window.kind is WindowKind.TOTAL or not self._loaded:
            return None
        now = self._latest(now)
        # Events may be dated a little ahead: then their bucket begins with them.
        instants = [float(bucket * window.step_s) for bucket in self._cells]
        if window.kind is WindowKind.TUMBLING:
            something = {*self._cells, *self._told}
            instants += [self._horizon.closes_at(last) for last in something]
            if self._told.shows_something:
                instants += self._next_instance(now)
        elif not self._unique:  # data leaves the window
            span_s = window.size_s
            instants += [bucket * window.step_s + span_s for bucket in self._cells]
        elif self._told.shows_something or self._cells:  # and where it is, is unknown
            instants += self._next_instance(now)
        return min((each for each in instants if each > now), default=None)

    # -- helpers ------------------------------------------------------------------

    def _key(self, bucket: int) -> CellKey:
        name = self._name
        return CellKey(name.counter, self._window.step_s, bucket, name.dims)

    def _latest(self, now: float) -> float:
        """Return *now*, or the latest time given while the clock catches up with it."""
        return self._now if self._now - JUMP_S <= now < self._now else now

    def _advance(self, now: float) -> float:
        """Let go of what has passed at *now*; return what to take for *now*."""
        now = self._now = self._latest(now)
        first = self._horizon.first(now)
        if first != self._first:
            self._first = first
            self._cells.forget(first)
            self._told.forget(first)
            for last in [each for each in self._counts if each < first]:
                del self._counts[last]
        return now

    def _settle(self, now: float) -> None:
        """After the first full read: take it as told."""
        self._since = min(self._since, self._horizon.first_read(now))
        if not self._loaded:
            self._loaded = True
            self._told.begin(self.current(now))
            self.publications(now)

    def _known_before(self, first: int) -> list[int]:
        """Return the tumbling instances before *first* that are known of, in order."""
        if self._window.kind is not WindowKind.TUMBLING:
            return []
        known = {*self._cells, *self._counts, *self._told}
        return sorted(last for last in known if self._first <= last < first)

    def _reading(self, last: int) -> Reading | None:
        """Return what is known of the instance; None for a count not read yet."""
        if not self._unique:
            return self._cells.reading(self._window.buckets_until(last))
        count = self._counts.get(last)
        return None if count is None else Reading(count.count, count.rev)

    def _reportable(self, now: float) -> list[int]:
        """Return the instances that may be news, the oldest first."""
        current = self._window.bucket(now)
        if self._window.kind is not WindowKind.TUMBLING:
            return [current]
        known = {*self._cells, *self._counts, *self._told, current}
        return sorted(last for last in known if last <= current)

    def _next_instance(self, now: float) -> list[float]:
        end = self._window.end(now)
        return [] if end is None else [end]
