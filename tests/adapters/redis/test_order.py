"""The order of what one node publishes on one channel, whatever happens to it."""

from __future__ import annotations

import asyncio
import time

import pytest

from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.script import Script
from realtime.adapters.redis.turns import Turns
from realtime.errors import Unavailable
from realtime.testing.relay import Relay
from realtime.testing.servers import ValkeyCluster, ValkeyServer
from tests.adapters.conftest import MakeLink
from tests.adapters.redis.test_cluster import begin_move, end_move, owner_of

pytestmark = pytest.mark.anyio


def script(source: str) -> Script:
    """A script that is in no package."""
    return Script.of("test", f"-- {time.monotonic_ns()}: known to nobody\n{source}")


def append_once() -> Script:
    """Append the argument to the list, unless it is there."""
    return script(
        "if redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end\n"
        "return redis.call('RPUSH', KEYS[1], ARGV[1])"
    )


async def append(
    link: RedisLink, one: Script, key: bytes, number: int, repeatable: bool = True
) -> None:
    """Append *number* to the list *key*, in the order of the calls."""
    data = b"%d" % number
    await link.run_script_in_order(one, [key], data, channel=key, repeatable=repeatable)


def numbers(count: int) -> list[bytes]:
    """What the list must be."""
    return [b"%d" % number for number in range(count)]


async def test_scripts_that_were_under_way_go_before_later_ones(
    valkey: ValkeyServer, make_link: MakeLink
) -> None:
    """
    When the connection is lost, what is sent again is not overtaken by what is called
    at that very moment.
    """
    async with Relay(valkey.port) as relay:
        link = make_link(f"redis://127.0.0.1:{relay.port}", timeout_s=10)
        for lose, key in (("mute", b"order:mute"), ("deaf", b"order:deaf")):
            await link.start()
            one, (line,) = append_once(), link._lines.values()
            (connection,) = relay.connections
            setattr(connection, lose, True)
            first = [asyncio.create_task(append(link, one, key, n)) for n in range(40)]

            async def later(
                lost: asyncio.Event = line.lost, one: Script = one, key: bytes = key
            ) -> None:
                await lost.wait()  # wakes before all whose commands were under way
                await append(link, one, key, 40)

            task = asyncio.create_task(later())
            await asyncio.sleep(0.02)
            connection.cut()
            await asyncio.gather(*first, task)
            assert valkey.command("LRANGE", key, 0, -1) == numbers(41)


async def test_a_server_that_forgets_its_scripts(
    valkey: ValkeyServer, make_link: MakeLink
) -> None:
    """After SCRIPT FLUSH, all that are refused go again, in their order, once each."""
    link, one = make_link(valkey.url), append_once()
    for number in range(0, 200, 50):
        await asyncio.gather(
            *(
                append(link, one, b"order:f", n, False)
                for n in range(number, number + 50)
            )
        )
        valkey.command("SCRIPT", "FLUSH")
    assert valkey.command("LRANGE", "order:f", 0, -1) == numbers(200)


async def test_the_source_goes_out_once_for_each_connection(
    valkey: ValkeyServer, make_link: MakeLink
) -> None:
    """Even of many at once only the first carries the source; none is refused."""
    link, one = make_link(valkey.url), append_once()
    await link.start()
    before = valkey.calls("eval")
    await asyncio.gather(*(append(link, one, b"order:s", n) for n in range(50)))
    assert valkey.calls("eval") == before + 1
    assert valkey.command("LRANGE", "order:s", 0, -1) == numbers(50)


async def test_a_script_that_may_not_be_repeated_is_not(
    valkey: ValkeyServer, make_link: MakeLink
) -> None:
    """If the connection is lost before the reply, the caller is told so."""
    counting = script("return redis.call('INCR', KEYS[1])")
    async with Relay(valkey.port) as relay:
        link = make_link(f"redis://127.0.0.1:{relay.port}")
        await link.start()
        (connection,) = relay.connections
        connection.deaf = True
        call = asyncio.create_task(
            link.run_script_in_order(
                counting, [b"order:n"], channel=b"order:n", repeatable=False
            )
        )
        while valkey.command("GET", "order:n") is None:
            await asyncio.sleep(0)
        connection.cut()
        with pytest.raises(Unavailable):
            await call
        assert valkey.command("GET", "order:n") == b"1"


async def test_one_dead_master_does_not_hold_up_the_others(
    shaky: ValkeyCluster, make_link: MakeLink
) -> None:
    """Publications on channels of other masters go on while some wait for theirs."""
    link = make_link(shaky.url, timeout_s=3)
    await link.start()
    victim = shaky.servers[1]
    keys = [b"order-%d" % number for number in range(60)]
    gone = [key for key in keys if owner_of(shaky, key) is victim]
    there = [key for key in keys if owner_of(shaky, key) is not victim]
    await asyncio.gather(*(link.publish(key, b"1") for key in keys))
    victim.kill()
    waiting = [asyncio.create_task(link.publish(key, b"2")) for key in gone]
    await asyncio.sleep(0.1)
    started = time.monotonic()
    try:
        await asyncio.gather(*(link.publish(key, b"2") for key in there))
        assert time.monotonic() - started < 1.5
    finally:
        await asyncio.to_thread(victim.restart)
        await asyncio.to_thread(shaky.await_whole)
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_scripts_follow_a_slot_that_is_moving(
    shaky: ValkeyCluster, make_link: MakeLink
) -> None:
    """A script is asked for where its key is going, with its source."""
    link, one, key = make_link(shaky.url, timeout_s=5), append_once(), b"order:moving"
    await link.start()
    await append(link, one, key, 0)
    owner_of(shaky, key).command("DEL", key)
    _, target = begin_move(shaky, key)
    await asyncio.gather(*(append(link, one, key, n) for n in range(20)))
    end_move(shaky, key, target)
    await asyncio.gather(*(append(link, one, key, n) for n in range(20, 40)))
    assert target.command("LRANGE", key, 0, -1) == numbers(40)
    target.command("DEL", key)


async def test_each_on_its_own_master(
    shaky: ValkeyCluster, make_link: MakeLink
) -> None:
    """call_each answers in the order asked, also when a slot has just moved."""
    link = make_link(shaky.url, timeout_s=5)
    keys = [b"each-%d" % number for number in range(1200)]
    await link.call_each(keys, [("SET", key, key) for key in keys])
    found = await link.call_each(keys, [("GET", key) for key in keys])
    assert found == keys
    assert await link.call_each([], []) == []
    owner_of(shaky, keys[7]).command("DEL", keys[7])
    _, target = begin_move(shaky, keys[7])
    end_move(shaky, keys[7], target)
    found = await link.call_each(keys, [("GET", key) for key in keys])
    assert found == [*keys[:7], None, *keys[8:]]
    with pytest.raises(Unavailable, match="wrong kind"):
        await link.call_each(keys[:2], [("GET", keys[0]), ("LPOP", keys[1])])
    for server in shaky.servers:
        server.command("FLUSHALL")


async def test_turns_go_by_number() -> None:
    """Who comes back with a low number goes before all who wait; nothing is left."""
    turns, order = Turns(), list[int]()

    async def take(number: int, again: int = 0) -> None:
        async with turns.turn(b"k", number):
            order.append(number)
            await asyncio.sleep(0)
        if again:
            await take(number, again - 1)

    await asyncio.gather(take(5), take(2, again=2), take(9), take(1), take(3))
    assert order == [1, 2, 2, 2, 3, 5, 9]
    assert not turns.are_taken(b"k")


async def test_turns_are_given_up_by_who_is_cancelled() -> None:
    """Cancelled while waiting, or while it is one's turn: the next one goes on."""
    turns, held = Turns(), asyncio.Event()

    async def hold(number: int) -> None:
        async with turns.turn(b"k", number):
            held.set()
            await asyncio.sleep(3600)

    tasks = [asyncio.create_task(hold(number)) for number in range(3)]
    await held.wait()
    tasks[1].cancel()
    tasks[0].cancel()
    held.clear()
    await held.wait()
    assert turns.are_taken(b"k")
    assert not turns.are_taken(b"other")
    tasks[2].cancel()
    await asyncio.wait(tasks)
    assert not turns.are_taken(b"k")
