"""
Reading the ledger from Redis: cells, unique counts, combinations.

Nothing here is one atomic step over several cells or shards: every cell is read with a
rev that is not newer than its state, which is all that a reader needs to get in step.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence
from typing import Any

from realtime.adapters.ledger.commit import EVENTS, REV
from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.keys import LedgerKeys
from realtime.adapters.redis.line import Command
from realtime.core.cells import CellKey, ShardCell, State, UniqueCount
from realtime.core.counters import CounterSet
from realtime.core.hll import estimate, merge_registers, registers_of_redis
from realtime.core.measures import MAX_SUM, Measure

MAX_FIELDS = 500  # of one HMGET: bounds how long Redis is busy with it
MAX_COMMANDS = 250  # sent together
SCAN_COUNT = "1000"


class Reading:
    """Reads one ledger. Every method raises Unavailable."""

    def __init__(self, link: RedisLink, keys: LedgerKeys, counters: CounterSet) -> None:
        self._link = link
        self._keys = keys
        self._counters = counters

    def is_unique(self, counter: str) -> bool:
        """Whether the states of *counter* are HyperLogLogs."""
        return self._counters.measure(counter) is Measure.UNIQUE

    async def cells(
        self, shard: int, keys: Sequence[CellKey]
    ) -> dict[CellKey, ShardCell]:
        """Return what *shard* has of *keys*; for measures other than unique."""
        by_bucket: dict[tuple[str, int, int], list[CellKey]] = {}
        for key in keys:
            by_bucket.setdefault(key[:3], []).append(key)
        commands: list[Command] = []
        asked: list[list[CellKey]] = []
        for bucket, members in by_bucket.items():
            for start in range(0, len(members), MAX_FIELDS):
                asked.append(members[start : start + MAX_FIELDS])
                fields = [field for key in asked[-1] for field in self._fields(key)]
                name = self._keys.bucket(shard, *bucket)
                commands.append(("HMGET", name, REV, *fields))
        cells: dict[CellKey, ShardCell] = {}
        for part, values in zip(asked, await self._ask(shard, commands), strict=True):
            cells.update(self._parse(shard, part, values))
        return cells

    async def count_unique(
        self, unions: Sequence[Sequence[CellKey]]
    ) -> list[UniqueCount]:
        """Return the cardinality of each union of cells, over all shards."""
        shards = range(len(self._keys.tags))
        revs = await asyncio.gather(*(self._revs(shard, unions) for shard in shards))
        # Revs first: what changes in between makes a count newer than its rev says,
        # and is told once more with a larger one.
        if len(shards) == 1:
            counts = await self._count_in_redis(unions)
        else:
            counts = await self._count_here(unions)
        return [
            UniqueCount(number, sum(parts))
            for number, *parts in zip(counts, *revs, strict=True)
        ]

    async def combinations(
        self, shard: int, counter: str, grain_s: int, bucket: int, limit: int
    ) -> list[str]:
        """Return the first *limit* encoded dims that the bucket has in *shard*."""
        name = self._keys.bucket(shard, counter, grain_s, bucket)
        cursor, found = b"0", set[str]()
        while True:
            cursor, flat = await self._link.call(
                "HSCAN", name, cursor, "COUNT", SCAN_COUNT, key=name
            )
            fields = [field for field in flat[::2] if b"\0" not in field]
            found.update(field.decode() for field in fields)
            if cursor == b"0":
                return heapq.nsmallest(limit, found)

    def _fields(self, key: CellKey) -> tuple[bytes, ...]:
        field = key.dims.encode()
        if self._counters.measure(key.counter) is Measure.MEAN:
            return (field, field + EVENTS)
        return (field,)

    def _parse(
        self, shard: int, keys: Sequence[CellKey], values: Sequence[Any]
    ) -> dict[CellKey, ShardCell]:
        rev, *amounts = values
        width = len(amounts) // len(keys)
        cells = {}
        for place, key in enumerate(keys):
            state = _state(amounts[place * width : (place + 1) * width])
            cells[key] = ShardCell(shard, state, int(rev or 0))
        return cells

    async def _ask(self, shard: int, commands: Sequence[Command]) -> list[Any]:
        replies: list[Any] = []
        tag = self._keys.tags[shard]
        for start in range(0, len(commands), MAX_COMMANDS):
            part = commands[start : start + MAX_COMMANDS]
            replies += await self._link.call_many(part, key=tag)
        return replies

    async def _revs(self, shard: int, unions: Sequence[Sequence[CellKey]]) -> list[int]:
        commands = [
            ("HGET", self._keys.bucket(shard, *key[:3]), key.dims.encode())
            for union in unions
            for key in union
        ]
        replies = iter(await self._ask(shard, commands))
        return [sum(int(next(replies) or 0) for _ in union) for union in unions]

    async def _count_in_redis(self, unions: Sequence[Sequence[CellKey]]) -> list[int]:
        commands: list[Command] = [
            ("PFCOUNT", *(self._keys.members(0, key) for key in union))
            for union in unions
            if union
        ]
        counts = iter(await self._ask(0, commands))
        return [int(next(counts)) if union else 0 for union in unions]

    async def _count_here(self, unions: Sequence[Sequence[CellKey]]) -> list[int]:
        shards = range(len(self._keys.tags))
        counts = []
        for union in unions:
            found = await asyncio.gather(
                *(self._sketches(shard, union) for shard in shards)
            )
            # Not fast: some 0.1 ms per sketch. One shard is the default.
            sketches = [one for in_shard in found for one in in_shard if one]
            counts.append(estimate(merge_registers(map(registers_of_redis, sketches))))
        return counts

    async def _sketches(self, shard: int, union: Sequence[CellKey]) -> list[Any]:
        commands = [("GET", self._keys.members(shard, key)) for key in union]
        return await self._ask(shard, commands)


def _state(values: Sequence[bytes | None]) -> State | None:
    if values[0] is None:
        return None
    # Redis' integers reach one further below zero than sums do.
    return tuple(max(-MAX_SUM, int(value or 0)) for value in values)
