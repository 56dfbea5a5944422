"""
Blocks in Redis: one hash of orders, timed by Redis' own clock.

An order travels as a MessagePack map by field name; unknown fields are ignored, so that
nodes of neighbouring versions understand each other during a deploy. The whole is read
in pages, each a short script: blocking 100,000 users must not block Redis.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import replace

import msgpack

from realtime.adapters.blocks.port import (
    MAX_ORDERS,
    Block,
    Blocks,
    Stored,
    TooManyOrders,
)
from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.keys import blocks_key, check_prefix
from realtime.adapters.redis.script import Script
from realtime.types import UserId

PUT = Script.load(__package__, "put")
RESTORE = Script.load(__package__, "restore")
PAGE = Script.load(__package__, "page")

PAGE_ORDERS = 500
"""Orders handled by one script, which is about a millisecond of Redis' time."""


class RedisBlocks(Blocks):
    """See ``Blocks``. The link is shared and closed by its owner."""

    def __init__(
        self, link: RedisLink, prefix: str, max_orders: int = MAX_ORDERS
    ) -> None:
        self._link = link
        self._key = blocks_key(check_prefix(prefix))
        self._max_orders = max_orders

    async def put(self, block: Block, now: float) -> Block:
        stamp = await self._link.run_script(
            PUT,
            [self._key],
            _name(block),
            _pack(block),
            _ttl_ms(block, now),
            str(block.stamp),
            _epoch(),
            str(self._max_orders),
        )
        if not stamp:
            raise TooManyOrders(self._max_orders)
        return replace(block, stamp=int(stamp))

    async def restore(self, blocks: Sequence[Block], now: float) -> None:
        for start in range(0, len(blocks), PAGE_ORDERS):
            arguments: list[bytes | str] = [_epoch()]
            for block in blocks[start : start + PAGE_ORDERS]:
                stamp = str(block.stamp)
                arguments += (_name(block), _pack(block), _ttl_ms(block, now), stamp)
            await self._link.run_script(RESTORE, [self._key], *arguments)

    async def all(self) -> Stored:
        mark = await self.mark()
        found: dict[tuple[UserId | None, bool], Block] = {}
        cursor = b"0"
        while True:
            cursor, *orders = await self._link.run_script(
                PAGE, [self._key], cursor, str(PAGE_ORDERS)
            )
            for order in map(_read, orders):  # a scan may show one twice
                found[order.key] = order
            if cursor == b"0":
                return Stored(tuple(found.values()), mark)

    async def mark(self) -> str:
        found = await self._link.call("HGET", self._key, "~", key=self._key)
        return "" if found is None else str(found, "utf-8")

    async def aclose(self) -> None:
        """Nothing of its own to let go of."""


def _name(block: Block) -> bytes:
    """Return the field of an order; no user can make it the mark's."""
    kind = "b" if block.issued_before is None else "r"
    return (kind if block.user is None else f"{kind}:{block.user}").encode()


def _epoch() -> str:
    return secrets.token_hex(8)


def _ttl_ms(block: Block, now: float) -> str:
    return str(max(1, math.ceil((block.until - now) * 1000)))


def _pack(block: Block) -> bytes:
    fields = {
        "user": block.user,
        "until": block.until,
        "issued_before": block.issued_before,
        "lifted": block.lifted,
    }
    packed: bytes = msgpack.packb(fields)
    return packed


def _read(stored: bytes) -> Block:
    stamp, _, packed = stored.partition(b"|")
    found = msgpack.unpackb(packed)
    return Block(
        found["user"],
        found["until"],
        found["issued_before"],
        found["lifted"],
        int(stamp),
    )
