"""
Chooses the adapters: memory without ``redis.url``, Redis with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from realtime.adapters.blocks.memory import MemoryBlocks
from realtime.adapters.blocks.port import Blocks
from realtime.adapters.blocks.redis import RedisBlocks
from realtime.adapters.broker.memory import MemoryBroker
from realtime.adapters.broker.port import Broker
from realtime.adapters.broker.redis import RedisBroker
from realtime.adapters.ledger.memory import MemoryLedger
from realtime.adapters.ledger.port import Ledger
from realtime.adapters.ledger.redis import RedisLedger
from realtime.adapters.presence.memory import Board, MemoryPresence
from realtime.adapters.presence.port import Presence
from realtime.adapters.presence.redis import RedisPresence
from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.pubsub import PubSub
from realtime.adapters.registry.memory import MemoryRegistry
from realtime.adapters.registry.port import Registry
from realtime.adapters.registry.redis import RedisRegistry
from realtime.core.counters import CounterSet
from realtime.errors import Unavailable
from realtime.settings import LedgerSettings, RedisSettings
from realtime.types import NodeId


@dataclass(frozen=True, slots=True)
class Adapters:
    """
    What a node stands on. ``durability`` is what Redis does with what is acknowledged
    (see ``RedisLink.durability``); None without Redis.
    """

    ledger: Ledger
    broker: Broker
    registry: Registry
    blocks: Blocks
    presence: Presence
    durability: str | None = None
    pubsub: PubSub | None = field(default=None, repr=False)
    link: RedisLink | None = field(default=None, repr=False)

    def on_reconnected(self, hook: Callable[[], None]) -> None:
        """
        Have *hook* called after pub/sub was lost and is whole again: publications and
        changes may have been missed. Never called without Redis.
        """
        if self.pubsub is not None:
            self.pubsub.on_reconnected.append(hook)

    async def aclose(self) -> None:
        """Close them, and the connections that they share."""
        await self.ledger.aclose()
        await self.broker.aclose()
        await self.registry.aclose()
        await self.blocks.aclose()
        await self.presence.aclose()
        if self.pubsub is not None:
            await self.pubsub.aclose()
        if self.link is not None:
            await self.link.aclose()


async def open_adapters(
    redis: RedisSettings,
    ledger: LedgerSettings,
    counters: CounterSet,
    node: NodeId,
    monotonic: Callable[[], float] = time.monotonic,
) -> Adapters:
    """
    Return adapters that are connected, and not started.

    *monotonic* is the clock of leases in memory; Redis has its own.

    Raises:
        ConfigError: If ``redis.url`` or ``redis.prefix`` is malformed.
        Unavailable: If Redis does not answer.
    """
    if redis.url is None:
        return Adapters(
            MemoryLedger(counters, ledger),
            MemoryBroker(),
            MemoryRegistry(),
            MemoryBlocks(),
            MemoryPresence(node, Board(monotonic)),
        )
    link = RedisLink(redis, name=f"{redis.prefix}:{node}")
    pubsub = PubSub(link, redis.prefix)
    try:
        await link.start()
        return Adapters(
            RedisLedger(link, pubsub, counters, ledger, redis.prefix),
            RedisBroker(link, pubsub, redis.prefix),
            RedisRegistry(link, redis.prefix),
            RedisBlocks(link, redis.prefix),
            RedisPresence(link, redis.prefix, node),
            await link.durability(),
            pubsub,
            link,
        )
    except BaseException as exc:
        await pubsub.aclose()
        await link.aclose()
        if isinstance(exc, Unavailable):
            raise Unavailable(f"redis.url: {exc}") from exc
        raise
