"""
What lua/commit.lua is told: the numbers of sub-batches of one shard, and what those of
them that are expected to be new add together.

The packed argument is an array of fourteen:

    1  by sub-batch: the number before its first one, as text
    2  by sub-batch: its last number, as text
    3  how long marks are kept, in ms; 0 if that differs: see 14
    4  by sub-batch: the place of its mark; 0 if each has a place of its own, in order
    5  by sub-batch: 1 if it is expected to be new; 0 if all are
    6  how many marks there are: they come first in KEYS
    7  groups of buckets that are added to in the same cells: [counter, kind, cap or 0,
       dims of the other cell, dims by cell, buckets]; buckets: [key, expires_at or 0,
       grain, number, amounts, more, key of the other cell's HyperLogLog or 0]. By cell,
       *amounts* are members for a unique count; *more* are the numbers of events of a
       mean, and keys of HyperLogLogs for a unique count
    8  the shard's number
    9  what the names of the channels of changes begin with
    10 PUBLISH or SPUBLISH
    11 NUMSUB or SHARDNUMSUB
    12 the field of a bucket that holds its rev
    13 what follows the dims of a mean in the field that holds its number of events
    14 by sub-batch: how long its mark is kept, if that differs

Keys are called by their place in KEYS, counted from 1. Amounts beyond what Lua's
numbers hold exactly are text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgpack

from realtime.adapters.ledger.attempts import Attempt, Reply
from realtime.adapters.redis.keys import LedgerKeys
from realtime.core.cells import CellKey, Delta
from realtime.core.counters import CounterSet
from realtime.core.ledger import Outcome, SubBatch, Verdict
from realtime.core.measures import MAX_SUM, Measure
from realtime.core.naming import other_dims
from realtime.types import DeviceId

EXACT = 2**53
# Of one call of the script: these bound for how long Redis is busy with it, some 10 ms.
MAX_MARKS = 2000
MAX_CELLS = 8000  # and members of unique counts

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

_MEAN, _UNIQUE = KINDS[Measure.MEAN], KINDS[Measure.UNIQUE]

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


class _Bucket:
    """The cells of one bucket of a counter that are added to."""

    __slots__ = ("amounts", "counter", "dims", "head", "kind", "more", "other_members")

    def __init__(
        self, counter: str, kind: int, head: tuple[int, ...], other_members: int
    ) -> None:
        self.counter = counter
        self.kind = kind
        self.head = head
        self.other_members = other_members
        self.dims: list[str] = []
        self.amounts: list[Any] = []
        self.more: list[int | str] = []


class CommitArguments:
    """The arguments of one call of the script: its ``keys``, and what ``pack`` says."""

    def __init__(
        self, names: LedgerKeys, shard: int, counters: CounterSet, now: float
    ) -> None:
        self.keys: list[bytes] = []
        self._names = names
        self._shard = shard
        self._counters = counters
        self._now = now
        self._buckets: dict[tuple[str, int, int], _Bucket | None] = {}

    def pack(
        self,
        attempt: Attempt,
        totals: Mapping[CellKey, Delta],
        pubsub: tuple[str, str],
    ) -> bytes:
        """
        Return the argument; call it once.

        *totals* are what the sub-batches of *attempt* that are expected to be new add
        together; *pubsub* are 10 and 11.
        """
        batches, expected = attempt
        places = self._places(batches)
        ttls = [max(1, math.ceil(batch.mark_ttl_s * 1000)) for batch in batches]
        same = ttls.count(ttls[0]) == len(ttls)
        marks = len(self.keys)
        for key, delta in totals.items():
            self._add(key, delta)
        packed: bytes = msgpack.packb(
            (
                [str(batch.first - 1) for batch in batches],
                [str(batch.last) for batch in batches],
                ttls[0] if same else 0,
                places,
                [int(one) for one in expected] if expected else 0,
                marks,
                self._groups(),
                self._shard,
                self._names.changes(self._shard, "", "")[:-1],
                *pubsub,
                REV,
                EVENTS,
                0 if same else ttls,
            ),
            use_bin_type=False,  # Lua has one kind of strings, and cmsgpack no bin
            unicode_errors="surrogatepass",
        )
        return packed

    def _places(self, batches: Sequence[SubBatch]) -> list[int] | int:
        """Name the marks; return the place of each sub-batch's."""
        known: dict[DeviceId, int] = {}
        places = [known.setdefault(one.device, len(known) + 1) for one in batches]
        mark, shard = self._names.mark, self._shard
        self.keys += [mark(shard, device) for device in known]
        return 0 if len(known) == len(batches) else places

    def _add(self, key: CellKey, delta: Delta) -> None:
        # Hot: once per cell and commit.
        name = key[:3]
        bucket = self._buckets.get(name, self)
        if bucket is self:
            bucket = self._buckets[name] = self._describe(key)
        if bucket is None:
            return  # nobody needs it any more
        assert isinstance(bucket, _Bucket)
        bucket.dims.append(key.dims)
        if isinstance(delta, frozenset):
            bucket.amounts.append(tuple(delta))
            bucket.more.append(self._key(self._names.members(self._shard, key)))
            return
        bucket.amounts.append(_lua(delta[0]))
        if bucket.kind == _MEAN:
            bucket.more.append(_lua(delta[1]))

    def _describe(self, key: CellKey) -> _Bucket | None:
        counters, (counter, grain_s, number, _) = self._counters, key
        expires_at = counters.expires_at(key)
        if expires_at is not None and expires_at <= self._now:
            return None
        kind = KINDS[counters.measure(counter)]
        dimensions = counters.dimensions(counter)
        other_members = 0
        if dimensions and kind == _UNIQUE:
            other_key = CellKey(counter, grain_s, number, other_dims(dimensions))
            other_members = self._key(self._names.members(self._shard, other_key))
        head = (
            self._key(self._names.bucket(self._shard, counter, grain_s, number)),
            math.ceil(expires_at) if expires_at is not None else 0,
            grain_s,
            number,
        )
        return _Bucket(counter, kind, head, other_members)

    def _groups(self) -> list[tuple[Any, ...]]:
        """Join the buckets of a counter that have the same cells: usually all."""
        groups: dict[tuple[str, ...], tuple[Any, ...]] = {}
        for one in filter(None, self._buckets.values()):
            name = (one.counter, *one.dims)
            if name not in groups:
                head = self._head(one)
                groups[name] = (one.counter, one.kind, *head, one.dims, [])
            bucket = (*one.head, one.amounts, one.more, one.other_members)
            groups[name][-1].append(bucket)
        return list(groups.values())

    def _head(self, bucket: _Bucket) -> tuple[int, str]:
        dimensions = self._counters.dimensions(bucket.counter)
        cap = self._counters.max_cells(bucket.counter) if dimensions else 0
        return cap, other_dims(dimensions)

    def _key(self, name: bytes) -> int:
        self.keys.append(name)
        return len(self.keys)


def read_reply(reply: bytes) -> tuple[Reply, str | None]:
    """Read what the script returns, and what went wrong with a cell."""
    done, flat, *problem = msgpack.unpackb(reply)
    outcomes = None
    if flat:
        pairs = zip(flat[::2], flat[1::2], strict=True)
        outcomes = [Outcome(_VERDICTS[verdict], int(mark)) for verdict, mark in pairs]
    return Reply(done == 1, outcomes), problem[0] if problem else None


def parts(batches: Sequence[SubBatch], max_events: int) -> Iterator[list[SubBatch]]:
    """Split *batches*, in order, so that one call of the script stays short."""
    part: list[SubBatch] = []
    events = 0
    for batch in batches:
        size = batch.last - batch.first + 1
        events += size
        if part and (events > max_events or len(part) == MAX_MARKS):
            yield part
            part = []
            events = size
        part.append(batch)
    if part:
        yield part


def weight(totals: Mapping[CellKey, Delta]) -> int:
    """Return how many cells and members of unique counts *totals* are of."""
    return sum(
        len(delta) if isinstance(delta, frozenset) else 1 for delta in totals.values()
    )


def _lua(amount: int) -> int | str:
    if -EXACT < amount < EXACT:
        return amount
    return str(max(-MAX_SUM, min(MAX_SUM, amount)))
