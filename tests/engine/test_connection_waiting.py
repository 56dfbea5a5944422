"""
What happens on a connection while one of its commands waits for something slow.
"""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from realtime.adapters.broker.memory import Bus, MemoryBroker
from realtime.adapters.broker.port import PLAIN, Placed, PublishOptions
from realtime.engine.node import Node
from realtime.testing.client import MemoryClient
from realtime.testing.clock import ManualClock, settle
from realtime.testing.nodes import memory_node
from realtime.types import Channel, Publication

pytestmark = pytest.mark.anyio

CONFIG = """
[auth]
anonymous = true

[events]
track = "anyone"

[namespaces.chat]
subscribe = "anyone"
publish = "anyone"
"""


class SlowBroker(MemoryBroker):
    """A broker that answers when it is told to; the node's own, for these tests."""

    gate: asyncio.Event

    def __init__(self) -> None:
        super().__init__(Bus())

    async def publish(
        self, publication: Publication, options: PublishOptions = PLAIN
    ) -> Placed:
        """Hand it over, once the gate is open."""
        await self.gate.wait()
        return await super().publish(publication, options)

    async def subscribe(self, channel: Channel) -> None:
        """Subscribe, once the gate is open; to what nodes tell each other, at once."""
        if not channel.startswith("@"):
            await self.gate.wait()
        await super().subscribe(channel)


@asynccontextmanager
async def running(
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[tuple[Node, MemoryClient, asyncio.Event]]:
    """A node with a welcomed client; the broker's gate is shut."""
    gate = SlowBroker.gate = asyncio.Event()
    monkeypatch.setattr("realtime.adapters.build.MemoryBroker", SlowBroker)
    async with memory_node(CONFIG, ManualClock()) as (node, _):
        client = MemoryClient(node)
        await client.hello(device="phone", secret="0123456789abcdef")
        yield node, client, gate


async def test_commands_behind_a_slow_one_keep_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only ping is answered at once."""
    async with running(monkeypatch) as (_, client, gate):
        await client.say("publish", id=1, channel="chat:a", data=1)
        await client.say("unsubscribe", id=2, channel="chat:a")
        await client.say("subscribe", id=3, channel="chat:a")
        [pong] = await client.say("ping", id=4)
        gate.set()
        await settle()

        assert pong["id"] == 4
        assert [(one["type"], one["id"]) for one in client.take()] == [
            ("published", 1),
            ("error", 2),
            ("subscribed", 3),
        ]


async def test_who_sends_many_commands_meanwhile_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reading goes on when they have been handled."""
    async with running(monkeypatch) as (_, client, gate):
        await client.say("publish", channel="chat:a", data=1)
        for _ in range(64):
            assert client.socket.reading
            client.send_raw(b'{"type":"unsubscribe","channel":"chat:a"}')
        assert not client.socket.reading

        gate.set()
        await settle()
        assert client.socket.reading


async def test_who_sends_large_commands_meanwhile_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What waits is bounded in bytes, too."""
    async with running(monkeypatch) as (_, client, gate):
        await client.say("publish", channel="chat:a", data=1)
        large = b'{"type":"track","first":1,"events":[],"more":"%b"}' % (b"x" * 40_000)
        client.send_raw(large)
        assert client.socket.reading
        client.send_raw(large)
        assert not client.socket.reading

        gate.set()
        await settle()
        assert client.socket.reading


async def test_a_subscription_under_way_ends_with_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever asked for it is gone, so nobody holds the channel."""
    async with running(monkeypatch) as (node, client, gate):
        await client.say("subscribe", channel="chat:a")
        await client.say("subscribe", channel="chat:b")
        client.lose()
        gate.set()
        await settle()

        assert len(node.services.subscriptions) == 0
        names = {*node.services.subscriptions._broker_channels._needs}
        names |= node.parts.broker._channels  # type: ignore[attr-defined]
        assert {name for name in names if not name.startswith("@")} == set()


async def test_a_connection_lost_with_its_command_leaves_nothing_undone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The command has not begun yet, and Python would complain of it."""
    async with running(monkeypatch) as (node, client, _):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            client.send_raw(b'{"type":"subscribe","channel":"chat:a"}')
            client.lose()
            await settle()
            gc.collect()

        assert len(node.services.subscriptions) == 0


async def test_a_defect_in_a_command_that_waited_closes_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it does for one that did not wait; what is behind it is not handled alone."""
    async with running(monkeypatch) as (node, client, gate):

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(node.services.access, "check_subscribe", fail)
        await client.say("publish", channel="chat:a", data=1)
        await client.say("subscribe", channel="chat:a")
        await client.say("publish", id=3, channel="chat:a", data=2)
        gate.set()
        await settle()

        assert client.close_code == 4005
        assert client.take() == []


async def test_very_many_subscriptions_let_others_have_their_turn() -> None:
    """Though none waits for anything, not all that come together are made together."""
    clock = ManualClock()
    async with memory_node(CONFIG, clock) as (node, _):
        busy = MemoryClient(node)
        await busy.hello()
        for _ in range(1000):
            busy.send_raw(b'{"type":"subscribe","channel":"chat:a"}')
            busy.send_raw(b'{"type":"unsubscribe","channel":"chat:a"}')
        at_once = len(busy.take())
        await settle()
        later = len(busy.take())

    assert at_once < 1100
    assert at_once + later == 2000
