"""The contract of ledgers, on memory, on one Valkey server and on a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from realtime.adapters.ledger.memory import MemoryLedger, Store
from realtime.adapters.ledger.port import Ledger
from realtime.adapters.ledger.redis import RedisLedger
from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.pubsub import PubSub
from realtime.settings import LedgerSettings, RedisSettings
from realtime.testing.contracts_ledger import LedgerContract
from realtime.testing.ledger_kit import COUNTERS, Ledgers
from tests.contracts.conftest import fresh

pytestmark = pytest.mark.anyio


class MemoryLedgers:
    """Ledgers that share a store."""

    shards = 1

    def __init__(self) -> None:
        self._store = Store()

    async def open(self) -> Ledger:
        ledger = MemoryLedger(COUNTERS, LedgerSettings(), self._store)
        await ledger.start()
        return ledger

    async def renew(self) -> None:
        self._store = Store()


class RedisLedgers:
    """Ledgers with a link of their own each, as nodes have, under one prefix."""

    def __init__(self, url: str, shards: int) -> None:
        self.shards = shards
        self._url = url
        self._settings = fresh(url)
        self._opened: list[tuple[RedisLedger, PubSub, RedisLink]] = []

    async def open(self) -> Ledger:
        settings: RedisSettings = self._settings
        link = RedisLink(settings)
        pubsub = PubSub(link, settings.prefix)
        sharding = LedgerSettings(shards=self.shards)
        ledger = RedisLedger(link, pubsub, COUNTERS, sharding, settings.prefix)
        self._opened.append((ledger, pubsub, link))
        await ledger.start()
        return ledger

    async def renew(self) -> None:
        for parts in self._opened:
            for part in parts:
                await part.aclose()
        self._opened.clear()
        self._settings = fresh(self._url)


@pytest.fixture(params=["memory", "valkey-1", "valkey-4", "cluster-1", "cluster-4"])
async def ledgers(request: pytest.FixtureRequest) -> AsyncIterator[Ledgers]:
    """Each form of ledger in turn; the number is that of its shards."""
    form, _, shards = request.param.partition("-")
    if form == "memory":
        yield MemoryLedgers()
        return
    opened = RedisLedgers(request.getfixturevalue(form).url, int(shards))
    yield opened
    await opened.renew()


class TestLedger(LedgerContract):
    """Every form passes the suite."""
