"""The contract of presence, in memory, on one Valkey server and on a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from realtime.adapters.presence.memory import Board, MemoryPresence
from realtime.adapters.presence.port import Presence
from realtime.adapters.presence.redis import RedisPresence
from realtime.adapters.redis.client import RedisLink
from realtime.testing.clock import ManualClock
from realtime.testing.contracts_presence import PresenceContract
from realtime.testing.presence_kit import Presences
from realtime.types import NodeId
from tests.contracts.conftest import fresh

pytestmark = pytest.mark.anyio


class MemoryPresences:
    """Forms on one board."""

    def __init__(self) -> None:
        self._clock = ManualClock()
        self._board = Board(self._clock.monotonic)
        self._numbers = count()

    async def open(self) -> Presence:
        return MemoryPresence(NodeId(f"node-{next(self._numbers)}"), self._board)

    async def pass_time(self, seconds: float) -> None:
        self._clock.advance(seconds)

    async def lose(self) -> None:
        self._board.rooms.clear()

    async def leftovers(self) -> int:
        return len(self._board.rooms)


class RedisPresences:
    """Forms on one link, as far as nodes share nothing but the prefix."""

    def __init__(self, url: str) -> None:
        self._settings = fresh(url)
        self._link = RedisLink(self._settings)
        self._numbers = count()

    async def open(self) -> Presence:
        node = NodeId(f"node-{next(self._numbers)}")
        return RedisPresence(self._link, self._settings.prefix, node)

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def lose(self) -> None:
        for key in await self._keys():
            await self._link.call("DEL", key, key=key)

    async def leftovers(self) -> int:
        keys = await self._keys()
        return len([key for key in keys if b"}:r:" not in key])

    async def _keys(self) -> list[bytes]:
        await self._link.start()
        pattern = f"{{{self._settings.prefix}:*"
        await self._link.call("GET", "learn the slots", key=b"learn the slots")
        found = []
        for master in self._link.masters:
            found += await self._link.call("KEYS", pattern, at=master)
        return found

    async def aclose(self) -> None:
        await self._link.aclose()


@pytest.fixture(params=["memory", "valkey", "cluster"])
async def presences(request: pytest.FixtureRequest) -> AsyncIterator[Presences]:
    """Each form of presence in turn."""
    if request.param == "memory":
        yield MemoryPresences()
        return
    opened = RedisPresences(request.getfixturevalue(request.param).url)
    yield opened
    await opened.aclose()


class TestPresence(PresenceContract):
    """Every form passes the suite."""
