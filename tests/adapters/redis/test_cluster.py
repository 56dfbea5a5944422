"""The link and pub/sub on a cluster whose slots move and whose masters go away."""

from __future__ import annotations

import asyncio

import pytest

from realtime.adapters.redis.slots import slot_of
from realtime.errors import Unavailable
from realtime.testing.ledger_kit import eventually
from realtime.testing.servers import ValkeyCluster, ValkeyServer
from tests.adapters.conftest import MakeLink, MakePubSub

pytestmark = pytest.mark.anyio


def owner_of(cluster: ValkeyCluster, key: bytes) -> ValkeyServer:
    """The master that serves *key* now."""
    for first, last, master, *_ in cluster.servers[0].command("CLUSTER", "SLOTS"):
        if first <= slot_of(key) <= last:
            return next(s for s in cluster.servers if s.port == master[1])
    raise AssertionError("nobody serves the slot")


def begin_move(cluster: ValkeyCluster, key: bytes) -> tuple[ValkeyServer, ValkeyServer]:
    """Open the slot of *key* for moving; returns from where and to where."""
    source = owner_of(cluster, key)
    target = next(server for server in cluster.servers if server is not source)
    slot = slot_of(key)
    names = [server.command("CLUSTER", "MYID").decode() for server in (source, target)]
    target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[0])
    source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[1])
    return source, target


def end_move(cluster: ValkeyCluster, key: bytes, target: ValkeyServer) -> None:
    """Hand the slot of *key*, which has no keys, to *target*."""
    name = target.command("CLUSTER", "MYID").decode()
    others = [server for server in cluster.servers if server is not target]
    for server in (target, *others):
        server.command("CLUSTER", "SETSLOT", slot_of(key), "NODE", name)


async def test_keys_are_found_on_their_masters(
    shaky: ValkeyCluster, make_link: MakeLink
) -> None:
    """Every key is written to the master of its slot, through any first node."""
    link = make_link(f"redis+cluster://127.0.0.1:{shaky.servers[2].port}")
    keys = [f"k{number}".encode() for number in range(60)]
    await asyncio.gather(*(link.call("SET", key, key, key=key) for key in keys))
    found = await asyncio.gather(*(link.call("GET", key, key=key) for key in keys))
    assert found == keys
    assert len(link.masters) == 3
    for server in shaky.servers:
        assert server.command("DBSIZE") > 0
        server.command("FLUSHALL")


async def test_a_slot_that_has_moved_is_followed(
    shaky: ValkeyCluster, make_link: MakeLink
) -> None:
    """A redirection is followed within the same call, also by what may not repeat."""
    link, key = make_link(shaky.url), b"moved"
    await link.start()
    _, target = begin_move(shaky, key)
    end_move(shaky, key, target)
    assert await link.call("INCR", key, key=key, repeatable=False) == 1
    assert target.command("GET", key) == b"1"
    target.command("DEL", key)


async def test_a_slot_that_is_moving_is_asked_for(
    shaky: ValkeyCluster, make_link: MakeLink
) -> None:
    """What is not at the old place any more is done at the new one, and back again."""
    link, key = make_link(shaky.url), b"{asked}1"
    await link.call("SET", b"{asked}0", "here", key=key)
    source, target = begin_move(shaky, key)
    assert await link.call("SET", key, "there", key=key) == b"OK"
    assert await link.call("GET", b"{asked}0", key=key) == b"here"
    assert await link.call_many([("GET", key), ("PING",)], key=key) == [
        b"there",
        b"PONG",
    ]
    assert source.command("EXISTS", b"{asked}0") == 1
    source.command("DEL", b"{asked}0")
    end_move(shaky, key, target)
    assert await link.call("GET", key, key=key) == b"there"
    await link.call("DEL", key, key=key)


async def test_subscriptions_follow_their_slot(
    shaky: ValkeyCluster, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """Channels of a slot that moves are subscribed at its new master; it is told."""
    link = make_link(shaky.url, timeout_s=5)
    pubsub, messages, told = make_pubsub(link), list[bytes](), list[int]()
    pubsub.on_reconnected.append(lambda: told.append(1))
    await pubsub.start()
    channels = [b"{follow}1", b"{follow}2", b"stays"]
    for channel in channels:
        await pubsub.subscribe(channel, messages.append)
    for round in (1, 2):
        _, target = begin_move(shaky, channels[0])
        end_move(shaky, channels[0], target)
        await eventually(lambda r=round: len(told) >= r, "it is told")  # type: ignore[misc]
        assert set(target.command("PUBSUB", "SHARDCHANNELS")) >= set(channels[:2])
        for channel in channels:
            await link.publish(channel, channel)
        await eventually(lambda: len(messages) == 3, "all messages arrive")
        messages.clear()
    assert await pubsub.probe()


async def test_subscriptions_survive_on_every_master(
    shaky: ValkeyCluster, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """Connections that are killed, on all masters, are replaced."""
    link = make_link(shaky.url, timeout_s=5)
    pubsub, messages, told = make_pubsub(link), list[bytes](), list[int]()
    pubsub.on_reconnected.append(lambda: told.append(1))
    await pubsub.start()
    channels = [f"c{number}".encode() for number in range(30)]
    for channel in channels:
        await pubsub.subscribe(channel, messages.append)
    assert await pubsub.probe()
    for server in shaky.servers:
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
    await eventually(lambda: len(told) == 3, "each master is whole again")
    await asyncio.gather(*(link.publish(channel, channel) for channel in channels))
    await eventually(lambda: len(messages) == 30, "all messages arrive")
    assert sorted(messages) == sorted(channels)


async def test_a_master_that_is_away(
    shaky: ValkeyCluster, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """What belongs to it fails while it is away; the rest goes on."""
    link = make_link(shaky.url, timeout_s=0.5)
    pubsub, messages = make_pubsub(link), list[bytes]()
    await pubsub.start()
    victim = shaky.servers[0]
    keys = [f"key-{number}".encode() for number in range(50)]
    gone = next(key for key in keys if owner_of(shaky, key) is victim)
    there = next(key for key in keys if owner_of(shaky, key) is not victim)
    for key in (gone, there):
        await pubsub.subscribe(key, messages.append)
    victim.kill()
    assert await link.call("INCR", there, key=there) == 1
    await link.publish(there, there)
    with pytest.raises(Unavailable):
        await link.call("INCR", gone, key=gone)
    assert not await pubsub.probe()
    await asyncio.to_thread(victim.restart)
    await asyncio.to_thread(shaky.await_whole)
    deadline = asyncio.get_running_loop().time() + 10
    while not await pubsub.probe():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)
    assert await link.call("INCR", gone, key=gone) == 1
    await pubsub.subscribe(gone, messages.append)
    await link.publish(gone, gone)
    await eventually(lambda: messages == [there, gone], "both messages arrive")


async def test_durability_is_that_of_the_weakest(
    shaky: ValkeyCluster, make_link: MakeLink
) -> None:
    """Of several masters, the one that keeps least is told."""
    link = make_link(shaky.url, timeout_s=5)
    await link.start()
    assert await link.durability() == "appendonly no"
    for server in shaky.servers[:2]:
        server.command("CONFIG", "SET", "appendonly", "yes")
    assert await link.durability() == "appendonly no"
    shaky.servers[2].command("CONFIG", "SET", "appendonly", "yes")
    assert await link.durability() == "appendfsync everysec"
