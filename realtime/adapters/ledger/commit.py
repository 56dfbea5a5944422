"""
What lua/commit.lua is told: sub-batches of one shard, with every cell named once.

The packed argument is an array of eleven:

    1  sub-batches: [mark, first, last, ttl_ms, additions]; *additions* is flat: a cell,
       then its amounts (two for a mean), or an array of members for a unique count
    2  by cell: its dims
    3  by cell: its bucket
    4  by cell: the key of its HyperLogLog, or 0
    5  buckets: [key, kind, cap or 0, dims of the other cell, expires_at or 0, counter,
       grain, number, key of the other cell's HyperLogLog or 0]
    6  the shard's number
    7  what the names of the channels of changes begin with
    8  PUBLISH or SPUBLISH
    9  NUMSUB or SHARDNUMSUB
    10 the field of a bucket that holds its rev
    11 what follows the dims of a mean in the field that holds its number of events

Cells and buckets are called by their place in 2 to 5, keys by their place in KEYS, both
counted from 1. Amounts beyond what Lua's numbers hold exactly are text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgpack

from realtime.adapters.redis.keys import LedgerKeys
from realtime.core.cells import CellKey, Delta
from realtime.core.counters import CounterSet
from realtime.core.ledger import Outcome, SubBatch, Verdict
from realtime.core.measures import MAX_SUM, Measure
from realtime.core.naming import other_dims
from realtime.types import DeviceId

EXACT = 2**53
MAX_ADDITIONS = 8000  # of one call: bounds how long Redis is busy with it

KINDS: Mapping[Measure, int] = MappingProxyType(
    {
        Measure.COUNT: 1,
        Measure.SUM: 1,
        Measure.MIN: 2,
        Measure.MAX: 3,
        Measure.MEAN: 4,
        Measure.UNIQUE: 5,
    }
)

_VERDICTS: Mapping[int, Verdict] = MappingProxyType(
    {
        1: Verdict.APPLIED,
        2: Verdict.DUPLICATE,
        3: Verdict.OVERLAP,
        4: Verdict.GAP,
    }
)

# Fields of a bucket beside its cells, whose dims contain no NUL. The name of REV is so
# long that Redis keeps the bucket as a hash table from the beginning: in the list that
# small hashes are, finding a cell takes up to 6 us (512 fields).
REV = b"\0rev" + b"." * 64
EVENTS = b"\0n"

_EXPIRED = 0  # in place of a cell that nobody needs any more


class CommitArguments:
    """Collects the arguments of one call of the script. Use it once."""

    def __init__(
        self, keys: LedgerKeys, shard: int, counters: CounterSet, now: float
    ) -> None:
        self.keys: list[bytes] = []
        self._names = keys
        self._shard = shard
        self._counters = counters
        self._now = now
        self._marks: dict[DeviceId, int] = {}
        self._cells: dict[CellKey, int] = {}
        self._buckets: dict[tuple[str, int, int], int] = {}
        self._dims_of: list[str] = []
        self._bucket_of: list[int] = []
        self._members_of: list[int] = []
        self._described: list[list[Any]] = []
        self._batches: list[Any] = []

    def add(self, batch: SubBatch) -> None:
        """Add one sub-batch, after those before it."""
        mark = self._marks.get(batch.device)
        if mark is None:
            mark = self._key(self._names.mark(self._shard, batch.device))
            self._marks[batch.device] = mark
        ttl_ms = max(1, math.ceil(batch.mark_ttl_s * 1000))
        additions = self._additions(batch.deltas)
        self._batches.append((mark, batch.first, batch.last, ttl_ms, additions))

    def pack(self, pubsub: tuple[str, str]) -> bytes:
        """Return the argument; *pubsub* are 8 and 9."""
        packed: bytes = msgpack.packb(
            (
                self._batches,
                self._dims_of,
                self._bucket_of,
                self._members_of,
                self._described,
                self._shard,
                self._names.changes(self._shard, "", "")[:-1],
                *pubsub,
                REV,
                EVENTS,
            ),
            use_bin_type=False,  # Lua has one kind of strings, and cmsgpack no bin
            unicode_errors="surrogatepass",
        )
        return packed

    def _additions(self, deltas: Mapping[CellKey, Delta]) -> list[Any]:
        # Hot: once per cell and sub-batch.
        cells = self._cells
        flat: list[Any] = []
        for key, delta in deltas.items():
            cell = cells.get(key)
            if cell is None:
                cell = self._cell(key)
            if cell is _EXPIRED:
                continue
            flat.append(cell)
            if isinstance(delta, frozenset):
                flat.append(tuple(delta))
            else:
                for amount in delta:
                    small = -EXACT < amount < EXACT
                    flat.append(amount if small else _text(amount))
        return flat

    def _cell(self, key: CellKey) -> int:
        place = self._bucket(key)
        if place is _EXPIRED:
            self._cells[key] = _EXPIRED
            return _EXPIRED
        self._dims_of.append(key.dims)
        self._bucket_of.append(place)
        unique = self._described[place - 1][1] == KINDS[Measure.UNIQUE]
        members = self._key(self._names.members(self._shard, key)) if unique else 0
        self._members_of.append(members)
        cell = self._cells[key] = len(self._dims_of)
        return cell

    def _bucket(self, key: CellKey) -> int:
        name = key[:3]
        place = self._buckets.get(name)
        if place is None:
            expires_at = self._counters.expires_at(key)
            if expires_at is not None and expires_at <= self._now:
                place = _EXPIRED
            else:
                self._described.append(self._describe(key, expires_at))
                place = len(self._described)
            self._buckets[name] = place
        return place

    def _describe(self, key: CellKey, expires_at: float | None) -> list[Any]:
        counters, (counter, grain_s, number, _) = self._counters, key
        kind = KINDS[counters.measure(counter)]
        dimensions = counters.dimensions(counter)
        other = other_dims(dimensions)
        other_members = 0
        if dimensions and kind == KINDS[Measure.UNIQUE]:
            other_key = CellKey(counter, grain_s, number, other)
            other_members = self._key(self._names.members(self._shard, other_key))
        return [
            self._key(self._names.bucket(self._shard, counter, grain_s, number)),
            kind,
            counters.max_cells(counter) if dimensions else 0,
            other,
            math.ceil(expires_at) if expires_at is not None else 0,
            counter,
            grain_s,
            number,
            other_members,
        ]

    def _key(self, name: bytes) -> int:
        self.keys.append(name)
        return len(self.keys)


def outcomes(reply: bytes) -> tuple[list[Outcome], str | None]:
    """Read what the script returns: the outcomes, and what went wrong with a cell."""
    flat, *problem = msgpack.unpackb(reply)
    outcomes = [
        Outcome(_VERDICTS[verdict], mark)
        for verdict, mark in zip(flat[::2], flat[1::2], strict=True)
    ]
    return outcomes, problem[0] if problem else None


def parts(batches: Sequence[SubBatch], max_events: int) -> Iterator[list[SubBatch]]:
    """Split *batches*, in order, so that one call of the script stays short."""
    part: list[SubBatch] = []
    events = additions = 0
    for batch in batches:
        events += batch.last - batch.first + 1
        additions += len(batch.deltas)
        if part and (events > max_events or additions > MAX_ADDITIONS):
            yield part
            part = []
            events = batch.last - batch.first + 1
            additions = len(batch.deltas)
        part.append(batch)
    if part:
        yield part


def _text(amount: int) -> str:
    return str(max(-MAX_SUM, min(MAX_SUM, amount)))
