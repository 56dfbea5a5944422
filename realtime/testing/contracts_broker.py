"""
The contract suite of brokers: every form must pass it.

Subclass ``BrokerContract`` in a test module, with the anyio plugin, and provide the
fixture ``brokers``: ``open`` returns a further broker, started, as another node has it;
the fixture closes all that were opened. The other parts of the suite, which need the
same, are in contracts_broker_history, _reading, _once and _model.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol

from realtime.adapters.broker.port import Broker, Placed, PublishOptions
from realtime.testing.ledger_kit import eventually
from realtime.types import (
    Channel,
    ConnectionId,
    JSONText,
    Position,
    Publication,
    PublicationKind,
)

CHAT = Channel("chat:42")
END = Channel("test:end")
LOCAL = PublishOptions(local=True)


class Brokers(Protocol):
    """What the suite asks of a form of broker."""

    is_manual: bool
    """Whether time passes only in ``pass_s``."""

    async def open(self) -> Broker: ...

    async def pass_s(self, seconds: float) -> None:
        """Let so much time pass on the clock by which things expire."""


class Received:
    """What a broker delivered; set it as ``on_publication`` by making one."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.publications: list[Publication] = []
        broker.on_publication = self.publications.append

    def on(self, channel: Channel = CHAT) -> list[bytes]:
        """The data of the publications on *channel*, in the order of arrival."""
        return [bytes(p.data) for p in self.publications if p.channel == channel]

    async def until_end(self) -> None:
        """Wait until all that was published before has arrived, or never will."""
        await self.broker.subscribe(END)
        before = len(self.on(END))
        await publish(self.broker, b"end", END)
        await eventually(lambda: len(self.on(END)) > before, "the end has come")


async def publish(broker: Broker, data: bytes, channel: Channel = CHAT) -> None:
    """Publish *data* without a position."""
    await broker.publish(Publication(channel, JSONText(data)))


class BrokerContract:
    """Every node with subscribers gets every publication, in order, at most once."""

    async def test_a_publication_arrives_everywhere_once(
        self, brokers: Brokers
    ) -> None:
        """Subscribed nodes get it, the publishing one among them; others do not."""
        received = [Received(await brokers.open()) for _ in range(4)]
        for each in received[:3]:
            await each.broker.subscribe(CHAT)
        await publish(received[0].broker, b'"hello"')
        await publish(received[3].broker, b'"world"')
        for each in received[:3]:
            await eventually(lambda e=each: len(e.on()) == 2, "both arrive")  # type: ignore[misc]
            await each.until_end()
            assert sorted(each.on()) == [b'"hello"', b'"world"']
        await received[3].until_end()
        assert received[3].on() == []

    async def test_what_can_travel_is_not_local(self, brokers: Brokers) -> None:
        """Asking for local delivery, should all else fail, changes nothing else."""
        here, there = Received(await brokers.open()), Received(await brokers.open())
        for each in (here, there):
            await each.broker.subscribe(CHAT)
        publication = Publication(CHAT, JSONText(b"1"))
        assert await here.broker.publish(publication, LOCAL) == Placed()
        for each in (here, there):
            await each.until_end()
            assert each.on() == [b"1"]

    async def test_a_publication_arrives_as_it_was(self, brokers: Brokers) -> None:
        """All but a position of its own arrives unchanged, whatever the size."""
        received = Received(await brokers.open())
        await received.broker.subscribe(CHAT)
        sent = [
            Publication(CHAT, JSONText(b"")),
            Publication(CHAT, JSONText(b'{"a":"\xc3\xa4\\u0000"}')),
            Publication(CHAT, JSONText(b"7"), tags={"a": "1", "": "\u00fc"}),
            Publication(CHAT, JSONText(b"7"), sender=ConnectionId("c1")),
            Publication(CHAT, JSONText(b"{}"), kind=PublicationKind.LEAVE),
            Publication(CHAT, JSONText(b"[" + b"1," * 100_000 + b"1]")),
        ]
        for publication in sent:
            with_position = replace(publication, position=Position(7, "mine"))
            await received.broker.publish(with_position)
        await eventually(lambda: len(received.publications) == len(sent), "all arrive")
        assert received.publications == sent

    async def test_publications_of_a_node_keep_their_order(
        self, brokers: Brokers
    ) -> None:
        """What one node publishes on one channel arrives in that order everywhere."""
        one, two = Received(await brokers.open()), Received(await brokers.open())
        for each in (one, two):
            await each.broker.subscribe(CHAT)
        expected = [b"%d" % number for number in range(250)]
        # All at once: the order is that of the calls, not that of their ends.
        await asyncio.gather(*(publish(one.broker, data) for data in expected))
        for each in (one, two):
            await eventually(lambda e=each: len(e.on()) == 250, "all arrive")  # type: ignore[misc]
            assert each.on() == expected

    async def test_what_is_published_after_subscribing_arrives(
        self, brokers: Brokers
    ) -> None:
        """When subscribe has returned, nothing published from then on is missed."""
        one, two = Received(await brokers.open()), Received(await brokers.open())
        channels = [Channel(f"chat:{number}") for number in range(300)]
        for channel in channels[:20]:
            await two.broker.subscribe(channel)
            await publish(one.broker, b"1", channel)
        await asyncio.gather(*(two.broker.subscribe(c) for c in channels[20:]))
        await asyncio.gather(*(publish(one.broker, b"1", c) for c in channels[20:]))
        await eventually(lambda: len(two.publications) == 300, "all arrive")
        assert {each.channel for each in two.publications} == set(channels)

    async def test_subscribing_twice_delivers_once(self, brokers: Brokers) -> None:
        """A second subscription to a channel is no second delivery."""
        received = Received(await brokers.open())
        for _ in range(3):
            await received.broker.subscribe(CHAT)
        await publish(received.broker, b"1")
        await received.until_end()
        assert received.on() == [b"1"]

    async def test_after_unsubscribing_nothing_arrives(self, brokers: Brokers) -> None:
        """Unsubscribing ends all subscriptions of the channel; others stay."""
        received, other = Received(await brokers.open()), Channel("chat:43")
        for channel in (CHAT, CHAT, other):
            await received.broker.subscribe(channel)
        await received.broker.unsubscribe(CHAT)
        await received.broker.unsubscribe(CHAT)
        await received.broker.unsubscribe(Channel("chat:never"))
        for channel in (CHAT, other):
            await publish(received.broker, b"1", channel)
        await eventually(lambda: received.on(other) == [b"1"], "the other arrives")
        await received.until_end()
        assert received.on() == []

    async def test_a_late_unsubscribe_does_not_undo_a_newer_subscribe(
        self, brokers: Brokers
    ) -> None:
        """The last of subscribe and unsubscribe that was called holds."""
        received = Received(await brokers.open())
        broker = received.broker
        for _ in range(5):
            await broker.subscribe(CHAT)
            await asyncio.gather(broker.unsubscribe(CHAT), broker.subscribe(CHAT))
        await publish(broker, b"1")
        await eventually(lambda: received.on() == [b"1"], "it arrives")
        await asyncio.gather(broker.subscribe(CHAT), broker.unsubscribe(CHAT))
        await publish(broker, b"2")
        await received.until_end()
        assert received.on() == [b"1"]

    async def test_names_of_channels_are_not_interpreted(
        self, brokers: Brokers
    ) -> None:
        """Any string is a channel, and different ones are different."""
        received = Received(await brokers.open())
        names = ["chat:{a}", "chat:{a}b", "chat:*", "chat:[ab]", "chat: ü🙂", "c\0", ""]
        for name in names:
            await received.broker.subscribe(Channel(name))
        for name in names:
            await publish(received.broker, name.encode(), Channel(name))
        await eventually(lambda: len(received.publications) == len(names), "all arrive")
        assert {p.channel: p.data for p in received.publications} == {
            name: name.encode() for name in names
        }

    async def test_a_probe_succeeds(self, brokers: Brokers) -> None:
        """A broker that can deliver proves it, as often as it is asked."""
        broker = await brokers.open()
        assert await broker.probe()
        assert await asyncio.gather(*(broker.probe() for _ in range(5))) == [True] * 5

    async def test_a_closed_broker_delivers_nothing(self, brokers: Brokers) -> None:
        """After aclose, which may be repeated, on_publication is not called."""
        one, two = Received(await brokers.open()), Received(await brokers.open())
        for each in (one, two):
            await each.broker.subscribe(CHAT)
        await one.broker.aclose()
        await one.broker.aclose()
        await publish(two.broker, b"1")
        await two.until_end()
        assert (one.on(), two.on()) == ([], [b"1"])

    async def test_starting_twice_is_harmless(self, brokers: Brokers) -> None:
        """A second start changes nothing."""
        received = Received(await brokers.open())
        await received.broker.subscribe(CHAT)
        await received.broker.start()
        await publish(received.broker, b"1")
        await received.until_end()
        assert received.on() == [b"1"]
