"""Filters, intervals and slow readers, as a client of a node sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from realtime.engine.node import Node
from realtime.testing.client import MSGPACK_V1, MemoryClient
from realtime.testing.clock import ManualClock
from realtime.testing.nodes import memory_node
from tests.engine.support import PHONE

pytestmark = pytest.mark.anyio

CONFIG = """
[auth]
anonymous = true

[limits]
max_outbox = "4KiB"
max_publication = 1000

[events]
track = "anyone"

[counters.likes]
event = "like"
windows = ["total"]
watch = "anyone"

[namespaces.prices]
subscribe = "anyone"
publish = "anyone"
history_size = 100
conflate = "1s"
conflate_by = "symbol"

[namespaces.plain]
subscribe = "anyone"
publish = "anyone"
history_size = 100

[namespaces.feed]
subscribe = "anyone"
publish = "anyone"
history_size = 100
overflow = "drop"
"""


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Node, ManualClock]]:
    """A node with prices, on a clock that stands still."""
    async with memory_node(CONFIG) as both:
        yield both


async def client_of(node: Node, subprotocol: str = "realtime.v1.json") -> MemoryClient:
    """A client that has said hello."""
    client = MemoryClient(node, subprotocol)
    await client.hello()
    return client


async def publish(
    author: MemoryClient, channel: str, *symbols: str, **fields: Any
) -> None:
    """Publish one after the other; the data is the symbol."""
    for symbol in symbols:
        [answer] = await author.say(
            "publish",
            id=1,
            channel=channel,
            data=symbol,
            tags={"symbol": symbol[:3]},
            **fields,
        )
        assert answer["type"] == "published"


def data_of(client: MemoryClient) -> list[Any]:
    """The data of the pushes since the last call; other messages by their type."""
    return [one.get("data", one["type"]) for one in client.take()]


async def test_a_filter_is_given_with_the_subscription() -> None:
    """It holds for this client alone, in either codec."""
    async with running() as (node, _):
        author = await client_of(node)
        picky = await client_of(node, MSGPACK_V1)
        wanted = {"tag": "symbol", "in": ["BTC", "ETH"]}
        [reply] = await picky.say("subscribe", channel="plain:a", filter=wanted)
        plain = await client_of(node)
        await plain.say("subscribe", channel="plain:a")
        await publish(author, "plain:a", "BTC1", "SOL1", "ETH1")

        assert reply["skips"] is True
        assert data_of(picky) == ["BTC1", "ETH1"]
        assert data_of(plain) == ["BTC1", "SOL1", "ETH1"]


async def test_a_malformed_filter_is_answered_with_its_path() -> None:
    """The session lives, and is not subscribed."""
    async with running() as (node, _):
        client = await client_of(node)
        wrong = {"any": [{"tag": "symbol", "equals": "BTC"}]}
        [answer] = await client.say("subscribe", id=3, channel="plain:a", filter=wrong)

        assert (answer["name"], answer["field"]) == ("bad_message", "filter.any[0]")
        assert len(node.services.subscriptions) == 0


async def test_the_namespace_merges_by_its_tag() -> None:
    """The first one at once; then the latest of each symbol once a second."""
    async with running() as (node, clock):
        author, watcher = await client_of(node), await client_of(node)
        await watcher.say("subscribe", channel="prices:a")
        await publish(author, "prices:a", "BTC1", "BTC2", "ETH1", "BTC3")
        assert data_of(watcher) == ["BTC1"]
        await clock.elapse(1)
        assert data_of(watcher) == ["ETH1", "BTC3"]


async def test_a_client_may_ask_for_less() -> None:
    """Never for more."""
    async with running() as (node, clock):
        author = await client_of(node)
        slow, hasty = await client_of(node), await client_of(node)
        await slow.say("subscribe", channel="prices:a", interval_s=4)
        await hasty.say("subscribe", channel="prices:a", interval_s=0.05)
        await publish(author, "prices:a", "BTC1", "BTC2")
        await clock.elapse(1)
        assert (data_of(slow), data_of(hasty)) == (["BTC1"], ["BTC1", "BTC2"])
        await clock.elapse(4)
        assert data_of(slow) == ["BTC2"]


async def test_coming_back_recovers_what_had_not_left() -> None:
    """What waited for the end of an interval when the client was lost is not lost."""
    async with running() as (node, clock):
        author, first = await client_of(node), await client_of(node)
        [joined] = await first.say("subscribe", channel="prices:a")
        await publish(author, "prices:a", "BTC1", "ETH1", "BTC2")
        [push] = first.take()
        first.lose()
        back = await client_of(node)
        since = {"offset": push["offset"], "epoch": joined["epoch"]}
        [reply] = await back.say("subscribe", channel="prices:a", since=since)

        assert reply["recovered"] is True
        assert [one["data"] for one in reply["publications"]] == ["ETH1", "BTC2"]
        await clock.elapse(2)
        assert back.take() == []


async def test_a_new_subscriber_gets_nothing_that_its_position_covers() -> None:
    """Although it still waits for others."""
    async with running() as (node, clock):
        author, early = await client_of(node), await client_of(node)
        await early.say("subscribe", channel="prices:a")
        await publish(author, "prices:a", "BTC1", "ETH1")
        late = await client_of(node)
        [joined] = await late.say("subscribe", channel="prices:a")
        await publish(author, "prices:a", "BTC2")
        await clock.elapse(1)

        assert joined["offset"] == 2
        assert data_of(late) == ["BTC2"]
        assert data_of(early) == ["BTC1", "ETH1", "BTC2"]


async def test_the_sender_may_be_left_out() -> None:
    """Of what it publishes itself."""
    async with running() as (node, _):
        author, other = await client_of(node), await client_of(node)
        for client in (author, other):
            await client.say("subscribe", channel="plain:a")
        await publish(author, "plain:a", "BTC1", exclude_self=True)

        assert data_of(author) == []
        assert data_of(other) == ["BTC1"]


async def test_a_watcher_may_ask_for_an_interval() -> None:
    """Values come less often, the latest at last; a filter is refused."""
    async with running() as (node, clock):
        phone, watcher = MemoryClient(node), await client_of(node)
        await phone.hello(**PHONE)
        live = "live:likes;window=total"
        [refused] = await watcher.say(
            "subscribe", channel=live, filter={"tag": "a", "eq": "b"}
        )
        assert (refused["name"], refused["field"]) == ("not_available", "filter")
        await watcher.say("subscribe", channel=live, interval_s=2)
        for seq in range(1, 31):
            await phone.track(seq, "like")
            await clock.elapse(0.1)
        await clock.elapse(3)
        values = [one["data"]["value"] for one in watcher.take()]

        assert values[-1] == 30
        assert len(values) <= 4


async def test_a_slow_reader_is_told_what_it_lost() -> None:
    """And metrics count it; then it goes on."""
    async with running() as (node, _):
        author, slow = await client_of(node), await client_of(node)
        [joined] = await slow.say("subscribe", channel="feed:a")
        slow.peer.paused()
        for at in range(20):
            await publish(author, "feed:a", f"BTC{at:0500}")
        assert slow.peer.outbox.waiting_bytes <= 4096
        slow.peer.resumed()
        await publish(author, "feed:a", "BTC-last")
        gap, push = slow.take()

        assert gap == {
            "type": "gap",
            "channel": joined["number"],
            "offset": 20,
            "epoch": joined["epoch"],
        }
        assert (push["data"], push["offset"]) == ("BTC-last", 21)
        assert slow.close_code is None
        assert node.metrics.tally.dropped == 20
        assert node.metrics.tally.gaps_told == 1


async def test_metrics_tell_what_was_not_sent() -> None:
    """Filtered and merged deliveries, in the form that Prometheus reads."""
    async with running() as (node, clock):
        author, watcher = await client_of(node), await client_of(node)
        await watcher.say("subscribe", channel="prices:a")
        await watcher.say(
            "subscribe", channel="plain:a", filter={"tag": "symbol", "eq": "BTC"}
        )
        await publish(author, "prices:a", "BTC1", "BTC2", "BTC3")
        await publish(author, "plain:a", "ETH1")
        await clock.elapse(1)
        lines = node.metrics.render()[0].decode().splitlines()

        assert "realtime_conflated_total 1.0" in lines
        assert "realtime_filtered_total 1.0" in lines
        assert "realtime_deliveries_total 2.0" in lines
