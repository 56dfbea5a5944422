"""
What one node has heard of one live channel's cells, and what they amount to.

Cells are known shard by shard with the revision of each; whatever arrives twice, late
or out of order, the newest revision wins, unless the ledger itself has gone back. For
unique counts only revisions are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from realtime.core.cells import ShardCell, State
from realtime.core.measures import Measure, merge, value_of


class Reading(NamedTuple):
    """The value of one instance of a window, and the sum of its cells' revisions."""

    value: int | float | None
    rev: int


class _Bucket:
    """One cell in all shards, and their merge."""

    __slots__ = ("rev", "shards", "state")

    def __init__(self) -> None:
        self.shards: dict[int, ShardCell] = {}
        self.state: State | None = None
        self.rev = 0


class Cells:
    """The cells of one combination of dimensions and one grain, by bucket."""

    __slots__ = ("_buckets", "_decimals", "_measure", "_older")

    def __init__(self, measure: Measure, decimals: int) -> None:
        self._measure = measure
        self._decimals = decimals
        self._buckets: dict[int, _Bucket] = {}
        # The merge of all buckets of the newest instance but its last one, which is
        # where almost all changes are: spares merging up to 999 cells for each.
        self._older: tuple[range, State | None, int] | None = None

    def __iter__(self) -> Iterator[int]:
        """The buckets that have anything, in no order."""
        return iter(self._buckets)

    def __len__(self) -> int:
        return len(self._buckets)

    def revs(self) -> dict[tuple[int, int], int]:
        """Return what is known: the rev by bucket and shard."""
        return {
            (bucket, shard): cell.rev
            for bucket, known in self._buckets.items()
            for shard, cell in known.shards.items()
        }

    def put(self, bucket: int, cell: ShardCell, before: int = 0) -> bool:
        """
        Take one shard's cell, if it is newer than what is known; return whether.

        One that was read and is older than *before*, the rev known when the read was
        made, is what a ledger that has lost data begins anew with: it is taken too.
        """
        known = self._buckets.get(bucket)
        same = None if known is None else known.shards.get(cell.shard)
        if not self._is_news(same, cell, before):
            return False
        if known is None:
            known = self._buckets[bucket] = _Bucket()
        known.shards[cell.shard] = cell
        known.rev = 0
        known.state = None
        for each in known.shards.values():
            known.rev += each.rev
            known.state = self._merge(known.state, each.state)
        if self._older is not None and bucket in self._older[0]:
            self._older = None
        return True

    def reading(self, buckets: range) -> Reading:
        """Return what the cells of *buckets* amount to."""
        older = buckets[:-1]
        if self._older is None or self._older[0] != older:
            self._older = (older, *self._merge_all(older))
        _, state, rev = self._older
        last = self._buckets.get(buckets[-1])
        if last is not None:
            state = self._merge(state, last.state)
            rev += last.rev
        return Reading(value_of(self._measure, state, self._decimals), rev)

    def clear(self) -> None:
        """Let go of everything."""
        self._buckets.clear()
        self._older = None

    def forget(self, before: int) -> None:
        """Let go of the buckets before *before*."""
        for bucket in [each for each in self._buckets if each < before]:
            del self._buckets[bucket]

    def _is_news(self, known: ShardCell | None, cell: ShardCell, before: int) -> bool:
        if known is None:
            # Of a bucket where only others have cells, a read tells the rev alone.
            empty = cell.state is None and self._measure is not Measure.UNIQUE
            return cell.rev > 0 and not empty
        if cell.rev == known.rev:
            return cell.state != known.state  # of another history
        return cell.rev > known.rev or cell.rev < before

    def _merge_all(self, buckets: range) -> tuple[State | None, int]:
        state: State | None = None
        rev = 0
        for number, bucket in self._buckets.items():
            if number in buckets:
                state = self._merge(state, bucket.state)
                rev += bucket.rev
        return state, rev

    def _merge(self, a: State | None, b: State | None) -> State | None:
        if a is None or b is None:
            return b if a is None else a
        return merge(self._measure, a, b)
