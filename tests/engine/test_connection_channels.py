"""Channels: who may join and publish, and what follows."""

from __future__ import annotations

import orjson
import pytest

from realtime.testing.client import MSGPACK_V1, MemoryClient
from realtime.testing.clock import settle
from tests.engine.support import phone, running, token

pytestmark = pytest.mark.anyio


async def test_a_publication_reaches_subscribers_in_both_codecs() -> None:
    """JSON and MessagePack clients share a channel."""
    async with running() as (node, clock):
        text, binary, author = (
            MemoryClient(node),
            MemoryClient(node, MSGPACK_V1),
            MemoryClient(node),
        )
        for client in (text, binary):
            await client.hello()
            await client.say("subscribe", channel="chat:a")
        await author.hello(token=token(clock))
        answer = await author.say(
            "publish", id=9, channel="chat:a", data={"a": [1, None]}
        )
        await settle()

        assert answer == [{"type": "published", "id": 9}]
        assert [c.take()[0]["data"] for c in (text, binary)] == [{"a": [1, None]}] * 2


async def test_what_needs_nobody_is_answered_at_once_and_together() -> None:
    """Welcome and subscriptions of a hello: no task, and one write."""
    async with running() as (node, _):
        second = MemoryClient(node)
        tasks = len(node.services.tasks)
        wanted = [{"id": 1, "channel": "chat:a"}, {"id": 2, "channel": "secret:a"}]
        second.send_raw(orjson.dumps({"type": "hello", "subscriptions": wanted}))

        assert len(node.services.tasks) == tasks
        assert len(second.socket.frames) == 1  # and the broker is in this process
        assert [each["type"] for each in second.take()] == [
            "welcome",
            "subscribed",
            "error",
        ]


async def test_nothing_follows_unsubscribe() -> None:
    """After the reply no publication of the channel comes."""
    async with running() as (node, clock):
        reader, author = MemoryClient(node), MemoryClient(node)
        await reader.hello()
        await reader.say("subscribe", channel="chat:a")
        await reader.say("unsubscribe", channel="chat:a")
        await author.hello(token=token(clock))
        await author.say("publish", channel="chat:a", data=1)
        await settle()

        assert reader.take() == []


async def test_what_is_not_granted_is_denied() -> None:
    """Closed by default: a namespace that says nothing opens nothing."""
    async with running() as (node, _):
        client = await phone(node)
        answers = [
            await client.say("subscribe", id=1, channel="secret:a"),
            await client.say("publish", id=2, channel="chat:a", data=1),
            await client.say("subscribe", id=3, channel="live:sales"),
        ]

        assert [a[0]["name"] for a in answers] == ["permission_denied"] * 3


async def test_a_token_grants_what_the_namespace_does_not() -> None:
    """Patterns of the token open single channels."""
    async with running() as (node, clock):
        client = MemoryClient(node)
        await client.hello(token=token(clock, subscribe=["secret:mine*"]))
        [mine] = await client.say("subscribe", channel="secret:mine-1")
        [other] = await client.say("subscribe", channel="secret:other")

        assert (mine["type"], other["name"]) == ("subscribed", "permission_denied")


async def test_publications_over_the_limit_are_refused() -> None:
    """The error names the size and the limit."""
    async with running() as (node, clock):
        client = MemoryClient(node)
        await client.hello(token=token(clock))
        [answer] = await client.say("publish", id=1, channel="chat:a", data="x" * 200)

        assert answer["name"] == "limit_exceeded"
        assert "100" in answer["reason"]


async def test_subscriptions_are_bounded() -> None:
    """One more than the limit is refused; the others live."""
    async with running() as (node, _):
        client = await phone(node)
        answers = [
            (await client.say("subscribe", channel=f"chat:{n}"))[0] for n in range(4)
        ]

        assert [a["type"] for a in answers] == ["subscribed"] * 3 + ["error"]


async def test_many_errors_close_the_connection() -> None:
    """A client that never learns is sent away."""
    async with running() as (node, _):
        client = await phone(node)
        for _ in range(6):
            await client.say("nonsense")

        assert client.close_code == 4503
