"""The broker through Redis while connections and servers fail."""

from __future__ import annotations

import asyncio

import pytest

from realtime.adapters.broker.redis import RedisBroker
from realtime.errors import BrokerUnavailable
from realtime.testing.contracts_broker import CHAT, Received, publish
from realtime.testing.ledger_kit import eventually
from realtime.testing.servers import ValkeyServer
from tests.adapters.conftest import MakeLink, MakePubSub

pytestmark = pytest.mark.anyio


async def test_a_hanging_server(
    victim: ValkeyServer, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """Nothing is accepted or proved while the server hangs; afterwards all works."""
    link = make_link(victim.url, timeout_s=0.2)
    broker = RedisBroker(link, make_pubsub(link), "t")
    await broker.start()
    received = Received(broker)
    await broker.subscribe(CHAT)
    with victim.paused():
        with pytest.raises(BrokerUnavailable):
            await publish(broker, b"1")
        with pytest.raises(BrokerUnavailable):
            await broker.subscribe("chat:new")
        assert not await broker.probe()
    deadline = asyncio.get_running_loop().time() + 10
    while not await broker.probe():
        assert asyncio.get_running_loop().time() < deadline
    await publish(broker, b"2")
    await eventually(lambda: b"2" in received.on(), "it arrives")
    assert received.on() in ([b"2"], [b"1", b"2"])  # the first may have been executed


async def test_a_killed_connection(
    valkey: ValkeyServer, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """The channels are subscribed again after CLIENT KILL TYPE pubsub."""
    link = make_link(valkey.url)
    pubsub = make_pubsub(link)
    broker, whole = RedisBroker(link, pubsub, "killed"), asyncio.Event()
    pubsub.on_reconnected.append(whole.set)
    await broker.start()
    received = Received(broker)
    await broker.subscribe(CHAT)
    valkey.command("CLIENT", "KILL", "TYPE", "pubsub")
    await asyncio.wait_for(whole.wait(), 10)
    await publish(broker, b"1")
    await received.until_end()
    assert received.on() == [b"1"]


async def test_starting_without_a_server(
    victim: ValkeyServer, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """With nobody to connect to, start and publish say so."""
    link = make_link(victim.url, timeout_s=0.1)
    victim.kill()
    broker = RedisBroker(link, make_pubsub(link), "t")
    with pytest.raises(BrokerUnavailable):
        await broker.start()
    with pytest.raises(BrokerUnavailable):
        await publish(broker, b"1")
