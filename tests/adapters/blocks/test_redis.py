"""Blocks in Redis: what the contract does not say."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import msgpack
import pytest

from realtime.adapters.blocks.port import Block
from realtime.adapters.blocks.redis import PAGE_ORDERS, RedisBlocks
from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.keys import blocks_key
from realtime.settings import RedisSettings
from realtime.testing.servers import ValkeyServer
from realtime.types import UserId

pytestmark = pytest.mark.anyio

PREFIX = "blocks"


@pytest.fixture
async def link(valkey: ValkeyServer) -> AsyncIterator[RedisLink]:
    """A link to a server that knows of no orders."""
    link = RedisLink(RedisSettings(valkey.url))
    await link.call("DEL", blocks_key(PREFIX), key=blocks_key(PREFIX))
    yield link
    await link.aclose()


async def test_many_orders_are_restored_and_read_in_pages(link: RedisLink) -> None:
    """However many they are, no script handles more than a page of them."""
    blocks, now = RedisBlocks(link, PREFIX), time.time()
    orders = {
        Block(UserId(f"user-{n}"), now + 60, stamp=n + 1)
        for n in range(3 * PAGE_ORDERS + 7)
    }
    await blocks.restore(list(orders), now)

    assert set((await blocks.all()).orders) == orders


async def test_nothing_is_left_in_redis_when_all_is_over(link: RedisLink) -> None:
    """The key has an end, as late as that of the last order."""
    blocks, now, key = RedisBlocks(link, PREFIX), time.time(), blocks_key(PREFIX)
    await blocks.put(Block(UserId("ann"), now + 100), now)
    await blocks.restore([Block(UserId("bob"), now + 200, stamp=1)], now)
    await blocks.put(Block(UserId("eve"), now + 50), now)

    assert 190_000 < await link.call("PTTL", key, key=key) <= 200_000


async def test_fields_of_later_versions_are_ignored(link: RedisLink) -> None:
    """Nodes of neighbouring versions understand each other during a deploy."""
    blocks, now, key = RedisBlocks(link, PREFIX), time.time(), blocks_key(PREFIX)
    order = {"user": "ann", "until": now + 60, "issued_before": None, "lifted": False}
    packed = msgpack.packb({**order, "why": "spam"})
    await link.call("HSET", key, "b:ann", b"9999999999999|42|" + packed, key=key)

    assert (await blocks.all()).orders == (Block(UserId("ann"), now + 60, stamp=42),)
