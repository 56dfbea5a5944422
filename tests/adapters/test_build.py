"""Choosing the adapters."""

from __future__ import annotations

import pytest

from realtime.adapters.blocks.memory import MemoryBlocks
from realtime.adapters.blocks.redis import RedisBlocks
from realtime.adapters.broker.memory import MemoryBroker
from realtime.adapters.broker.redis import RedisBroker
from realtime.adapters.build import open_adapters
from realtime.adapters.ledger.memory import MemoryLedger
from realtime.adapters.ledger.redis import RedisLedger
from realtime.adapters.registry.memory import MemoryRegistry
from realtime.adapters.registry.redis import RedisRegistry
from realtime.errors import ConfigError, Unavailable
from realtime.settings import LedgerSettings, RedisSettings
from realtime.testing.ledger_kit import COUNTERS, eventually
from realtime.testing.servers import ValkeyServer, free_port
from realtime.types import NodeId

pytestmark = pytest.mark.anyio

NODE = NodeId("n1")


async def test_memory_without_a_url() -> None:
    """Without redis.url everything is in memory, and there is no durability."""
    adapters = await open_adapters(RedisSettings(), LedgerSettings(), COUNTERS, NODE)
    assert isinstance(adapters.ledger, MemoryLedger)
    assert isinstance(adapters.broker, MemoryBroker)
    assert isinstance(adapters.registry, MemoryRegistry)
    assert isinstance(adapters.blocks, MemoryBlocks)
    assert adapters.durability is None
    adapters.on_reconnected(lambda: None)
    await adapters.aclose()
    await adapters.aclose()


async def test_redis_with_a_url(valkey: ValkeyServer) -> None:
    """With redis.url everything is in Redis, and the server's durability is known."""
    settings = RedisSettings(valkey.url, prefix="build")
    adapters = await open_adapters(settings, LedgerSettings(), COUNTERS, NODE)
    assert isinstance(adapters.ledger, RedisLedger)
    assert isinstance(adapters.broker, RedisBroker)
    assert isinstance(adapters.registry, RedisRegistry)
    assert isinstance(adapters.blocks, RedisBlocks)
    assert adapters.durability == "appendonly no"
    await adapters.ledger.start()
    await adapters.broker.start()
    assert b"name=build:n1" in valkey.command("CLIENT", "LIST")
    told: list[int] = []
    adapters.on_reconnected(lambda: told.append(1))
    assert await adapters.broker.probe()
    valkey.command("CLIENT", "KILL", "TYPE", "pubsub")
    await eventually(lambda: told == [1], "it is told")
    await adapters.aclose()
    await adapters.aclose()
    await eventually(
        lambda: b"name=build:n1" not in valkey.command("CLIENT", "LIST"), "all closed"
    )


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (RedisSettings(f"redis://127.0.0.1:{free_port()}", timeout_s=0.1), Unavailable),
        (RedisSettings("redis://127.0.0.1:x"), ConfigError),
    ],
)
async def test_what_cannot_be_opened(
    settings: RedisSettings, error: type[Exception]
) -> None:
    """A url that is malformed, or where nobody is, is told."""
    with pytest.raises(error):
        await open_adapters(settings, LedgerSettings(), COUNTERS, NODE)


async def test_a_prefix_that_would_break_tags(valkey: ValkeyServer) -> None:
    """Braces in redis.prefix are refused."""
    settings = RedisSettings(valkey.url, prefix="{x}")
    with pytest.raises(ConfigError, match="braces"):
        await open_adapters(settings, LedgerSettings(), COUNTERS, NODE)
