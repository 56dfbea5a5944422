"""The contract of brokers, in memory, on one Valkey server and on a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from realtime.adapters.broker.memory import Bus, MemoryBroker
from realtime.adapters.broker.port import Broker
from realtime.adapters.broker.redis import RedisBroker
from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.pubsub import PubSub
from realtime.testing.contracts_broker import BrokerContract, Brokers
from tests.contracts.conftest import fresh

pytestmark = pytest.mark.anyio


class MemoryBrokers:
    """Brokers on one bus."""

    def __init__(self) -> None:
        self._bus = Bus()

    async def open(self) -> Broker:
        broker = MemoryBroker(self._bus)
        await broker.start()
        return broker


class RedisBrokers:
    """Brokers with connections of their own, as nodes have, under one prefix."""

    def __init__(self, url: str) -> None:
        self._settings = fresh(url)
        self._opened: list[tuple[RedisBroker, PubSub, RedisLink]] = []

    async def open(self) -> Broker:
        link = RedisLink(self._settings)
        pubsub = PubSub(link, self._settings.prefix)
        broker = RedisBroker(link, pubsub, self._settings.prefix)
        self._opened.append((broker, pubsub, link))
        await broker.start()
        return broker

    async def aclose(self) -> None:
        for parts in self._opened:
            for part in parts:
                await part.aclose()


@pytest.fixture(params=["memory", "valkey", "cluster"])
async def brokers(request: pytest.FixtureRequest) -> AsyncIterator[Brokers]:
    """Each form of broker in turn."""
    if request.param == "memory":
        yield MemoryBrokers()
        return
    opened = RedisBrokers(request.getfixturevalue(request.param).url)
    yield opened
    await opened.aclose()


class TestBroker(BrokerContract):
    """Every form passes the suite."""
