"""Presence in Redis: what no other form has: scripts, keys, calls that are repeated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import repeat

import pytest

from realtime.adapters.presence.redis import RedisPresence
from realtime.adapters.redis.client import RedisLink
from realtime.settings import RedisSettings
from realtime.testing.presence_kit import LONG_S, ROOM, clients, gone, member, sum_of
from realtime.testing.servers import ValkeyServer
from realtime.types import Channel, NodeId

pytestmark = pytest.mark.anyio

ANN = member("c1", "ann")
BOB = member("c2", "bob")
MOMENT_S = 0.01
HOURS_MS = 3 * 3600 * 1000


@pytest.fixture
async def link(valkey: ValkeyServer) -> AsyncIterator[RedisLink]:
    """A link to an empty server."""
    valkey.command("FLUSHALL")
    link = RedisLink(RedisSettings(valkey.url))
    yield link
    await link.aclose()


@pytest.fixture
def one(link: RedisLink) -> RedisPresence:
    """A node's form."""
    return RedisPresence(link, "test", NodeId("one"))


@pytest.fixture
def two(link: RedisLink) -> RedisPresence:
    """Another node's."""
    return RedisPresence(link, "test", NodeId("two"))


async def test_unused_keys_expire(one: RedisPresence, valkey: ValkeyServer) -> None:
    """Each key has an end, also when all nodes are dead."""
    await one.join(ROOM, ANN, LONG_S)
    await one.join(ROOM, member("c3"), LONG_S)
    await one.leave(ROOM, ANN.client, ANN.user, LONG_S)
    await one.restore(Channel("room:2"), [ANN], LONG_S)
    keys = valkey.command("KEYS", "*")
    ttls = [valkey.command("PTTL", key) for key in keys]
    assert len(keys) > 8
    assert all(0 < ttl <= HOURS_MS for ttl in ttls), dict(zip(keys, ttls, strict=True))


async def test_a_repeated_call_is_answered_the_same(
    one: RedisPresence, two: RedisPresence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has gone, or is back, is not forgotten with the first answer."""
    await one.join(ROOM, ANN, MOMENT_S)
    await asyncio.sleep(2 * MOMENT_S)
    ids = iter([*repeat("touch", 2), *repeat("restore", 2), *repeat("leave", 2)])
    for presence in (one, two):
        monkeypatch.setattr(presence, "_call_id", lambda: next(ids))
    assert [await gone(two) for _ in range(2)] == [[ANN], [ANN]]
    back = [await one.restore(ROOM, [ANN], LONG_S) for _ in range(2)]
    assert back == [[ANN], [ANN]]
    left = [await one.leave(ROOM, ANN.client, ANN.user) for _ in range(2)]
    assert [each.gone for each in left] == [[ANN], [ANN]]


async def test_a_repeated_join_hides_the_flap_again(
    one: RedisPresence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who lingered was there, also when the first answer was lost."""
    await one.join(ROOM, ANN, LONG_S)
    await one.leave(ROOM, ANN.client, ANN.user, LONG_S)
    monkeypatch.setattr(one, "_call_id", lambda: "join")
    arrivals = [await one.join(ROOM, member("c9", "ann"), LONG_S) for _ in range(2)]
    assert [(each.first, each.connections) for each in arrivals] == [(False, 1)] * 2


async def test_a_server_that_has_forgotten_the_scripts_is_taught(
    one: RedisPresence, valkey: ValkeyServer
) -> None:
    """Every call works at once after a restart, in batches too."""
    channels = [Channel(f"room:{number}") for number in range(5)]
    for channel in channels:
        valkey.command("SCRIPT", "FLUSH")
        await one.join(channel, ANN, LONG_S)
    for act in (
        lambda: one.touch([(channel, sum_of([ANN])) for channel in channels], LONG_S),
        lambda: one.restore(ROOM, [ANN, BOB], LONG_S),
        lambda: one.members(ROOM, 10),
        lambda: one.stats(ROOM),
        lambda: one.connections(ROOM, ANN.user),  # type: ignore[arg-type]
        lambda: one.leave(ROOM, ANN.client, ANN.user),
    ):
        valkey.command("SCRIPT", "FLUSH")
        await act()
    assert await clients(one) == ["c2"]


async def test_calls_take_effect_in_the_order_of_their_beginning(
    one: RedisPresence,
) -> None:
    """So the sum that a touch tells is that of the moment in which it was begun."""
    await one.join(ROOM, ANN, LONG_S)
    sums = [(ROOM, sum_of([ANN])), (Channel("room:2"), 0)]
    touch = asyncio.ensure_future(one.touch(sums, LONG_S))
    join = asyncio.ensure_future(one.join(ROOM, BOB, LONG_S))
    restore = asyncio.ensure_future(one.restore(ROOM, [ANN, BOB], LONG_S))
    leave = asyncio.ensure_future(one.leave(ROOM, ANN.client, ANN.user))
    after = asyncio.ensure_future(one.touch([(ROOM, sum_of([BOB]))], LONG_S))
    assert (await touch)[0] == (await after)[0] == []
    assert (await join).first
    assert (await leave).gone == [ANN]
    assert await restore == []
    assert await clients(one) == ["c2"]
