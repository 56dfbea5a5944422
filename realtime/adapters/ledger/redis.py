"""
The ledger in Redis: one Lua call per shard and commit.

A bucket of a counter is a hash with one field per combination of dimension values;
unique counts have a HyperLogLog per cell beside it. Marks are strings that expire by
themselves, and so do buckets whose windows have passed. Names: redis/keys.py.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import msgpack
import structlog

from realtime.adapters.ledger.attempts import Attempt, Reply, attempts
from realtime.adapters.ledger.commit import (
    MAX_CELLS,
    CommitArguments,
    parts,
    read_reply,
    weight,
)
from realtime.adapters.ledger.meanings import check_meanings
from realtime.adapters.ledger.owners import owner_of
from realtime.adapters.ledger.port import DeviceTaken, Ledger, OnChange
from realtime.adapters.ledger.reading import Reading
from realtime.adapters.redis.client import RedisLink, told_as
from realtime.adapters.redis.keys import LedgerKeys
from realtime.adapters.redis.pubsub import PubSub
from realtime.adapters.redis.script import Script
from realtime.core.cells import CellChange, CellKey, ShardCell, UniqueCount
from realtime.core.counters import CounterSet
from realtime.core.ledger import Outcome, SubBatch, shard_of
from realtime.core.totals import total
from realtime.errors import ConfigError, LedgerUnavailable
from realtime.settings import LedgerSettings
from realtime.types import DeviceId

T = TypeVar("T")

FORMAT = 1  # of keys and values; another one is another ledger

log = structlog.get_logger()

CHECK = Script.load(__package__, "check")
CLAIM = Script.load(__package__, "claim")
COMMIT = Script.load(__package__, "commit")


class RedisLedger(Ledger):
    """
    See ``Ledger``. Link and pub/sub are shared with other adapters and closed by their
    owner.
    """

    def __init__(
        self,
        link: RedisLink,
        pubsub: PubSub,
        counters: CounterSet,
        settings: LedgerSettings,
        prefix: str,
    ) -> None:
        self.on_change: OnChange = _ignore
        self._link = link
        self._pubsub = pubsub
        self._counters = counters
        self._settings = settings
        self._keys = LedgerKeys(prefix, settings.shards)
        self._reading = Reading(link, self._keys, counters)
        self._notify = ("PUBLISH", "NUMSUB")
        if link.is_cluster:
            self._notify = ("SPUBLISH", "SHARDNUMSUB")
        self._watched: set[tuple[str, str]] = set()

    async def start(self) -> None:
        with told_as(LedgerUnavailable):
            await self._pubsub.start()
            await self._check_layout()
            await check_meanings(self._link, self._keys.meanings, self._counters)
            await _all([self._check_commands(shard) for shard in self._shards])

    async def claim(
        self, device: DeviceId, proofs: Sequence[str], acked: int, mark_ttl_s: float
    ) -> int:
        if not proofs:
            raise ValueError("proofs must not be empty: whose the device shall be")
        shard = shard_of(device, self._settings.shards)
        ttl_ms = max(1, math.ceil(mark_ttl_s * 1000))
        with told_as(LedgerUnavailable):
            mark = await self._link.run_script(
                CLAIM,
                [self._keys.mark(shard, device)],
                str(acked),
                str(ttl_ms),
                *map(owner_of, proofs),
            )
        if mark is None:
            raise DeviceTaken(f"device {device!r} belongs to another")
        return int(mark)

    async def commit(self, batches: Sequence[SubBatch], now: float) -> list[Outcome]:
        by_shard: dict[int, list[int]] = {}
        for place, batch in enumerate(batches):
            shard = shard_of(batch.device, self._settings.shards)
            by_shard.setdefault(shard, []).append(place)
        with told_as(LedgerUnavailable):
            answers = await _all(
                [
                    self._commit_shard(shard, [batches[place] for place in places], now)
                    for shard, places in by_shard.items()
                ]
            )
        results: dict[int, Outcome] = {}
        for places, answer in zip(by_shard.values(), answers, strict=True):
            results.update(zip(places, answer, strict=True))
        return [results[place] for place in range(len(batches))]

    async def read(
        self, keys: Sequence[CellKey]
    ) -> Mapping[CellKey, tuple[ShardCell, ...]]:
        with told_as(LedgerUnavailable):
            by_shard = await _all(
                [self._reading.cells(shard, keys) for shard in self._shards]
            )
        return {key: tuple(cells[key] for cells in by_shard) for key in keys}

    async def count_unique(
        self, unions: Sequence[Sequence[CellKey]]
    ) -> list[UniqueCount]:
        with told_as(LedgerUnavailable):
            return await self._reading.count_unique(unions)

    async def combinations(
        self, counter: str, grain_s: int, bucket: int, limit: int
    ) -> list[str]:
        with told_as(LedgerUnavailable):
            found = await _all(
                [
                    self._reading.combinations(shard, counter, grain_s, bucket, limit)
                    for shard in self._shards
                ]
            )
        return heapq.nsmallest(limit, set().union(*found))

    async def watch(self, counter: str, dims: str) -> None:
        known = (counter, dims) in self._watched
        self._watched.add((counter, dims))
        callback = partial(self._changed, counter, dims)
        try:
            with told_as(LedgerUnavailable):
                await _all(
                    [
                        self._pubsub.subscribe(channel, callback)
                        for channel in self._channels(counter, dims)
                    ]
                )
        except BaseException:
            if not known:
                await self.unwatch(counter, dims)
            raise

    async def unwatch(self, counter: str, dims: str) -> None:
        # Nothing is awaited: an unwatch cannot overtake a watch that comes after it.
        self._watched.discard((counter, dims))
        for channel in self._channels(counter, dims):
            self._pubsub.unsubscribe(channel)

    async def aclose(self) -> None:
        for counter, dims in tuple(self._watched):
            await self.unwatch(counter, dims)

    @property
    def _shards(self) -> range:
        return range(self._settings.shards)

    def _channels(self, counter: str, dims: str) -> list[bytes]:
        return [self._keys.changes(shard, counter, dims) for shard in self._shards]

    async def _check_layout(self) -> None:
        # Two nodes with different numbers of shards would keep two marks of one device
        # and count its events twice.
        key, mine = self._keys.layout, f"format={FORMAT} shards={self._settings.shards}"
        await self._link.call("SET", key, mine, "NX", key=key)
        found = (await self._link.call("GET", key, key=key) or b"").decode()
        if found != mine:
            raise ConfigError(
                "ledger.shards",
                f"is {self._settings.shards}, but the ledger in Redis was made with "
                f"{found!r}, not {mine!r}; keep that, or choose another redis.prefix",
            )

    async def _check_commands(self, shard: int) -> None:
        key = self._keys.check(shard)
        await self._link.run_script(CHECK, [key], *self._notify, key)

    async def _commit_shard(
        self, shard: int, batches: Sequence[SubBatch], now: float
    ) -> list[Outcome]:
        results: list[Outcome] = []
        for part in parts(batches, self._settings.max_commit_events):
            trying = attempts(part)
            attempt = next(trying)
            try:
                while True:
                    attempt = trying.send(await self._try(shard, attempt, now))
            except StopIteration as end:
                results += end.value
        return results

    async def _try(self, shard: int, attempt: Attempt, now: float) -> Reply | None:
        totals = total(attempt.counted, self._counters)
        if weight(totals) > MAX_CELLS and len(attempt.batches) > 1:
            return None
        arguments = CommitArguments(self._keys, shard, self._counters, now)
        packed = arguments.pack(attempt, totals, self._notify)
        answer = await self._link.run_script(COMMIT, arguments.keys, packed)
        reply, problem = read_reply(answer)
        if problem is not None:
            log.error("ledger_cell_not_changed", shard=shard, reason=problem)
        return reply

    def _changed(self, counter: str, dims: str, notice: bytes) -> None:
        shard, *entries = msgpack.unpackb(notice)
        unique = self._reading.is_unique(counter)
        for grain_s, bucket, rev, *amounts in entries:
            state = None if unique else tuple(map(int, amounts))
            key = CellKey(counter, grain_s, bucket, dims)
            self.on_change(CellChange(shard, key, state, rev))


async def _all(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run *works* together; when one fails, the others are through before it raises."""
    if len(works) == 1:
        return [await works[0]]
    results = await asyncio.gather(*works, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


def _ignore(change: CellChange) -> None:
    """Until somebody listens."""
