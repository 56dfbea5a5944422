"""What watchers of counters are told, and when."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from realtime.testing.client import MemoryClient
from tests.engine.support import TICK_S, phone, running, token

pytestmark = pytest.mark.anyio


async def test_subscribing_answers_with_the_current_value() -> None:
    """A watcher need not wait for a change."""
    async with running() as (node, clock):
        client = await phone(node)
        await client.say(
            "track", first=1, events=[{"name": "like", "properties": {"post": 7}}]
        )
        await clock.elapse(TICK_S)
        client.take()
        [answer] = await client.say("subscribe", id=2, channel="live:likes;post=7")

        assert answer["channel"] == "live:likes;post=7;window=total"
        assert answer["data"]["value"] == 1


async def test_a_change_is_pushed_under_the_number_told() -> None:
    """A push names its channel by the number of the subscribe reply."""
    async with running() as (node, clock):
        client = await phone(node)
        [answer] = await client.say(
            "subscribe", channel="live:likes;post=7;window=total"
        )
        await client.say(
            "track", first=1, events=[{"name": "like", "properties": {"post": 7}}]
        )
        await clock.elapse(TICK_S)

        pushes = [m for m in client.take() if m["type"] == "push"]
        assert [(p["channel"], p["data"]["value"]) for p in pushes] == [
            (answer["number"], 1)
        ]


async def test_many_changes_within_a_cadence_are_one_push() -> None:
    """A watcher gets at most one value per cadence, the latest."""
    async with running() as (node, clock):
        watcher, sender = MemoryClient(node), await phone(node)
        await watcher.hello()
        await watcher.say("subscribe", channel="live:trend")
        for seq in range(1, 51):
            await sender.track(seq, "like")
            await clock.elapse(0.01)
        await clock.elapse(TICK_S)

        pushes = watcher.take()
        assert len(pushes) <= 7
        assert pushes[-1]["data"]["value"] == 50


async def test_a_sliding_window_falls_without_events() -> None:
    """Time alone takes the value back to nothing."""
    async with running() as (node, clock):
        client = await phone(node)
        await client.say("subscribe", channel="live:trend;window=10s/1s")
        await client.track(1, "like", "like")
        await clock.elapse(1)
        await clock.elapse(15)

        values = [m["data"]["value"] for m in client.take() if m["type"] == "push"]
        assert (values[0], values[-1]) == (2, 0)


async def test_a_tumbling_window_closes_and_starts_anew() -> None:
    """The last word on a window says final; the next one begins at nothing."""
    async with running() as (node, clock):
        client = await phone(node)
        await client.say("subscribe", channel="live:likes;post=7;window=10s")
        await client.say(
            "track", first=1, events=[{"name": "like", "properties": {"post": 7}}]
        )
        await clock.elapse(1)
        await clock.elapse(20)

        values = [m["data"] for m in client.take() if m["type"] == "push"]
        assert [v["value"] for v in values if v["final"]] == [1]
        assert 0 in [v["value"] for v in values if not v["final"]]


async def test_unique_counts_are_read_and_pushed() -> None:
    """Cardinalities do not travel, but their watchers hear of them all the same."""
    async with running() as (node, clock):
        watcher = MemoryClient(node)
        await watcher.hello()
        await watcher.say("subscribe", channel="live:fans")
        for name in ("one", "two", "three"):
            client = await phone(node, device=name)
            await client.track(1, "like", "like")
        await clock.elapse(2 * TICK_S)

        assert watcher.take()[-1]["data"]["value"] == 3


async def test_an_unknown_counter_is_named() -> None:
    """The error says which counters there are or that this one is not."""
    async with running() as (node, _):
        client = await phone(node)
        [answer] = await client.say("subscribe", id=1, channel="live:nothing")

        assert answer["name"] == "unknown_channel"
        assert "nothing" in answer["reason"]


async def test_a_value_of_many_bytes_is_counted_and_can_be_watched() -> None:
    """The name of the channel may be as long as the values that are taken make it."""
    async with running() as (node, clock):
        client = await phone(node)
        post = "\N{PARTY POPPER}" * 128
        events = [{"name": "like", "properties": {"post": post}}]
        await client.say("track", first=1, events=events)
        await clock.elapse(TICK_S)
        assert client.take() == [{"type": "ack", "acked": 1}]

        name = f"live:likes;post={quote(post)}"
        [answer] = await client.say("subscribe", channel=name)
        assert (answer["type"], answer["data"]["value"]) == ("subscribed", 1)
        assert answer["channel"] == f"{name};window=total"


async def test_nobody_publishes_to_live_channels() -> None:
    """Their publications are the counters' values."""
    async with running() as (node, clock):
        client = MemoryClient(node)
        await client.hello(token=token(clock, publish=["*"]))
        [answer] = await client.say("publish", id=1, channel="live:trend", data=1)

        assert answer["name"] == "permission_denied"
