"""Who comes back has everything, on any node, or is told that it has not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from realtime.errors import DISCONNECTED, Disconnect
from realtime.testing.client import MemoryClient
from realtime.testing.clock import settle
from realtime.types import Channel, JSONText
from tests.engine.recovery_support import (
    MOST,
    PAGE,
    SIZE,
    A,
    cluster,
    data,
    guest,
    publish,
    since,
    subscriber,
)

pytestmark = pytest.mark.anyio


async def test_a_subscriber_is_told_where_it_begins() -> None:
    """Pushes carry the offsets that follow."""
    async with cluster() as ([one, two], _):
        await publish(one, 1, 2)
        client, told = await subscriber(two)
        await publish(one, 3)
        [push] = client.take()

        assert (told["offset"], "recovered" in told) == (2, False)
        assert (push["data"], push["offset"]) == (3, 3)


async def test_a_session_resumes_on_another_node() -> None:
    """What was published in between is in the reply, and the rest follows it."""
    async with cluster() as ([one, two], _):
        client, told = await subscriber(one)
        await publish(one, 1)
        client.lose()
        await publish(one, 2, 3)
        again = MemoryClient(two)
        wanted = [{"id": 7, "channel": A, "since": since(told, 1)}]
        _, answer = await again.say("hello", subscriptions=wanted)
        await publish(one, 4)

        assert (answer["type"], answer["id"]) == ("subscribed", 7)
        assert (answer["recovered"], answer["offset"]) == (True, 3)
        assert [each["data"] for each in answer["publications"]] == [2, 3]
        assert data(again.take()) == [4]


async def test_who_missed_nothing_is_told_so_without_a_read() -> None:
    """The node knows its own position."""
    async with cluster() as ([one, _], _):
        await subscriber(one)
        reads = one.metrics.history_reads.labels("recover")
        _, told = await subscriber(one)
        _, again = await subscriber(one, since=since(told))

        assert again["recovered"] is True
        assert "publications" not in again
        assert reads._value.get() == 0


async def test_what_is_not_kept_any_more_is_told_as_lost() -> None:
    """The client stands at the present, and goes on from there."""
    async with cluster() as ([one, two], _):
        _, told = await subscriber(one)
        await publish(one, *range(SIZE + 1))
        client, answer = await subscriber(two, since=since(told))
        await publish(one, 99)

        assert answer["recovered"] is False
        assert (answer["offset"], "publications" in answer) == (SIZE + 1, False)
        assert data(client.take()) == [99]


async def test_what_is_of_another_epoch_is_told_as_lost() -> None:
    """Offsets of two epochs cannot be compared."""
    async with cluster() as ([one, _], _):
        await publish(one, 1)
        _, answer = await subscriber(one, since={"offset": 1, "epoch": "older"})
        _, again = await subscriber(one, since={"offset": 1, "epoch": "older"})

        assert answer["recovered"] is again["recovered"] is False


async def test_a_position_that_never_was_is_told_as_lost() -> None:
    """Such as after the store has lost its end."""
    async with cluster() as ([one, _], _):
        _, told = await subscriber(one)
        _, answer = await subscriber(one, since=since(told, 5))

        assert (answer["recovered"], answer["offset"]) == (False, 0)


async def test_more_than_a_page_comes_in_pages() -> None:
    """Until the last of them, the client is not subscribed."""
    async with cluster() as ([one, two], _):
        _, told = await subscriber(one)
        await publish(one, *range(2 * PAGE + 1))
        client = await guest(two)
        position, seen, kinds = since(told), [], []
        for _ in range(3):
            [answer] = await client.say("subscribe", channel=A, since=position)
            position = since(answer)
            kinds.append(answer["type"])
            seen += [each["data"] for each in answer["publications"]]

        assert kinds == ["recovering", "recovering", "subscribed"]
        assert seen == list(range(2 * PAGE + 1))


async def test_a_channel_is_let_go_of_after_pages_that_nobody_asks_on() -> None:
    """It is fetched a little longer, for the next page."""
    async with cluster() as ([one, two], shared):
        first, told = await subscriber(one)
        await publish(one, *range(2 * PAGE))
        client = await guest(two)
        [answer] = await client.say("subscribe", channel=A, since=since(told))
        streams = two.services.subscriptions.streams
        lingering = len(streams)
        client.lose()
        first.lose()
        await shared.clock.elapse(6)

        assert (answer["type"], lingering, len(streams)) == ("recovering", 1, 0)


async def test_a_hundred_subscriptions_resume_in_one_round_trip() -> None:
    """Each is answered by itself."""
    async with cluster() as ([one, two], _):
        channels = [Channel(f"chat:{number}") for number in range(100)]
        first, told = await subscriber(one, channels[0])
        epochs = {channels[0]: told["epoch"]}
        for channel in channels[1:]:
            [answer] = await first.say("subscribe", channel=channel)
            epochs[channel] = answer["epoch"]
        first.lose()
        for number, channel in enumerate(channels):
            await publish(one, number, channel=channel)
        again = MemoryClient(two)
        wanted = [
            {"id": number, "channel": channel, "since": since({**told, "epoch": epoch})}
            for number, (channel, epoch) in enumerate(epochs.items())
        ]
        welcome, *answers = await again.say("hello", id=1000, subscriptions=wanted)

        assert welcome["id"] == 1000
        assert {each["id"] for each in answers} == set(range(100))
        assert all(each["recovered"] for each in answers)
        assert all(each["publications"][0]["data"] == each["id"] for each in answers)


async def test_subscriptions_of_hello_fail_one_by_one() -> None:
    """Those that are refused are answered with an error, and count as no mistakes."""
    async with cluster(1) as ([node], _):
        wanted = [
            {"id": 1, "channel": "chat:a"},
            {"id": 2, "channel": "chat:a"},
            {"id": 3, "channel": "nowhere:a"},
            {"id": 4, "channel": "chat:b"},
        ]
        client = MemoryClient(node)
        _, *answers = await client.say("hello", subscriptions=wanted)
        outcomes = {each["id"]: each.get("name", each["type"]) for each in answers}

        assert outcomes == {
            1: "subscribed",
            2: "already_subscribed",
            3: "unknown_channel",
            4: "subscribed",
        }
        assert client.peer.session.errors == 0


async def test_a_subscription_of_hello_may_close_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the code that was meant."""
    async with cluster(1) as ([node], _):

        async def refuses(*_: Any) -> None:
            raise Disconnect(DISCONNECTED)

        monkeypatch.setattr(node.services.subscriptions, "subscribe", refuses)
        client = MemoryClient(node)
        wanted = [{"channel": "chat:a"}, {"channel": "chat:b"}]
        answers = await client.say("hello", subscriptions=wanted)

        assert [each["type"] for each in answers] == ["welcome"]
        assert client.close_code == DISCONNECTED.code


async def test_hello_subscribes_to_no_more_than_the_limit() -> None:
    """What is beyond it is refused, the rest is not."""
    async with cluster(1) as ([node], _):
        wanted = [{"id": n, "channel": f"chat:{n}"} for n in range(MOST + 1)]
        client = MemoryClient(node)
        _, *answers = await client.say("hello", subscriptions=wanted)
        refused = [each for each in answers if each["type"] == "error"]

        assert [(each["id"], each["name"]) for each in refused] == [
            (MOST, "limit_exceeded")
        ]
        assert len(client.peer.session.channels) == MOST


async def test_a_long_hello_lets_others_have_their_turn() -> None:
    """Only a part of its subscriptions is looked at before the loop goes on."""
    async with cluster(1) as ([node], _):
        names = [f"chat:{n}" for n in range(MOST)]
        names += [f"nowhere:{n}" for n in range(2000)]
        wanted = [{"id": n, "channel": name} for n, name in enumerate(names)]
        client = MemoryClient(node)
        client.send_raw(orjson.dumps({"type": "hello", "subscriptions": wanted}))
        turns: list[int] = []
        while sum(turns) < len(wanted) + 1 and len(turns) < 1000:
            await asyncio.sleep(0)
            turns.append(len(client.take()))

        assert sum(turns) == len(wanted) + 1
        assert max(turns) < 200
        assert len(client.peer.session.channels) == MOST


def late(call: Callable[..., Awaitable[Any]], answers: asyncio.Event) -> Any:
    """Return what does the same, but not yet."""

    async def called(*arguments: Any) -> Any:
        await answers.wait()
        return await call(*arguments)

    return called


@pytest.mark.parametrize("turns", range(10))
async def test_nothing_is_left_of_who_is_lost_while_resuming(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever that is: the subscriptions may be just about to be made."""
    async with cluster(1) as ([node], shared):
        answers = asyncio.Event()
        for service, name in (
            (node.parts.broker, "history"),
            (node.parts.presence, "join"),
        ):
            monkeypatch.setattr(service, name, late(getattr(service, name), answers))
        client = MemoryClient(node)
        wanted = [{"channel": A}, {"channel": "hall:a"}]
        assert len(await client.say("hello", subscriptions=wanted)) == 1
        answers.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        client.lose()
        await settle()
        await shared.clock.elapse(10)

        assert len(node.services.subscriptions) == 0
        assert len(node.services.subscriptions.streams) == 0
        assert len(node.people.attendance.rolls) == 0


async def test_a_filter_is_for_what_was_missed_too() -> None:
    """The position goes on over what was left out."""
    async with cluster() as ([one, two], _):
        _, told = await subscriber(one)
        author = await guest(one)
        for number in range(3):
            tags = {"lang": "fr" if number == 1 else "en"}
            await author.say("publish", channel=A, data=number, tags=tags)
        await settle()
        wanted = {"tag": "lang", "eq": "fr"}
        _, answer = await subscriber(two, since=since(told), filter=wanted)

        assert (answer["recovered"], answer["offset"]) == (True, 3)
        assert answer["skips"] is True
        assert [each["data"] for each in answer["publications"]] == [1]


async def test_since_on_a_channel_without_history_is_told_as_lost() -> None:
    """Its namespace may have kept one yesterday."""
    async with cluster(1) as ([node], _):
        _, told = await subscriber(
            node, Channel("plain:a"), since={"offset": 1, "epoch": "e"}
        )

        assert told["recovered"] is False
        assert "offset" not in told


# -- the last value --------------------------------------------------------------------


async def test_the_last_value_is_in_the_reply() -> None:
    """Of a namespace that says so; the first read finds it, then the node knows it."""
    async with cluster() as ([one, two], _):
        price = Channel("price:x")
        await publish(one, 5, channel=price)
        _, first = await subscriber(two, price)
        await publish(one, 6, channel=price)
        _, second = await subscriber(two, price)

        assert (first["data"], second["data"]) == (5, 6)


async def test_the_last_value_comes_with_its_tags() -> None:
    """On the node that it came through, and on one that reads it."""
    async with cluster() as (nodes, _):
        price = Channel("price:x")
        client = await guest(nodes[0])
        tags = {"symbol": "ETH"}
        await client.say("publish", id=9, channel=price, data=5, tags=tags)
        told = [(await subscriber(node, price))[1] for node in nodes]
        await publish(nodes[0], 6, channel=price)
        _, plain = await subscriber(nodes[1], price)

        assert [(one["data"], one["tags"]) for one in told] == [(5, tags)] * 2
        assert (plain["data"], "tags" in plain) == (6, False)


async def test_a_filter_is_for_the_last_value_too() -> None:
    """Who wants another symbol is told neither its data nor its tags."""
    async with cluster(1) as ([node], _):
        price = Channel("price:x")
        client = await guest(node)
        tags = {"symbol": "ETH"}
        await client.say("publish", id=9, channel=price, data=5, tags=tags)
        wanted = {name: {"tag": "symbol", "eq": name} for name in ("ETH", "BTC")}
        _, eth = await subscriber(node, price, filter=wanted["ETH"])
        _, btc = await subscriber(node, price, filter=wanted["BTC"])

        assert (eth["data"], eth["tags"]) == (5, tags)
        assert btc.keys() & {"data", "tags"} == set()
        assert btc["offset"] == 1


async def test_there_may_be_no_last_value() -> None:
    """Then there are no data."""
    async with cluster(1) as ([node], _):
        _, told = await subscriber(node, Channel("price:x"))

        assert "data" not in told


async def test_who_is_recovered_needs_no_last_value() -> None:
    """It has it, or it is among the publications; who lost something is given it."""
    async with cluster() as ([one, two], _):
        price = Channel("price:x")
        _, told = await subscriber(one, price)
        await publish(one, 5, channel=price)
        _, recovered = await subscriber(two, price, since=since(told))
        _, lost = await subscriber(two, price, since={"offset": 0, "epoch": "older"})

        assert (recovered["recovered"], "data" in recovered) == (True, False)
        assert (lost["recovered"], lost["data"]) == (False, 5)


# -- crowds ----------------------------------------------------------------------------


async def test_a_crowd_that_comes_back_reads_once() -> None:
    """What one read has found answers everybody."""
    async with cluster() as ([one, two], _):
        _, told = await subscriber(one)
        await publish(one, 1, 2, 3)
        crowd = [await guest(two) for _ in range(300)]
        for client in crowd:
            client.send_raw(
                b'{"type":"subscribe","channel":"chat:a","since":'
                b'{"offset":%d,"epoch":"%s"}}' % (0, told["epoch"].encode())
            )
        await settle(30)
        answers = [client.take()[0] for client in crowd]
        reads = two.metrics.history_reads.collect()[0].samples

        assert all(each["recovered"] for each in answers)
        assert all(len(each["publications"]) == 3 for each in answers)
        assert sum(one.value for one in reads if one.name.endswith("_total")) == 1


async def test_a_reader_without_room_is_told_later() -> None:
    """What was missed never closes the connection of who comes back for it."""
    async with cluster() as ([one, two], shared):
        channels = [Channel(f"chat:{number}") for number in range(20)]
        first, _ = await subscriber(one, Channel("chat:none"))
        places = {}
        for channel in channels:
            [told] = await first.say("subscribe", channel=channel)
            places[channel] = since(told)
        for channel in channels:
            for _ in range(PAGE):
                await one.publish(channel, JSONText(b'"%s"' % (b"x" * 60_000)))
        await settle()
        slow = await guest(two)
        slow.peer.paused()
        for channel, place in places.items():
            slow.send_raw(
                orjson.dumps({"type": "subscribe", "channel": channel, "since": place})
            )
        await shared.clock.elapse(5)
        waiting, closed = slow.peer.outbox.waiting_bytes, slow.close_code
        seen = []
        for _ in range(40):
            slow.peer.resumed()
            await shared.clock.elapse(1)
            seen += slow.take()
            slow.peer.paused()

    assert (closed, waiting < 1024 * 1024) == (None, True)
    assert {each["type"] for each in seen} <= {"subscribed", "recovering"}
    assert len(seen) == len(channels)


async def test_a_hello_is_answered_in_no_more_than_there_is_room_for() -> None:
    """However much was missed of all that it names, and though others know it all."""
    async with cluster() as ([one, two], _):
        channels = [Channel(f"chat:{number}") for number in range(20)]
        first, crowd = await guest(one), await guest(two)
        wanted = []
        for channel in channels:
            [told] = await first.say("subscribe", channel=channel)
            wanted.append({"channel": channel, "since": since(told)})
        for channel in channels:
            for _ in range(PAGE):
                await one.publish(channel, JSONText(b'"%s"' % (b"x" * 60_000)))
        for each in wanted:
            await crowd.say("subscribe", **each)
        client = MemoryClient(two)
        client.send_raw(orjson.dumps({"type": "hello", "subscriptions": wanted}))
        [answer] = client.socket.frames

    assert len(answer) < 1024 * 1024
