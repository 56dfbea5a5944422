"""The link behind Sentinel: it goes where the sentinels say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from realtime.errors import Unavailable
from realtime.testing.ledger_kit import eventually
from realtime.testing.servers import HOST, ValkeyServer, free_port
from tests.adapters.conftest import MakeLink, MakePubSub

pytestmark = pytest.mark.anyio


@pytest.fixture
def master() -> Iterator[ValkeyServer]:
    """The master at first."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture
def replica(master: ValkeyServer) -> Iterator[ValkeyServer]:
    """Its replica."""
    with ValkeyServer() as server:
        server.command("REPLICAOF", HOST, master.port)
        yield server


@pytest.fixture
def sentinel(
    master: ValkeyServer, replica: ValkeyServer, tmp_path: Path
) -> Iterator[ValkeyServer]:
    """A sentinel that watches both, and has found the replica."""
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"sentinel monitor main {HOST} {master.port} 1\n"
        "sentinel down-after-milliseconds main 300\n"
        "sentinel failover-timeout main 1000\n"
    )
    with ValkeyServer(port=free_port(), sentinel=config) as server:
        yield server


async def test_a_failover_is_followed(
    sentinel: ValkeyServer,
    master: ValkeyServer,
    replica: ValkeyServer,
    make_link: MakeLink,
    make_pubsub: MakePubSub,
) -> None:
    """When the replica takes over, calls and subscriptions move to it."""
    dead = free_port()
    url = f"redis+sentinel://{HOST}:{dead},{HOST}:{sentinel.port}/main/0"
    link = make_link(url, timeout_s=10)
    pubsub, messages, told = make_pubsub(link), list[bytes](), list[int]()
    pubsub.on_reconnected.append(lambda: told.append(1))
    await pubsub.start()
    await pubsub.subscribe(b"c", messages.append)
    await link.call("SET", "k", "v")
    assert master.command("GET", "k") == b"v"
    await eventually(lambda: _replicas(sentinel) == 1, "the replica is known")
    await eventually(lambda: replica.command("GET", "k") == b"v", "it is replicated")
    sentinel.command("SENTINEL", "FAILOVER", "main")
    await eventually(lambda: _is_master(replica), "the replica takes over", 20)
    await asyncio.to_thread(master.kill)
    assert await link.call("SET", "k", "w") == b"OK"
    assert replica.command("GET", "k") == b"w"
    await eventually(lambda: len(told) >= 1, "the subscription has moved")
    await link.publish(b"c", b"1")
    await eventually(lambda: messages == [b"1"], "the message arrives")


async def test_a_master_that_nobody_knows(
    sentinel: ValkeyServer, make_link: MakeLink
) -> None:
    """A name that the sentinels do not know is told in the error."""
    link = make_link(f"redis+sentinel://{HOST}:{sentinel.port}/other", timeout_s=0.5)
    with pytest.raises(Unavailable, match="other"):
        await link.start()


def _is_master(server: ValkeyServer) -> bool:
    try:
        return server.command("ROLE")[0] == b"master"
    except RedisError:  # the sentinel cuts all connections when roles change
        return False


def _replicas(sentinel: ValkeyServer) -> int:
    return len(sentinel.command("SENTINEL", "REPLICAS", "main"))
