"""
The ledger of one process: exact, and gone with it.

Several ledgers on one ``Store`` behave like nodes that share a Redis, which is what
tests of several nodes use. Everything happens between two awaits, so each commit is one
atomic step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush, nsmallest

from realtime.adapters.ledger.owners import owner_of
from realtime.adapters.ledger.port import DeviceTaken, Ledger, OnChange
from realtime.core.cells import CellChange, CellKey, Delta, ShardCell, UniqueCount
from realtime.core.cells import State as CellState
from realtime.core.counters import CounterSet
from realtime.core.hll import HyperLogLog
from realtime.core.ledger import Outcome, SubBatch, Verdict, judge
from realtime.core.naming import other_dims
from realtime.core.totals import total
from realtime.settings import LedgerSettings
from realtime.types import DeviceId

SHARD = 0  # the only one

_APPLIED = Verdict.APPLIED  # an enum's member costs more to look up than this

BucketName = tuple[str, int, int]  # counter, grain, number


class _Mark:
    """The mark of a device, whose it is, and when (monotonic) it is forgotten."""

    __slots__ = ("forget_at", "mark", "owner")

    def __init__(self, mark: int, owner: str | None, forget_at: float) -> None:
        self.mark = mark
        self.owner = owner
        self.forget_at = forget_at


class _Cell:
    """A state of integers, or a HyperLogLog; and the cell's rev."""

    __slots__ = ("members", "rev", "state")

    def __init__(self) -> None:
        self.state: CellState | None = None
        self.members: HyperLogLog | None = None
        self.rev = 0


class Store:
    """What memory ledgers share: marks, buckets of cells, and who watches."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self.ledgers: list[MemoryLedger] = []
        self.marks: dict[DeviceId, _Mark] = {}
        self.buckets: dict[BucketName, dict[str, _Cell]] = {}
        self._marks_due: list[tuple[float, DeviceId]] = []
        self._buckets_due: list[tuple[float, BucketName]] = []

    def find_mark(self, device: DeviceId) -> _Mark | None:
        """Return the mark of *device* unless its time is over."""
        mark = self.marks.get(device)
        if mark is not None and mark.forget_at <= self.monotonic():
            return None
        return mark

    def keep_mark(
        self, device: DeviceId, mark: int, owner: str | None, ttl_s: float
    ) -> None:
        """Set the mark and owner of *device*, for *ttl_s* from now."""
        forget_at = self.monotonic() + ttl_s
        known = self.marks.get(device)
        if known is None:
            self.marks[device] = _Mark(mark, owner, forget_at)
            heappush(self._marks_due, (forget_at, device))
        else:
            known.mark, known.owner, known.forget_at = mark, owner, forget_at

    def open_bucket(
        self, name: BucketName, expires_at: float | None
    ) -> dict[str, _Cell]:
        """Make the bucket *name*, which there is not, and return its cells."""
        cells = self.buckets[name] = dict[str, _Cell]()
        if expires_at is not None:
            heappush(self._buckets_due, (expires_at, name))
        return cells

    def sweep(self, now: float) -> None:
        """Forget what is over; costs as much as there is to forget."""
        while self._buckets_due and self._buckets_due[0][0] <= now:
            self.buckets.pop(heappop(self._buckets_due)[1], None)
        monotonic = self.monotonic()
        while self._marks_due and self._marks_due[0][0] <= monotonic:
            _, device = heappop(self._marks_due)
            mark = self.marks[device]
            if mark.forget_at <= monotonic:
                del self.marks[device]
            else:  # it has been used since
                heappush(self._marks_due, (mark.forget_at, device))


class MemoryLedger(Ledger):
    """See ``Ledger``. There is one shard whatever *settings* say."""

    def __init__(
        self,
        counters: CounterSet,
        settings: LedgerSettings,
        store: Store | None = None,
    ) -> None:
        self.on_change: OnChange = _ignore
        self._counters = counters
        self._store = store or Store()
        self._store.ledgers.append(self)
        self._watched: set[tuple[str, str]] = set()

    async def start(self) -> None:
        """Nothing to connect to."""

    async def claim(
        self, device: DeviceId, proofs: Sequence[str], acked: int, mark_ttl_s: float
    ) -> int:
        if not proofs:
            raise ValueError("proofs must not be empty: whose the device shall be")
        known = self._store.find_mark(device)
        mark, owner = (known.mark, known.owner) if known else (acked, None)
        owners = [owner_of(proof) for proof in proofs]
        if owner is None:
            owner = owners[0]
        elif owner not in owners:
            raise DeviceTaken(f"device {device!r} belongs to another")
        self._store.keep_mark(device, mark, owner, mark_ttl_s)
        return mark

    async def commit(self, batches: Sequence[SubBatch], now: float) -> list[Outcome]:
        self._store.sweep(now)
        at = self._store.monotonic()
        outcomes = [self._judge(batch, at) for batch in batches]
        new = [
            batch
            for batch, outcome in zip(batches, outcomes, strict=True)
            if outcome.verdict is _APPLIED
        ]
        changed: dict[CellKey, None] = {}
        for key, delta in total(new, self._counters).items():
            self._add(key, delta, now, changed)
        self._tell(changed)
        return outcomes

    async def read(
        self, keys: Sequence[CellKey]
    ) -> Mapping[CellKey, tuple[ShardCell, ...]]:
        return {key: (self._shard_cell(key),) for key in keys}

    async def count_unique(
        self, unions: Sequence[Sequence[CellKey]]
    ) -> list[UniqueCount]:
        return [self._count(union) for union in unions]

    async def combinations(
        self, counter: str, grain_s: int, bucket: int, limit: int
    ) -> list[str]:
        cells = self._store.buckets.get((counter, grain_s, bucket), {})
        return nsmallest(limit, cells)

    async def watch(self, counter: str, dims: str) -> None:
        self._watched.add((counter, dims))

    async def unwatch(self, counter: str, dims: str) -> None:
        self._watched.discard((counter, dims))

    async def aclose(self) -> None:
        self._watched.clear()
        if self in self._store.ledgers:
            self._store.ledgers.remove(self)

    def watches(self, key: CellKey) -> bool:
        """Whether a ledger on the same store should tell of changes of *key*."""
        return (key.counter, key.dims) in self._watched

    def _judge(self, batch: SubBatch, at: float) -> Outcome:
        """Judge at monotonic time *at*, and advance the mark."""
        # Hot: once per sub-batch, and most follow what their device sent before.
        store, last = self._store, batch.last
        found = store.marks.get(batch.device)
        if found is not None and found.mark + 1 == batch.first and at < found.forget_at:
            found.mark, found.forget_at = last, at + batch.mark_ttl_s
            return Outcome(_APPLIED, last)
        known = store.find_mark(batch.device)
        mark, owner = (known.mark, known.owner) if known else (0, None)
        verdict = judge(mark, batch.first, batch.last)
        if verdict is _APPLIED:
            mark = last
            store.keep_mark(batch.device, mark, owner, batch.mark_ttl_s)
        return Outcome(verdict, mark)

    def _add(
        self, key: CellKey, delta: Delta, now: float, changed: dict[CellKey, None]
    ) -> None:
        # Hot: once per cell and commit.
        cells = self._store.buckets.get(key[:3])
        if cells is None:  # or it is not over: the commit has swept before
            expires_at = self._counters.expires_at(key)
            if expires_at is not None and expires_at <= now:
                return
            cells = self._store.open_bucket(key[:3], expires_at)
        cell = cells.get(key.dims)
        if cell is None:
            key = self._capped(key, len(cells))
            cell = cells.setdefault(key.dims, _Cell())
        if self._change(key.counter, cell, delta) and key not in changed:
            changed[key] = None

    def _capped(self, key: CellKey, cells: int) -> CellKey:
        dimensions = self._counters.dimensions(key.counter)
        if not dimensions or cells < self._counters.max_cells(key.counter):
            return key
        return key._replace(dims=other_dims(dimensions))

    def _change(self, counter: str, cell: _Cell, delta: Delta) -> bool:
        if isinstance(delta, frozenset):
            cell.members = cell.members or HyperLogLog()
            changed = cell.members.update(delta)
        else:
            before = cell.state
            if before is None:
                cell.state = delta
            else:
                cell.state = self._counters.merge(counter, before, delta)
            changed = cell.state != before
        cell.rev += changed
        return changed

    def _tell(self, changed: Mapping[CellKey, None]) -> None:
        for ledger in tuple(self._store.ledgers):
            for key in changed:
                if ledger.watches(key):
                    cell = self._store.buckets[key[:3]][key.dims]
                    ledger.on_change(CellChange(SHARD, key, cell.state, cell.rev))

    def _find(self, key: CellKey) -> _Cell | None:
        return self._store.buckets.get(key[:3], {}).get(key.dims)

    def _shard_cell(self, key: CellKey) -> ShardCell:
        cell = self._find(key)
        return ShardCell(SHARD, cell.state, cell.rev) if cell else ShardCell(0, None, 0)

    def _count(self, union: Sequence[CellKey]) -> UniqueCount:
        merged, rev = HyperLogLog(), 0
        for cell in filter(None, map(self._find, union)):
            rev += cell.rev
            if cell.members is not None:
                merged.merge(cell.members)
        return UniqueCount(merged.count(), rev)


def _ignore(change: CellChange) -> None:
    """Until somebody listens."""
