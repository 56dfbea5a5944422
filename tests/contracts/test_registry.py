"""The contract of registries, in memory, on one Valkey server and on a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from realtime.adapters.redis.client import RedisLink
from realtime.adapters.registry.memory import Board, MemoryRegistry
from realtime.adapters.registry.port import Registry
from realtime.adapters.registry.redis import RedisRegistry
from realtime.testing.contracts_registry import Registries, RegistryContract
from tests.contracts.conftest import fresh

pytestmark = pytest.mark.anyio


class MemoryRegistries:
    """Registries on one board."""

    def __init__(self) -> None:
        self._board = Board()

    async def open(self) -> Registry:
        return MemoryRegistry(self._board)


class RedisRegistries:
    """Registries with a link of their own each, under one prefix."""

    def __init__(self, url: str) -> None:
        self._settings = fresh(url)
        self._links: list[RedisLink] = []

    async def open(self) -> Registry:
        self._links.append(RedisLink(self._settings))
        return RedisRegistry(self._links[-1], self._settings.prefix)

    async def aclose(self) -> None:
        for link in self._links:
            await link.aclose()


@pytest.fixture(params=["memory", "valkey", "cluster"])
async def registries(request: pytest.FixtureRequest) -> AsyncIterator[Registries]:
    """Each form of registry in turn."""
    if request.param == "memory":
        yield MemoryRegistries()
        return
    opened = RedisRegistries(request.getfixturevalue(request.param).url)
    yield opened
    await opened.aclose()


class TestRegistry(RegistryContract):
    """Every form passes the suite."""
