"""What the broker through Redis gives to its own node's subscribers alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from realtime.adapters.broker.port import PLAIN, Keep, Placed, PublishOptions
from realtime.adapters.broker.redis import RedisBroker
from realtime.errors import BrokerUnavailable
from realtime.testing.contracts_broker import CHAT, LOCAL, Received
from realtime.testing.ledger_kit import eventually
from realtime.testing.servers import ValkeyServer
from realtime.types import Channel, ConnectionId, JSONText, Publication
from tests.adapters.conftest import MakeLink, MakePubSub

pytestmark = pytest.mark.anyio

TIMEOUT_S = 0.3

Make = Callable[[], RedisBroker]


@pytest.fixture
def make(victim: ValkeyServer, make_link: MakeLink, make_pubsub: MakePubSub) -> Make:
    """Make brokers on the server that is to be broken, each as another node."""

    def make() -> RedisBroker:
        link = make_link(victim.url, timeout_s=TIMEOUT_S)
        return RedisBroker(link, make_pubsub(link), "local")

    return make


async def put(
    broker: RedisBroker, data: object, options: PublishOptions = LOCAL
) -> Placed:
    """Publish *data* on the channel of these tests."""
    return await broker.publish(
        Publication(CHAT, JSONText(str(data).encode())), options
    )


async def put_until_local(broker: RedisBroker, data: object) -> None:
    """Publish *data* until it is certain that it has not been executed."""
    while True:
        try:
            assert await put(broker, data) == Placed(local=True)
        except BrokerUnavailable:
            continue  # it was under way
        return


async def test_what_cannot_travel_is_delivered_here(
    victim: ValkeyServer, make: Make
) -> None:
    """Once, in order, to the node's own alone; afterwards all travels again."""
    one, two = make(), make()
    here, there = Received(one), Received(two)
    for broker in (one, two):
        await broker.start()
        await broker.subscribe(CHAT)
    assert await put(one, 0) == Placed()
    await eventually(lambda: here.on() == there.on() == [b"0"], "it travels")
    victim.kill()
    await put_until_local(one, 1)
    placed = await asyncio.gather(*(put(one, n) for n in range(2, 20)))
    assert placed == [Placed(local=True)] * 18
    assert here.on() == [b"%d" % n for n in range(20)]
    victim.restart()

    async def travels() -> bool:
        return await one.probe() and await two.probe()

    deadline = asyncio.get_running_loop().time() + 20
    while not await travels() or (await put(one, "again")).local:
        assert asyncio.get_running_loop().time() < deadline
    await put(one, "end")
    await eventually(lambda: here.on()[-1] == there.on()[-1] == b"end", "both hear it")
    assert here.on()[:20] == [b"%d" % n for n in range(20)]
    assert set(here.on()[20:]) == {b"again", b"end"}
    assert set(there.on()) == {b"0", b"again", b"end"}


async def test_a_known_outage_is_not_waited_for(
    victim: ValkeyServer, make: Make
) -> None:
    """After the first ones have waited in vain, many take no time."""
    broker = make()
    await broker.start()
    victim.kill()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 20
    taken_s = TIMEOUT_S
    while taken_s > TIMEOUT_S / 10:
        assert loop.time() < deadline
        began = loop.time()
        for _ in range(20):
            await put_until_local(broker, 1)
        taken_s = loop.time() - began


async def test_it_arrives_as_if_it_had_travelled(
    victim: ValkeyServer, make: Make
) -> None:
    """With tags and sender; and not where nobody subscribes."""
    broker = make()
    received = Received(broker)
    await broker.start()
    await broker.subscribe(CHAT)
    victim.kill()
    await put_until_local(broker, 1)
    whole = Publication(
        CHAT, JSONText(b"2"), tags={"lang": "fr"}, sender=ConnectionId("c")
    )
    assert (await broker.publish(whole, LOCAL)).local
    elsewhere = Publication(Channel("chat:other"), JSONText(b"3"))
    assert (await broker.publish(elsewhere, LOCAL)).local
    assert received.publications[1:] == [whole]


@pytest.mark.parametrize(
    "options",
    [
        PLAIN,
        PublishOptions(idempotency_key="k", local=True),
        PublishOptions(Keep(10, 60, 60), local=True),
    ],
    ids=["not asked", "key", "history"],
)
async def test_what_needs_the_store_is_refused(
    victim: ValkeyServer, make: Make, options: PublishOptions
) -> None:
    """Nobody gets what is to be kept or has a key, or what is not asked for."""
    broker = make()
    received = Received(broker)
    await broker.start()
    await broker.subscribe(CHAT)
    victim.kill()
    await put_until_local(broker, 1)
    with pytest.raises(BrokerUnavailable):
        await put(broker, 2, options)
    assert received.on() == [b"1"]


async def test_what_may_have_been_executed_is_not_delivered_here(
    victim: ValkeyServer, make: Make
) -> None:
    """A server that hangs takes it and goes on: it comes once, by pub/sub or never."""
    broker = make()
    received = Received(broker)
    await broker.start()
    await broker.subscribe(CHAT)
    await put(broker, 0)
    with victim.paused():
        with pytest.raises(BrokerUnavailable):
            await put(broker, 1)
        assert b"1" not in received.on()
        assert await put(broker, 2) == Placed(local=True)
    deadline = asyncio.get_running_loop().time() + 20
    while not await broker.probe() or (await put(broker, 3)).local:
        assert asyncio.get_running_loop().time() < deadline
    await eventually(lambda: received.on()[-1:] == [b"3"], "it arrives")
    assert received.on().count(b"1") <= 1
    assert received.on().count(b"2") == 1


async def test_contenders_of_a_new_outage_keep_their_order(
    victim: ValkeyServer, make: Make
) -> None:
    """Those who wait for their turn at the deadline are delivered as they came."""
    broker = make()
    received = Received(broker)
    await broker.start()
    await broker.subscribe(CHAT)
    victim.kill()
    told = await asyncio.gather(
        *(put(broker, n) for n in range(50)), return_exceptions=True
    )
    arrived = [n for n, one in enumerate(told) if isinstance(one, Placed)]
    assert all(
        isinstance(one, BrokerUnavailable) or one == Placed(local=True) for one in told
    )
    later = await asyncio.gather(*(put(broker, n) for n in range(50, 80)))
    assert later == [Placed(local=True)] * 30
    expected = [*arrived, *range(50, 80)]
    assert received.on() == [b"%d" % n for n in expected]
