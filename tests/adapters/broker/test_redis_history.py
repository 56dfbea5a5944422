"""The history in Redis while keys, servers and replies are lost."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from realtime.adapters.broker.port import Keep, Placed, PublishOptions
from realtime.adapters.broker.redis import RedisBroker
from realtime.errors import BrokerUnavailable
from realtime.testing.contracts_broker import CHAT, Received
from realtime.testing.contracts_broker_history import (
    KEEP,
    data_of,
    numbers,
    position_of,
    put,
    read,
)
from realtime.testing.contracts_broker_once import put_once, put_version
from realtime.testing.ledger_kit import eventually
from realtime.testing.relay import Relay, Relayed
from realtime.testing.servers import HOST, ValkeyServer
from realtime.types import Channel, JSONText, Position, Publication
from tests.adapters.conftest import MakeLink, MakePubSub

pytestmark = pytest.mark.anyio

T = TypeVar("T")

MakeBroker = Callable[..., Awaitable[RedisBroker]]

REPOSITORY = Path(__file__).parents[3]

META, STREAM = "{t:b:chat:42}:m", "{t:b:chat:42}:h"


@pytest.fixture
def make_broker(make_link: MakeLink, make_pubsub: MakePubSub) -> MakeBroker:
    """Start brokers with connections of their own."""

    async def make(url: str, timeout_s: float = 5.0) -> RedisBroker:
        link = make_link(url, timeout_s=timeout_s)
        broker = RedisBroker(link, make_pubsub(link), "t")
        await broker.start()
        return broker

    return make


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    """A server of one test's own, without persistence."""
    with ValkeyServer() as one:
        yield one


async def test_a_server_that_comes_back_empty(
    server: ValkeyServer, make_broker: MakeBroker
) -> None:
    """After the loss of all data there is a new epoch, and old positions are told."""
    broker = await make_broker(server.url)
    received = Received(broker)
    await broker.subscribe(CHAT)
    before = await put(broker, *numbers(1, 3))
    await eventually(lambda: len(received.publications) == 3, "they arrive")
    server.kill()
    await asyncio.to_thread(server.restart)
    (top,) = await broker.tops([CHAT], KEEP)
    assert top.offset == 0
    assert top.epoch != before[0].epoch
    assert await put(broker, b"new") == [Position(1, top.epoch)]
    for place in before:
        found = await read(broker, place)
        assert (data_of(found.publications), found.complete) == ([b"new"], False)


async def test_a_history_that_was_evicted_alone(
    server: ValkeyServer, make_broker: MakeBroker
) -> None:
    """With the stream gone and the position kept, what is missing is told."""
    broker = await make_broker(server.url)
    before = await put(broker, *numbers(1, 3))
    server.command("DEL", STREAM)
    found = await read(broker, before[1])
    assert (found.publications, found.complete, found.top) == ([], False, before[2])
    assert (await read(broker, before[2])).complete
    (fourth,) = await put(broker, b"4")
    assert fourth == Position(4, before[0].epoch)
    found = await read(broker, before[1])
    assert (data_of(found.publications), found.complete) == ([b"4"], False)
    assert (await read(broker, before[2])).complete


async def test_a_position_that_was_evicted_alone(
    server: ValkeyServer, make_broker: MakeBroker
) -> None:
    """With the position gone nothing of the old history is told under the new one."""
    broker = await make_broker(server.url)
    before = await put(broker, *numbers(1, 3))
    server.command("DEL", META)
    found = await read(broker)
    assert (found.publications, found.top.offset) == ([], 0)
    assert found.top.epoch != before[0].epoch
    server.command("DEL", META)
    await put(broker, b"1", b"2")
    found = await read(broker, before[0])
    assert (data_of(found.publications), found.complete) == ([b"1", b"2"], False)


async def test_a_restart_that_loses_nothing(
    victim: ValkeyServer, make_broker: MakeBroker
) -> None:
    """With a durable server positions from before the restart are recovered from."""
    broker, keep = await make_broker(victim.url), Keep(100, 3600.0, 7200.0)
    before = await put(broker, *numbers(1, 3), keep=keep)
    for round in range(1, 4):
        victim.kill()
        await asyncio.to_thread(victim.restart)
        assert (await read(broker, keep=keep)).top.epoch == before[0].epoch
        await put(broker, *numbers(3 * round + 1, 3 * round + 3), keep=keep)
    end = numbers(1, 12)
    for place in before:
        found = await read(broker, place, keep=keep)
        assert (data_of(found.publications), found.complete) == (
            end[place.offset :],
            True,
        )
    for reverse in (False, True):  # page by page, over what was left out
        pages, since, more = list[bytes](), None, True
        while more:
            page = await read(broker, since, 2, reverse=reverse, keep=keep)
            assert page.complete
            pages += data_of(page.publications)
            since, more = page.publications[-1].position, page.more
        assert pages == (end[::-1] if reverse else end)
    for offset in range(4, 9):  # these were given out by nobody, or by who lost them
        place = Position(offset, before[0].epoch)
        found = await read(broker, place, keep=keep)
        assert (data_of(found.publications), found.complete) == (end[3:], False)
        found = await read(broker, place, reverse=True, keep=keep)
        assert (data_of(found.publications), found.complete) == (end[2::-1], False)


async def test_a_replica_that_takes_over_too_early(
    server: ValkeyServer, make_broker: MakeBroker
) -> None:
    """
    What only the lost master had is told to be missing by who has seen it, and nothing
    else: its offsets are not given out a second time.
    """
    with ValkeyServer() as replica:
        replica.command("REPLICAOF", HOST, server.port)
        first = await make_broker(server.url)
        shared = await put(first, *numbers(1, 3))
        await eventually(
            lambda: replica.command("HGET", META, "o") == b"3", "it is there"
        )
        replica.command("REPLICAOF", "NO", "ONE")
        lost = await put(first, b"4", b"5")
        second = await make_broker(replica.url)
        after = await put(second, b"x", b"y", b"z", b"w")
        assert not {p.offset for p in lost} & {p.offset for p in after}
        assert {p.epoch for p in lost} == {p.epoch for p in after}
        found = await read(second, shared[2])
        assert (data_of(found.publications), found.complete) == (
            [b"x", b"y", b"z", b"w"],
            True,
        )
        for place in lost:
            found = await read(second, place)
            assert (len(found.publications), found.complete) == (4, False)
        for place in (after[0], Position(after[0].offset - 1, after[0].epoch)):
            assert (await read(second, place)).complete


async def test_many_takeovers_stay_bounded(
    server: ValkeyServer, make_broker: MakeBroker
) -> None:
    """What is noted of servers that came and went does not grow without end."""
    broker = await make_broker(server.url)
    for number in range(40):
        await put(broker, b"%d" % number)
        server.command("HSET", META, "r", f"{number:040x}")
    assert len(server.command("HGET", META, "l")) < 16 * 20
    found = await read(broker)
    assert data_of(found.publications) == [b"%d" % number for number in range(35, 40)]
    last = found.publications[-2].position
    assert data_of((await read(broker, last)).publications) == [b"39"]


async def test_where_info_is_not_permitted(
    server: ValkeyServer, make_broker: MakeBroker
) -> None:
    """A server that does not tell its replication id is taken for the same always."""
    server.command("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-info")
    broker = await make_broker(f"redis://u:p@127.0.0.1:{server.port}")
    assert [place.offset for place in await put(broker, *numbers(1, 3))] == [1, 2, 3]
    assert data_of((await read(broker)).publications) == numbers(1, 3)


def commands_of(relay: Relay) -> Relayed:
    """The connection that carries commands."""
    (found,) = (*relay.which_sent(b"PING"), *relay.which_sent(b"EVAL"))[-1:]
    return found


async def lose_reply(
    connection: Relayed, call: Awaitable[T], done: Callable[[], bool]
) -> asyncio.Future[T]:
    """Run *call*, whose reply is lost with its connection when it has been *done*."""
    connection.deaf = True
    task = asyncio.ensure_future(call)
    await eventually(done, "it has been done")
    connection.cut()
    await asyncio.wait([task])
    return task


async def test_what_may_be_repeated_is_made_once(
    server: ValkeyServer, make_broker: MakeBroker
) -> None:
    """
    With a key or a version, a publication whose reply was lost is sent again, made
    once, and told as made.
    """
    async with Relay(server.port) as relay:
        broker = await make_broker(f"redis://127.0.0.1:{relay.port}")
        calls: list[Callable[[], Awaitable[Placed]]] = [
            lambda: put_once(broker, b"1", "key"),
            lambda: put_version(broker, 7),
            lambda: put_version(broker, 8, key="other"),
        ]
        for number, call in enumerate(calls, start=1):

            def kept(number: int = number) -> bool:
                return bool(server.command("XLEN", STREAM) == number)

            placed = (await lose_reply(commands_of(relay), call(), kept)).result()
            assert placed.skipped is None
            assert position_of(placed).offset == number
        assert server.command("XLEN", STREAM) == 3


async def test_what_may_not_be_repeated_is_told(
    server: ValkeyServer, make_broker: MakeBroker
) -> None:
    """Without a key nobody knows whether it was made, and it is not made twice."""
    async with Relay(server.port) as relay:
        broker = await make_broker(f"redis://127.0.0.1:{relay.port}")
        task = await lose_reply(
            commands_of(relay),
            put(broker, b"1"),
            lambda: server.command("XLEN", STREAM) == 1,
        )
        with pytest.raises(BrokerUnavailable):
            task.result()
        assert (await put(broker, b"2"))[0].offset == 2


async def test_a_full_server_takes_nothing(
    server: ValkeyServer, make_broker: MakeBroker
) -> None:
    """What Redis has no memory for is told, and neither kept nor numbered."""
    broker = await make_broker(server.url)
    received = Received(broker)
    await broker.subscribe(CHAT)
    await put(broker, b"1")
    server.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(BrokerUnavailable, match="memory"):
        await put(broker, b"2")
    server.command("CONFIG", "SET", "maxmemory", "0")
    assert (await put(broker, b"3"))[0].offset == 2
    await eventually(lambda: len(received.publications) == 2, "both arrive")
    assert received.on() == [b"1", b"3"]


async def test_what_is_refused_halfway_changes_nothing(
    server: ValkeyServer, make_broker: MakeBroker
) -> None:
    """When the history cannot be written, no offset, version or key is used up."""
    broker = await make_broker(server.url)
    await put(broker, b"1")
    server.command("RENAME", STREAM, "aside")
    server.command("SET", STREAM, "spoilt")
    with pytest.raises(BrokerUnavailable, match="wrong kind"):
        await put(broker, b"2")
    with pytest.raises(BrokerUnavailable, match="wrong kind"):
        await put_version(broker, 7, key="key")
    server.command("RENAME", "aside", STREAM)
    placed = await put_version(broker, 7, key="key")
    assert (position_of(placed).offset, placed.skipped) == (2, None)


async def test_the_rights_in_the_guide_are_enough(
    server: ValkeyServer, make_broker: MakeBroker
) -> None:
    """A user of Redis with what the guide gives it can publish and recover."""
    guide = (REPOSITORY / "docs/howto/scale.md").read_text()
    found = re.search(r"ACL SETUSER realtime on >PASSWORD (.*?)\n\n", guide, re.DOTALL)
    assert found is not None
    rights = found[1].replace("realtime:", "t:").split()
    server.command("ACL", "SETUSER", "u", "on", ">p", *rights)
    broker = await make_broker(f"redis://u:p@127.0.0.1:{server.port}")
    received = Received(broker)
    await broker.subscribe(CHAT)
    await put(broker, b"1")
    await put_once(broker, b"2", "key")
    await put_once(broker, b"3", "plain", keep=None)
    await put_version(broker, 4)
    await eventually(lambda: len(received.publications) == 4, "all arrive")
    for reverse in (False, True):
        assert len((await read(broker, reverse=reverse)).publications) == 3
    await broker.tops([CHAT], KEEP)
    await broker.forget(CHAT)
    log = server.command("ACL", "LOG")
    assert log == []


async def test_every_key_expires(server: ValkeyServer, make_broker: MakeBroker) -> None:
    """Whatever is done, no key stays for ever."""
    broker = await make_broker(server.url)
    await put(broker, b"1", b"2")
    await put_once(broker, b"3", "key")
    await put_once(broker, b"4", "plain", keep=None)
    await put_version(broker, 7)
    await put_version(broker, 7)
    await read(broker, channel=Channel("chat:read"))
    await broker.tops([CHAT, Channel("chat:top")], KEEP)
    keys = server.command("KEYS", "*")
    assert len(keys) == 7  # two positions more, a history, a mark for each key
    for key in keys:
        ttl_s = server.command("TTL", key)
        assert 0 < ttl_s <= (7200 if key.endswith(b":m") else 3600), key


async def test_a_plain_publication_is_a_plain_command(
    server: ValkeyServer, make_broker: MakeBroker
) -> None:
    """Without a history, no script runs and nothing is stored."""
    broker = await make_broker(server.url)
    for _ in range(10):
        await broker.publish(Publication(CHAT, JSONText(b"1")), PublishOptions())
    assert server.calls("publish") == 10
    assert server.calls("eval") == server.calls("evalsha") == 0
    assert server.command("DBSIZE") == 0


async def test_tops_take_few_round_trips(
    server: ValkeyServer, make_broker: MakeBroker
) -> None:
    """Known channels cost no script each, and go together."""
    broker = await make_broker(server.url)
    channels = [Channel(f"chat:{number}") for number in range(2000)]
    await broker.tops(channels, KEEP)
    scripts = server.calls("evalsha")
    reads = int(server.facts("INFO", "stats")["total_reads_processed"])
    await broker.tops(channels, KEEP)
    after = int(server.facts("INFO", "stats")["total_reads_processed"])
    assert server.calls("evalsha") == scripts
    assert after - reads < 40
