"""
Redis restarts, fails over, hangs, goes deaf or gives up on a reader: what it has taken
arrives on every node, once and in order, through pub/sub or from the history.

Each test prints what was tried and what was lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from realtime.testing.ledger_kit import eventually
from realtime.testing.relay import Relay
from realtime.testing.servers import (
    HOST,
    ValkeyCluster,
    ValkeyServer,
    free_port,
    poll_until,
)
from tests.faults.readers import World, again, world

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    """A server that forgets nothing that it has answered."""
    with ValkeyServer(appendonly=True, fsync="always") as valkey:
        yield valkey


def wait_for_replica(master: ValkeyServer) -> None:
    """Wait until the replica has all that the master has taken."""
    assert master.command("WAIT", 1, 5000) == 1


async def test_redis_crashes_and_restarts(valkey: ValkeyServer) -> None:
    """A durable server that is killed again and again loses and repeats nothing."""
    async with world(valkey.url) as running:

        def crash() -> None:
            valkey.kill()
            valkey.restart()

        await again(running, crash, times=4)
        await running.settle("4 crashes of Redis")
        assert running.readers[0].healed > 0


async def test_redis_hangs(valkey: ValkeyServer) -> None:
    """A server that stops for longer than anybody waits: refused, then made once."""
    async with world(valkey.url, timeout_s=0.3) as running:
        for _ in range(3):
            refused = running.refused
            with valkey.paused():
                await eventually(lambda n=refused: running.refused > n + 3, "refused")  # type: ignore[misc]
            await running.more(60)
        await running.settle("Redis stopped 3 times for longer than anybody waits")


async def test_pubsub_connections_are_killed(valkey: ValkeyServer) -> None:
    """CLIENT KILL TYPE pubsub among publications: the history fills every hole."""
    async with world(valkey.url) as running:

        def kill() -> None:
            valkey.command("CLIENT", "KILL", "TYPE", "pubsub")

        await again(running, kill, times=15)
        await running.settle("15 times CLIENT KILL TYPE pubsub")


async def test_command_connections_are_killed(valkey: ValkeyServer) -> None:
    """CLIENT KILL TYPE normal: what was under way is made once, and in its order."""
    async with world(valkey.url) as running:

        def kill() -> None:
            valkey.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        await again(running, kill, times=15)
        await running.settle("15 times CLIENT KILL TYPE normal")
        assert running.refused == 0


async def test_a_reader_is_deaf(valkey: ValkeyServer) -> None:
    """A pub/sub connection that is open but silent is replaced, and nothing missed."""
    async with Relay(valkey.port) as relay:
        url = f"redis://127.0.0.1:{relay.port}/0"
        async with world(valkey.url, reads_at=url, timeout_s=0.3) as running:
            for _ in range(3):
                (deaf,) = relay.which_sent(b"SUBSCRIBE")
                deaf.deaf = True
                await eventually(lambda d=deaf: d not in relay.connections, "replaced")  # type: ignore[misc]
                await eventually(lambda: len(relay.which_sent(b"SUBSCRIBE")) == 1, "")
                await running.more(60)
            await running.settle("3 pub/sub connections went deaf")
            assert running.readers[1].healed > 0


async def test_a_reader_is_too_slow_for_redis() -> None:
    """Redis cuts a pub/sub client whose buffer is full; the history has it all."""
    limit = ("client-output-buffer-limit", "pubsub 256kb 0 0")
    with ValkeyServer(options=[limit]) as valkey:
        async with Relay(valkey.port) as relay:
            url = f"redis://127.0.0.1:{relay.port}/0"
            padded = world(valkey.url, reads_at=url, timeout_s=5.0, padding=50_000)
            async with padded as running:
                (slow,) = relay.which_sent(b"SUBSCRIBE")
                slow.flows.clear()
                await eventually(
                    lambda: "overcoming of output buffer limits" in valkey.log,
                    "Redis gives up on the reader",
                    20,
                )
                slow.flows.set()
                await running.more(60)
                await running.settle("Redis cut a reader whose output buffer was full")
                assert running.readers[1].healed > 0


async def test_sentinel_fails_over(tmp_path: Path) -> None:
    """The master dies, its replica takes over: publishing and reading go on there."""
    with ValkeyServer() as master, ValkeyServer() as replica:
        replica.command("REPLICAOF", HOST, master.port)
        config = tmp_path / "sentinel.conf"
        config.write_text(
            f"sentinel monitor main {HOST} {master.port} 1\n"
            "sentinel down-after-milliseconds main 300\n"
            "sentinel failover-timeout main 1000\n"
        )
        with ValkeyServer(port=free_port(), sentinel=config) as sentinel:
            await asyncio.to_thread(_await_replica, sentinel, replica)
            url = f"redis+sentinel://{HOST}:{sentinel.port}/main/0"
            async with world(url) as running:
                await _kill(running, master)
                await asyncio.to_thread(_await_master, replica)
                await running.more(120)
                await running.settle("Sentinel put the replica in the master's place")


async def test_a_cluster_loses_a_master() -> None:
    """A replica takes over the slots; the channels of other masters never stop."""
    with ValkeyCluster(replicas=1) as cluster:
        async with world(cluster.url) as running:
            before = {each.channel: len(each.taken) for each in running.publishers}
            await _kill(running, cluster.servers[0])
            await running.more(60)
            assert cluster.replicas[0].command("ROLE")[0] == b"slave", "too soon"
            await asyncio.to_thread(_await_master, cluster.replicas[0])
            await eventually(
                lambda: all(
                    len(each.taken) > before[each.channel] + 20
                    for each in running.publishers
                ),
                "every channel goes on",
                20,
            )
            await running.settle("a replica took over the slots of a dead master")


async def _kill(running: World, master: ValkeyServer) -> None:
    """
    Kill the master when its replica has all that was taken: what it alone has is lost
    with it, whoever is asked.
    """
    async with running.silence():
        await asyncio.to_thread(wait_for_replica, master)
        master.kill()


def _await_replica(sentinel: ValkeyServer, replica: ValkeyServer) -> None:
    def is_known() -> bool:
        return len(sentinel.command("SENTINEL", "REPLICAS", "main")) == 1

    def is_linked() -> bool:
        facts = replica.facts("INFO", "replication")
        return facts.get("master_link_status") == "up"

    poll_until(is_known, 20, "the sentinel knows the replica")
    poll_until(is_linked, 20, "the replica has its master's data")


def _await_master(server: ValkeyServer) -> None:
    def is_master() -> bool:
        try:
            return bool(server.command("ROLE")[0] == b"master")
        except RedisError:  # the sentinel cuts all connections when roles change
            return False

    poll_until(is_master, 20, "the replica takes over")
