"""Streams of server-sent events go on where others ended."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from realtime.settings import HistorySettings
from realtime.testing.clock import settle
from realtime.types import Channel
from tests.edges.http.support import KEY, World, running

pytestmark = pytest.mark.anyio


async def publish(world: World, *values: object, channel: str = "log:a") -> Any:
    """Publish; return the last answer."""
    for value in values:
        body = {"channel": channel, "data": value}
        answer = await world.post("/v1/publish", body, KEY)
    return answer.json


async def watch(world: World, query: str, last: str | None = None) -> Any:
    """Open a stream."""
    headers = {**KEY, **({"last-event-id": last} if last else {})}
    stream = world.open("GET", f"/v1/live?{query}", headers)
    await settle(20)
    return stream


def events(stream: Any) -> list[tuple[str, Any, str]]:
    """What came: the event's name (or nothing), its data and its id."""
    found = []
    for text in stream.body.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in text.split("\n"))
        data = orjson.loads(fields.get("data", "{}"))
        found.append((fields.get("event", ""), data.get("data"), fields.get("id", "")))
    return found


async def test_a_stream_says_where_it_begins_and_goes_on(world: World) -> None:
    """By ids, the first of which has no event."""
    epoch = (await publish(world, 1))["epoch"]
    stream = await watch(world, "channel=log:a")
    await publish(world, 2)
    await settle()

    assert events(stream) == [
        ("", None, f"1,{epoch},log:a"),
        ("push", 2, f"2,{epoch},log:a"),
    ]


async def test_a_stream_begins_with_the_last_value_and_its_tags(world: World) -> None:
    """As on a socket, they say whose value it is."""
    body = {"channel": "quote:a", "data": 67012.5, "tags": {"symbol": "BTC"}}
    await world.post("/v1/publish", body, KEY)
    stream = await watch(world, "channel=quote:a")

    [pushed] = [
        orjson.loads(line.removeprefix("data: "))
        for line in stream.body.decode().splitlines()
        if line.startswith("data: ")
    ]
    assert (pushed["data"], pushed["tags"]) == (67012.5, {"symbol": "BTC"})


async def test_a_browser_that_comes_back_gets_what_it_missed(world: World) -> None:
    """It sends the last id back by itself; it counts more than the address."""
    epoch = (await publish(world, 1, 2, 3))["epoch"]
    query = "channel=log:a&since=" + quote(f"0,{epoch},log:a")
    stream = await watch(world, query, f"1,{epoch},log:a")
    again = await watch(world, query)

    assert [data for name, data, _ in events(stream) if name] == [2, 3]
    assert [data for name, data, _ in events(again) if name] == [1, 2, 3]


async def test_what_is_lost_is_told_by_a_gap(world: World) -> None:
    """It has the position from which the stream goes on."""
    epoch = (await publish(world, *range(9)))["epoch"]
    stream = await watch(world, "channel=log:a", f"1,{epoch},log:a")
    await publish(world, 9)
    await settle()

    assert events(stream) == [
        ("gap", None, f"9,{epoch},log:a"),
        ("push", 9, f"10,{epoch},log:a"),
    ]


async def test_of_other_channels_a_gap_is_told_on_coming_back(world: World) -> None:
    """A browser knows one id for the whole stream."""
    one = (await publish(world, 1))["epoch"]
    two = (await publish(world, 2, channel="log:b"))["epoch"]
    stream = await watch(world, "channel=log:a&channel=log:b", f"1,{one},log:a")

    assert events(stream) == [
        ("", None, f"1,{one},log:a"),
        ("gap", None, f"1,{two},log:b"),
    ]


async def test_many_pages_come_as_they_are_taken() -> None:
    """As if they were one."""
    async with running(history=HistorySettings(max_page=2)) as world:
        epoch = (await publish(world, 1, 2, 3, 4, 5))["epoch"]
        stream = await watch(world, "channel=log:a", f"0,{epoch},log:a")
        await publish(world, 6)
        await settle(20)

    assert [data for name, data, _ in events(stream) if name] == [1, 2, 3, 4, 5, 6]


async def test_a_channel_that_is_ended_has_no_further_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor anything new; the other channel of the stream goes on."""
    async with running(history=HistorySettings(max_page=2)) as world:
        epoch = (await publish(world, 1, 2, 3, 4, 5))["epoch"]
        subscriptions, goes_on = world.node.services.subscriptions, asyncio.Event()
        attend, asked = subscriptions.attend, []

        async def late(channel: str, *arguments: Any) -> Any:
            asked.append(channel)
            if asked.count("log:a") == 2:
                await goes_on.wait()
            return await attend(channel, *arguments)

        monkeypatch.setattr(subscriptions, "attend", late)
        query = "channel=log:a&channel=log:b"
        stream = await watch(world, query, f"0,{epoch},log:a")
        [visitor] = world.node.directory
        ended = [visitor.end_subscription(Channel("log:a")) for _ in "ab"]
        goes_on.set()
        await publish(world, 6)
        await publish(world, "other", channel="log:b")
        await settle(20)

        assert ended == [True, False]
        assert not stream.complete
        found = [(name, data) for name, data, _ in events(stream) if name]
        assert [data for name, data in found if name == "push"] == [1, 2, "other"]
        assert [name for name, _ in found if name != "gap"] == [
            *("push", "push", "unsubscribed", "push")
        ]
        assert len(subscriptions) == 1


@pytest.mark.parametrize("id", ["1", "x,e,log:a", "1,e", "1,,log:a", "1,e,log:b"])
async def test_what_is_no_id_of_a_watched_channel_is_refused(
    world: World, id: str
) -> None:
    """Whichever way it comes."""
    header = await watch(world, "channel=log:a", id)
    address = await watch(world, f"channel=log:a&since={quote(id)}")

    assert [header.answer.status, address.answer.status] == [400, 400]
