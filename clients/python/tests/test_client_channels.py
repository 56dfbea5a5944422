"""Watching, subscribing and publishing, over a socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from client_support.manual_clock import eventually
from client_support.online import scene
from realtime_client import (
    CommandError,
    LiveValue,
    MessagesDropped,
    RealtimeError,
    State,
    live,
)
from realtime_client.errors import ENDINGS

pytestmark = pytest.mark.anyio

LIKES = live("likes", post=42)
PROTOCOL = Path(__file__).parents[3] / "docs/reference/protocol.md"


def value(value: float, rev: int) -> dict[str, Any]:
    """Return what the server says of a total."""
    return {"value": value, "at": None, "rev": rev, "final": False}


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_watch_gives_the_value_and_its_changes(codec: str) -> None:
    """First what it is now, then what it becomes."""
    async with scene() as it:
        client, conversation = await it.online(codec=codec)
        watch = client.watch(LIKES)
        command = await conversation.confirm(7, value(12, 3))
        assert command["channel"] == "live:likes;post=42"
        assert await anext(watch) == LiveValue(LIKES, 12, None, 3)
        await conversation.push(7, value(13, 4))
        assert (await anext(watch)).value == 13


async def test_a_watch_with_a_callback_needs_no_loop() -> None:
    """While a slow callback is busy, only the latest value waits for it."""
    async with scene() as it:
        client, conversation = await it.online()
        seen: list[Any] = []
        go_on = asyncio.Event()

        async def callback(value: LiveValue) -> None:
            seen.append(value.value)
            await go_on.wait()

        watch = client.watch(LIKES, callback)
        await conversation.confirm(7, value(1, 1))
        await eventually(lambda: seen == [1])
        for n in (2, 3, 4):
            await conversation.push(7, value(n, n))
        await eventually(lambda: watch.latest and watch.latest.value == 4)
        go_on.set()
        await eventually(lambda: seen == [1, 4])
        await client.aclose()


async def test_a_callback_that_raises_is_called_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its error is logged; the next value comes all the same."""
    async with scene() as it:
        client, conversation = await it.online()
        seen: list[Any] = []

        def callback(value: LiveValue) -> None:
            seen.append(value.value)
            raise RuntimeError("boom")

        client.watch(LIKES, callback)
        await conversation.confirm(7, value(1, 1))
        await conversation.push(7, value(2, 2))
        await eventually(lambda: 2 in seen)
        assert "boom" in caplog.text


async def test_watch_is_for_live_channels() -> None:
    """Another channel has no values; the error says what to use."""
    async with scene() as it:
        with pytest.raises(ValueError, match="subscribe"):
            it.make().watch("chat:lobby")


async def test_a_subscription_gives_every_message() -> None:
    """In the order of publishing."""
    async with scene() as it:
        client, conversation = await it.online()
        subscribing = asyncio.ensure_future(client.subscribe("chat:lobby"))
        await conversation.confirm(3)
        chat = await subscribing
        for n in range(3):
            await conversation.push(3, {"n": n})
        assert [(await anext(chat))["n"] for _ in range(3)] == [0, 1, 2]


async def test_a_refused_subscription_raises() -> None:
    """With the server's reason; nothing is left behind."""
    async with scene() as it:
        client, conversation = await it.online()
        subscribing = asyncio.ensure_future(client.subscribe("chat:secret"))
        command = await conversation.receive("subscribe")
        await conversation.refuse(command, 106, "permission_denied", field="channel")
        with pytest.raises(CommandError, match="106 permission_denied"):
            await subscribing
        watch = client.watch(LIKES)
        command = await conversation.receive("subscribe")
        await conversation.refuse(command, 107, "unknown_channel")
        with pytest.raises(CommandError, match="107 unknown_channel"):
            await anext(watch)


async def test_subscriptions_survive_a_cut() -> None:
    """All are asked for again; pushes are told apart by the new numbers."""
    async with scene() as it:
        client, conversation = await it.online()
        subscribing = asyncio.ensure_future(client.subscribe("chat:lobby"))
        await conversation.confirm(3)
        chat = await subscribing
        watch = client.watch(LIKES)
        await conversation.confirm(4, value(1, 1))
        conversation.cut()
        await it.back_off(client)
        conversation = await it.again(client)
        assert (await conversation.confirm(4))["channel"] == "chat:lobby"
        assert (await conversation.confirm(3, value(1, 1)))["channel"] == LIKES
        await conversation.push(4, "hello")
        await conversation.push(3, value(2, 2))
        assert await anext(chat) == "hello"
        await eventually(lambda: watch.latest and watch.latest.value == 2)


async def test_subscribing_offline_waits_for_the_connection() -> None:
    """It is confirmed when there is one."""
    async with scene() as it:
        client = it.make()
        subscribing = asyncio.ensure_future(client.subscribe("chat:lobby"))
        await asyncio.sleep(0)
        client.start()
        conversation = await it.again(client)
        await conversation.confirm(3)
        assert (await subscribing).active


async def test_leaving_unsubscribes() -> None:
    """The reader's loop ends; the server is told."""
    async with scene() as it:
        client, conversation = await it.online()
        subscribing = asyncio.ensure_future(client.subscribe("chat:lobby"))
        await conversation.confirm(3)
        async with await subscribing as chat:
            await conversation.push(3, "last")
            assert await anext(chat) == "last"
        command = await conversation.receive("unsubscribe")
        assert command["channel"] == "chat:lobby"
        await conversation.send("unsubscribed", id=command["id"], channel="chat:lobby")
        with pytest.raises(StopAsyncIteration):
            await anext(chat)


async def test_unsubscribe_closes_every_reader() -> None:
    """Of this channel, and of no other."""
    async with scene() as it:
        client, conversation = await it.online()
        watch = client.watch(LIKES)
        await conversation.confirm(3, value(1, 1))
        await watch.established()
        client.unsubscribe(LIKES)
        await conversation.receive("unsubscribe")
        assert [one.value async for one in watch] == [1]


async def test_the_server_ends_a_subscription() -> None:
    """The reader is told why."""
    async with scene() as it:
        client, conversation = await it.online()
        watch = client.watch(LIKES)
        await conversation.confirm(3)
        fields = {"channel": LIKES, "code": 106, "reason": "the new token does not"}
        await conversation.send("unsubscribed", **fields)
        with pytest.raises(CommandError, match="the new token does not"):
            await anext(watch)


@pytest.mark.parametrize(
    "code, name",
    [
        (106, "permission_denied"),
        (120, "ended_by_backend"),
        (199, "unsubscribed"),  # of a newer server: this client has no name for it
    ],
)
async def test_what_ends_a_subscription_has_the_name_of_the_catalogue(
    code: int, name: str
) -> None:
    """As if the server had refused a command with that code."""
    async with scene() as it:
        client, conversation = await it.online()
        watch = client.watch(LIKES)
        await conversation.confirm(3)
        fields = {"channel": LIKES, "code": code, "reason": "moderated"}
        await conversation.send("unsubscribed", **fields)
        with pytest.raises(CommandError) as raised:
            await anext(watch)
        assert (raised.value.code, raised.value.name) == (code, name)


@pytest.mark.skipif(not PROTOCOL.exists(), reason="the page is not here")
def test_every_name_of_an_ending_is_in_the_catalogue() -> None:
    """The names are those of the protocol's page."""
    catalogue = PROTOCOL.read_text(encoding="utf-8")
    for code, name in ENDINGS.items():
        assert f"\n| {code} | `{name}` | never |" in catalogue


async def test_a_slow_reader_is_told_of_what_it_missed() -> None:
    """By a notice and a count."""
    async with scene() as it:
        client, conversation = await it.online()
        subscribing = asyncio.ensure_future(
            client.subscribe("chat:lobby", max_messages=2)
        )
        await conversation.confirm(3)
        chat = await subscribing
        for n in range(4):
            await conversation.push(3, n)
        await eventually(lambda: chat.dropped == 2)
        assert it.notices == [MessagesDropped("chat:lobby")]
        assert [await anext(chat), await anext(chat)] == [2, 3]


async def test_readers_learn_of_a_final_error() -> None:
    """Their loops raise what ended the client."""
    async with scene() as it:
        client, conversation = await it.online()
        watch = client.watch(LIKES)
        reading = asyncio.ensure_future(anext(watch))
        await conversation.close(4503)
        with pytest.raises(RealtimeError, match="4503"):
            await reading
        assert client.state is State.CLOSED
        with pytest.raises(RealtimeError, match="4503"):
            await client.subscribe("chat:lobby")


async def test_readers_end_with_the_client() -> None:
    """Closing the client ends their loops without an error."""
    async with scene() as it:
        client, conversation = await it.online()
        watch = client.watch(LIKES)
        await conversation.confirm(3)
        await client.aclose()
        assert [one async for one in watch] == []


async def test_a_callback_may_close_the_client() -> None:
    """From within, nothing waits for itself."""
    async with scene() as it:
        client, conversation = await it.online()

        async def callback(value: LiveValue) -> None:
            await client.aclose()

        client.watch(LIKES, callback)
        await conversation.confirm(3, value(1, 1))
        assert await conversation.closed() == 1000
        await eventually(lambda: client.state is State.CLOSED)
