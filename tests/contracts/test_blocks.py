"""The contract of blocks, in memory, on one Valkey server and on a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from realtime.adapters.blocks.memory import MemoryBlocks, Shelf
from realtime.adapters.blocks.port import Blocks
from realtime.adapters.blocks.redis import RedisBlocks
from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.keys import blocks_key
from realtime.testing.contracts_blocks import BlocksContract, Stores
from tests.contracts.conftest import fresh

pytestmark = pytest.mark.anyio

ROOM = 7


class MemoryStores:
    """Blocks on one shelf."""

    room = ROOM

    def __init__(self) -> None:
        self._shelf = Shelf(max_orders=ROOM)

    async def open(self) -> Blocks:
        return MemoryBlocks(self._shelf)

    async def lose(self) -> None:
        self._shelf.lose()


class RedisStores:
    """Blocks with a link of their own each, under one prefix."""

    room = ROOM

    def __init__(self, url: str) -> None:
        self._settings = fresh(url)
        self._links: list[RedisLink] = []

    async def open(self) -> Blocks:
        self._links.append(RedisLink(self._settings))
        return RedisBlocks(self._links[-1], self._settings.prefix, ROOM)

    async def lose(self) -> None:
        key = blocks_key(self._settings.prefix)
        await self._links[0].call("DEL", key, key=key)

    async def aclose(self) -> None:
        for link in self._links:
            await link.aclose()


@pytest.fixture(params=["memory", "valkey", "cluster"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    """Each form of blocks in turn."""
    if request.param == "memory":
        yield MemoryStores()
        return
    opened = RedisStores(request.getfixturevalue(request.param).url)
    yield opened
    await opened.aclose()


class TestBlocks(BlocksContract):
    """Every form passes the suite."""
