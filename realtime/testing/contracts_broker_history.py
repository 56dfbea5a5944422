"""
The contract of brokers, second part: what channels keep, and how it is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from realtime.adapters.broker.port import (
    Broker,
    History,
    HistoryQuery,
    Keep,
    Placed,
    PublishOptions,
)
from realtime.testing.contracts_broker import CHAT, Brokers, Received
from realtime.testing.contracts_broker import publish as publish_plainly
from realtime.testing.ledger_kit import eventually
from realtime.types import (
    Channel,
    ConnectionId,
    JSONText,
    Position,
    Publication,
    PublicationKind,
)

KEEP = Keep(size=5, ttl_s=3600.0, meta_ttl_s=7200.0)


async def put(
    broker: Broker, *data: bytes, keep: Keep = KEEP, channel: Channel = CHAT
) -> list[Position]:
    """Publish each of *data* with a history; return their positions."""
    found = [
        await broker.publish(Publication(channel, JSONText(each)), PublishOptions(keep))
        for each in data
    ]
    return [position_of(placed) for placed in found]


def position_of(placed: Placed) -> Position:
    """Return the position, which must be there."""
    assert placed.position is not None
    return placed.position


async def read(
    broker: Broker,
    since: Position | None = None,
    limit: int = 100,
    *,
    reverse: bool = False,
    max_bytes: int = 10_000,
    keep: Keep = KEEP,
    channel: Channel = CHAT,
) -> History:
    """Read a part of the history."""
    query = HistoryQuery(since, limit, reverse, max_bytes)
    return await broker.history(channel, query, keep)


def data_of(publications: Sequence[Publication]) -> list[bytes]:
    """Return the data alone."""
    return [bytes(each.data) for each in publications]


def numbers(first: int, last: int) -> list[bytes]:
    """Return the data that the publications with these offsets have in the tests."""
    return [b"%d" % number for number in range(first, last + 1)]


class HistoryContract:
    """Offsets are dense, order is kept, and nothing is missing without being told."""

    async def test_offsets_grow_by_one(self, brokers: Brokers) -> None:
        """The first offset is 1, each next one is greater by one, the epoch stays."""
        one, two = await brokers.open(), await brokers.open()
        places = [(await put(each, b"x"))[0] for each in (one, two, one, one, two)]
        assert [place.offset for place in places] == [1, 2, 3, 4, 5]
        assert len({place.epoch for place in places}) == 1
        assert 1 <= len(places[0].epoch) <= 64

    async def test_what_arrives_and_what_is_kept_are_the_same(
        self, brokers: Brokers
    ) -> None:
        """Subscribers and readers get the publication whole, at the place told."""
        received = Received(await brokers.open())
        await received.broker.subscribe(CHAT)
        sent = [
            Publication(CHAT, JSONText(b"")),
            Publication(CHAT, JSONText(b"1"), tags={"symbol": "\u00fc"}),
            Publication(CHAT, JSONText(b"2"), sender=ConnectionId("c1")),
            Publication(CHAT, JSONText(b"3"), kind=PublicationKind.JOIN),
            Publication(CHAT, JSONText(b"[" + b"1," * 50_000 + b"1]"), tags={"a": ""}),
        ]
        options, expected = PublishOptions(KEEP), []
        for each in sent:
            place = position_of(await received.broker.publish(each, options))
            expected.append(
                Publication(CHAT, each.data, place, each.tags, each.sender, each.kind)
            )
        await eventually(lambda: len(received.publications) == 5, "all arrive")
        assert received.publications == expected
        found = await read(received.broker, max_bytes=10**6)
        assert list(found.publications) == expected

    async def test_a_position_of_its_own_is_ignored(self, brokers: Brokers) -> None:
        """The broker numbers publications, whatever they say."""
        broker = await brokers.open()
        for own in (None, Position(77, "mine")):
            publication = Publication(CHAT, JSONText(b"1"), own)
            placed = await broker.publish(publication, PublishOptions(KEEP))
            assert position_of(placed).epoch != "mine"
        assert position_of(placed).offset == 2

    async def test_without_keep_there_is_no_position(self, brokers: Brokers) -> None:
        """A plain publication is delivered, and neither numbered nor kept."""
        received = Received(await brokers.open())
        await received.broker.subscribe(CHAT)
        await put(received.broker, b"1")
        placed = await received.broker.publish(Publication(CHAT, JSONText(b"plain")))
        assert placed == Placed()
        await put(received.broker, b"2")
        await eventually(lambda: len(received.publications) == 3, "all arrive")
        assert received.on() == [b"1", b"plain", b"2"]
        assert received.publications[1].position is None
        found = await read(received.broker)
        assert data_of(found.publications) == [b"1", b"2"]

    async def test_only_the_last_are_kept(self, brokers: Brokers) -> None:
        """Beyond its size a channel lets go of the oldest; the offsets go on."""
        broker = await brokers.open()
        places = await put(broker, *numbers(1, 12))
        found = await read(broker)
        assert data_of(found.publications) == numbers(8, 12)
        assert [p.position for p in found.publications] == places[7:]
        none = Keep(0, 3600.0, 7200.0)
        assert (await put(broker, b"13", keep=none))[0].offset == 13
        found = await read(broker, keep=none)
        assert (data_of(found.publications), found.top.offset) == ([], 13)

    async def test_channels_have_epochs_of_their_own(self, brokers: Brokers) -> None:
        """No two channels share an epoch or a history, whatever their names."""
        broker = await brokers.open()
        names = ["a", "{a}", "{a}b", "a:h", "a:m", "a:i:k", "%7Ba%7D", "\u00fc {", "}{"]
        channels = [Channel(name) for name in names]
        for channel in channels:
            await put(broker, channel.encode(), channel=channel)
        tops = await broker.tops(channels, KEEP)
        assert [top.offset for top in tops] == [1] * len(names)
        assert len({top.epoch for top in tops}) == len(names)
        for channel in channels:
            found = await read(broker, channel=channel)
            assert data_of(found.publications) == [channel.encode()]

    async def test_forgetting(self, brokers: Brokers) -> None:
        """What was kept is gone, offset and epoch go on, and the hole is told."""
        one, two = await brokers.open(), await brokers.open()
        places = await put(one, *numbers(1, 3))
        await two.forget(CHAT)
        await two.forget(Channel("chat:never"))
        found = await read(one)
        assert (found.publications, found.top, found.more) == ([], places[2], False)
        assert (await read(one, places[2])).complete
        assert not (await read(one, places[1])).complete
        (fourth,) = await put(one, b"4")
        assert fourth == Position(4, places[0].epoch)
        assert (await read(two, places[2])).complete
        found = await read(two, places[1])
        assert (data_of(found.publications), found.complete) == ([b"4"], False)

    async def test_nothing_is_kept_longer_than_its_time(self, brokers: Brokers) -> None:
        """Publications older than ttl_s are not returned, newer ones are."""
        broker, keep = await brokers.open(), Keep(5, 0.25, 3600.0)
        (old,) = await put(broker, b"old")
        await brokers.pass_s(0.3)
        for number in range(100):  # until one is read before it is old itself
            (new,) = await put(broker, b"%d" % number)
            found = await read(broker, keep=keep)
            assert b"old" not in data_of(found.publications)
            if found.publications and found.publications[-1].position == new:
                break
        else:
            raise AssertionError("what is new is not returned")
        assert not (await read(broker, Position(0, old.epoch), keep=keep)).complete
        reverse = await read(broker, keep=keep, reverse=True)
        assert b"old" not in data_of(reverse.publications)

    async def test_an_idle_channel_keeps_nothing_but_its_position(
        self, brokers: Brokers
    ) -> None:
        """After ttl_s the history is empty, and says so; the offsets go on."""
        broker, keep = await brokers.open(), Keep(5, 0.1, 3600.0)
        places = await put(broker, b"1", b"2", keep=keep)
        await brokers.pass_s(0.15)
        found = await read(broker, places[0], keep=keep)
        assert (found.publications, found.complete) == ([], False)
        assert (await read(broker, places[1], keep=keep)).complete
        assert await put(broker, b"3", keep=keep) == [Position(3, places[0].epoch)]

    async def test_an_unused_channel_is_forgotten(self, brokers: Brokers) -> None:
        """After meta_ttl_s offsets start anew, under an epoch that says so."""
        broker, keep = await brokers.open(), Keep(5, 0.05, 0.1)
        places = await put(broker, b"1", b"2", keep=keep)
        await brokers.pass_s(0.15)
        (again,) = await put(broker, b"3")
        assert again.offset == 1
        assert again.epoch != places[0].epoch
        for place in places:
            found = await read(broker, place)
            assert (data_of(found.publications), found.complete) == ([b"3"], False)

    async def test_whoever_watches_a_channel_uses_it(self, brokers: Brokers) -> None:
        """Reading and asking for tops keep the position of a quiet channel."""
        broker, short = await brokers.open(), Keep(5, 0.05, 0.2)
        other = Channel("chat:other")
        for channel in (CHAT, other):
            await put(broker, b"1", keep=short, channel=channel)
        await read(broker)
        (top,) = await broker.tops([other], KEEP)
        await brokers.pass_s(0.3)
        assert (await read(broker)).top.offset == 1
        assert list(await broker.tops([other], KEEP)) == [top]

    async def test_two_nodes_at_once(self, brokers: Brokers) -> None:
        """
        Offsets are dense, each node's order is kept, and arrival is in their order.
        """
        keep = Keep(1000, 3600.0, 7200.0)
        nodes = [Received(await brokers.open()) for _ in range(2)]
        for node in nodes:
            await node.broker.subscribe(CHAT)
        sent = [(i, b"%d-%d" % (i, n)) for n in range(150) for i in range(2)]
        await asyncio.gather(*(put(nodes[i].broker, d, keep=keep) for i, d in sent))
        for node in nodes:
            await eventually(lambda n=node: len(n.publications) == 300, "all arrive")  # type: ignore[misc]
            assert [p.position and p.position.offset for p in node.publications] == [
                *range(1, 301)
            ]
            for number in range(2):
                of_one = [d for d in node.on() if d.startswith(b"%d-" % number)]
                assert of_one == [b"%d-%d" % (number, n) for n in range(150)]
        found = await read(nodes[0].broker, limit=1000, keep=keep)
        assert list(found.publications) == nodes[0].publications

    async def test_plain_and_kept_ones_keep_their_order(self, brokers: Brokers) -> None:
        """With and without a position, of one node they arrive as they were sent."""
        received = Received(await brokers.open())
        await received.broker.subscribe(CHAT)
        expected = numbers(1, 200)
        await asyncio.gather(
            *(
                put(received.broker, data)
                if number % 3
                else publish_plainly(received.broker, data)
                for number, data in enumerate(expected)
            )
        )
        await eventually(lambda: len(received.publications) == 200, "all arrive")
        assert received.on() == expected
