"""The contract of brokers, in memory, on one Valkey server and on a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from realtime.adapters.broker.memory import Bus, MemoryBroker
from realtime.adapters.broker.port import Broker
from realtime.adapters.broker.redis import RedisBroker
from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.pubsub import PubSub
from realtime.testing.clock import ManualClock
from realtime.testing.contracts_broker import BrokerContract, Brokers
from realtime.testing.contracts_broker_history import HistoryContract
from realtime.testing.contracts_broker_model import BrokerModelContract
from realtime.testing.contracts_broker_once import OnceContract
from realtime.testing.contracts_broker_reading import ReadingContract
from tests.contracts.conftest import fresh

pytestmark = pytest.mark.anyio


class MemoryBrokers:
    """Brokers on one bus."""

    is_manual = True

    def __init__(self) -> None:
        self._bus = Bus()
        self._clock = ManualClock()

    async def open(self) -> Broker:
        broker = MemoryBroker(self._bus, self._clock)
        await broker.start()
        return broker

    async def pass_s(self, seconds: float) -> None:
        self._clock.advance(seconds)


class RedisBrokers:
    """Brokers with connections of their own, as nodes have, under one prefix."""

    is_manual = False

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

    async def pass_s(self, seconds: float) -> None:
        link = self._opened[0][2]

        async def now_s() -> float:
            whole, micro = await link.call("TIME")
            return int(whole) + int(micro) / 1e6

        # Until the server's own clock says so; it knows whole milliseconds.
        end = await now_s() + seconds + 0.001
        while await now_s() <= end:
            await asyncio.sleep(0.005)

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
    """Every form delivers."""


class TestHistory(HistoryContract):
    """Every form keeps a history."""


class TestReading(ReadingContract):
    """Every form tells what it keeps, and what it does not."""


class TestOnce(OnceContract):
    """Every form makes what must be made once, once."""


class TestModel(BrokerModelContract):
    """Every form does what a small model does."""
