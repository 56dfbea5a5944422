"""Publishing once, however often it must be sent; asking what was and who is there."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import pytest
from client_support.manual_clock import eventually
from client_support.online import scene
from realtime_client import (
    CommandError,
    ConnectionLost,
    Member,
    Message,
    NotConnected,
    Position,
    PresenceStats,
    Published,
    State,
)

pytestmark = pytest.mark.anyio


async def test_publishing_waits_for_the_server() -> None:
    """It returns once the publication was handed over."""
    async with scene() as it:
        client, conversation = await it.online()
        publishing = asyncio.ensure_future(client.publish("chat:lobby", {"a": [1]}))
        command = await conversation.receive("publish")
        assert (command["channel"], command["data"]) == ("chat:lobby", {"a": [1]})
        assert not publishing.done()
        await conversation.send("published", id=command["id"])
        await publishing


async def test_a_refused_publication_raises() -> None:
    """The connection lives."""
    async with scene() as it:
        client, conversation = await it.online()
        publishing = asyncio.ensure_future(client.publish("chat:lobby", 1))
        command = await conversation.receive("publish")
        await conversation.refuse(command, 106, "permission_denied")
        with pytest.raises(CommandError, match="permission_denied"):
            await publishing
        assert client.state is State.ONLINE


async def test_a_publication_says_where_it_is() -> None:
    """Its position, where the channel keeps a history; or why it was not made."""
    async with scene() as it:
        client, conversation = await it.online()
        publishing = asyncio.ensure_future(
            client.publish(
                "chat:lobby",
                1,
                tags={"lang": "fr"},
                exclude_self=True,
                version=7,
                idempotency_key="k1",
            )
        )
        command = await conversation.receive("publish")
        assert command == {
            "type": "publish",
            "id": command["id"],
            "channel": "chat:lobby",
            "data": 1,
            "tags": {"lang": "fr"},
            "exclude_self": True,
            "version": 7,
            "idempotency_key": "k1",
        }
        await conversation.send(
            "published", id=command["id"], offset=9, epoch="e", skipped="duplicate"
        )
        assert await publishing == Published(Position(9, "e"), "duplicate")


async def test_what_only_neighbours_were_given_is_told() -> None:
    """Of what has no key, which a server alone may deliver."""
    async with scene() as it:
        client, conversation = await it.online()
        publishing = asyncio.ensure_future(client.publish("chat:lobby", 1, retry_s=0))
        command = await conversation.receive("publish")
        assert "idempotency_key" not in command
        await conversation.send("published", id=command["id"], local=True)
        assert await publishing == Published(local=True)


async def test_every_publication_has_a_key_of_its_own() -> None:
    """So that the server knows it again, and does not take another one for it."""
    async with scene() as it:
        client, conversation = await it.online()
        keys = []
        for _ in range(2):
            publishing = asyncio.ensure_future(client.publish("chat:lobby", 1))
            command = await conversation.receive("publish")
            keys.append(command["idempotency_key"])
            await conversation.send("published", id=command["id"])
            assert await publishing == Published()
        assert len(keys[0]) >= 16
        assert keys[0] != keys[1]


async def test_a_publication_is_repeated_after_a_reconnect() -> None:
    """With the same key: whether the first attempt got through does not matter."""
    async with scene() as it:
        client, conversation = await it.online()
        publishing = asyncio.ensure_future(client.publish("chat:lobby", {"n": 1}))
        first = await conversation.receive("publish")
        conversation.cut()
        await it.back_off(client)
        conversation = await it.again(client)
        second = await conversation.receive("publish")
        assert {**second, "id": 0} == {**first, "id": 0}
        await conversation.send(
            "published", id=second["id"], offset=3, epoch="e", skipped="duplicate"
        )
        assert await publishing == Published(Position(3, "e"))


async def test_a_publication_is_repeated_when_the_server_can_again() -> None:
    """Not before the delay that it names, with jitter on top."""
    async with scene() as it:
        client, conversation = await it.online()
        publishing = asyncio.ensure_future(client.publish("chat:lobby", 1))
        first = await conversation.receive("publish")
        await conversation.refuse(
            first, 114, "unavailable", retry="later", retry_after_s=2.0
        )
        await eventually(lambda: 2.25 in it.clock.delays)
        it.clock.advance(2.25)
        second = await conversation.receive("publish")
        assert second["idempotency_key"] == first["idempotency_key"]
        await conversation.send("published", id=second["id"])
        await publishing


async def test_repeating_ends_after_a_while() -> None:
    """The error is the last one; it may have been published."""
    async with scene() as it:
        client, conversation = await it.online()
        publishing = asyncio.ensure_future(
            client.publish("chat:lobby", 1, retry_s=10.0)
        )
        command = await conversation.receive("publish")
        await conversation.refuse(
            command, 114, "unavailable", retry="later", retry_after_s=20.0
        )
        with pytest.raises(CommandError, match="unavailable"):
            await publishing

        publishing = asyncio.ensure_future(
            client.publish("chat:lobby", 1, retry_s=10.0)
        )
        await conversation.receive("publish")
        it.server.refuse(HTTPStatus.SERVICE_UNAVAILABLE, Retry_After="3600")
        conversation.cut()
        await it.offline(client)
        await eventually(lambda: 10.0 in it.clock.delays)
        it.clock.advance(10.0)
        with pytest.raises(ConnectionLost):
            await publishing


async def test_a_publication_may_be_made_once() -> None:
    """Then whether it was published is for the application to find out."""
    async with scene() as it:
        client, conversation = await it.online()
        publishing = asyncio.ensure_future(client.publish("chat:lobby", 1, retry_s=0.0))
        assert "idempotency_key" not in await conversation.receive("publish")
        conversation.cut()
        with pytest.raises(ConnectionLost):
            await publishing


async def test_nothing_is_published_offline() -> None:
    """The application is told at once: nothing was sent, nothing is queued."""
    async with scene() as it:
        client, conversation = await it.online()
        conversation.cut()
        await it.offline(client)
        with pytest.raises(NotConnected):
            await client.publish("chat:lobby", 1)


async def test_a_client_that_ends_repeats_nothing() -> None:
    """Whoever waits for a publication is told."""
    async with scene() as it:
        client, conversation = await it.online()
        publishing = asyncio.ensure_future(client.publish("chat:lobby", 1))
        await conversation.receive("publish")
        await client.aclose()
        with pytest.raises(ConnectionLost):
            await publishing


async def test_a_new_token_lets_a_publication_pass() -> None:
    """What expired in between is repeated when it has been replaced."""
    tokens = iter(["one", "two"])
    async with scene() as it:
        client, conversation = await it.online(token=lambda: next(tokens))
        publishing = asyncio.ensure_future(client.publish("chat:lobby", 1))
        first = await conversation.receive("publish")
        await conversation.send("token_expired", grace_s=25.0)
        await conversation.refuse(first, 105, "token_expired", retry="refresh")
        refresh = await conversation.receive("refresh")
        assert refresh["token"] == "two"
        await conversation.send("refreshed", id=refresh["id"])
        await eventually(lambda: 0.25 in it.clock.delays)
        it.clock.advance(0.25)
        second = await conversation.receive("publish")
        await conversation.send("published", id=second["id"])
        await publishing


async def test_what_json_cannot_say_is_not_published() -> None:
    """Neither is what the server would refuse for its size; nothing is sent."""
    async with scene() as it:
        client, _ = await it.online({"limits": {"max_publication_bytes": 10}})
        with pytest.raises(ValueError, match=r"JSON compliant"):
            await client.publish("chat:lobby", float("nan"))
        with pytest.raises(TypeError):
            await client.publish("chat:lobby", object())
        with pytest.raises(CommandError, match="12 bytes, the server takes 10"):
            await client.publish("chat:lobby", "x" * 10)


async def test_a_frame_is_never_larger_than_the_server_takes() -> None:
    """The connection would be closed for it."""
    limits = {"max_frame_bytes": 300, "max_publication_bytes": 1000}
    async with scene() as it:
        client, _ = await it.online({"limits": limits})
        with pytest.raises(CommandError, match="the server takes 300"):
            await client.publish("chat:lobby", "x" * 400)


async def test_a_reply_nobody_waits_for_does_no_harm() -> None:
    """A cancelled call's reply, and its error, are passed over."""
    async with scene() as it:
        client, conversation = await it.online()
        for _ in range(2):
            publishing = asyncio.ensure_future(client.publish("chat:lobby", 1))
            command = await conversation.receive("publish")
            publishing.cancel()
            await asyncio.wait([publishing])
            await conversation.refuse(command, 106, "permission_denied")
        client.track("e")
        await conversation.receive("track")
        assert it.notices == []


# -- asking ----------------------------------------------------------------------------


async def test_history_is_read_page_by_page() -> None:
    """Each message has its position, by which the next page is asked for."""
    async with scene() as it:
        client, conversation = await it.online()
        reading = asyncio.ensure_future(
            client.history("chat:lobby", since=Position(4, "e"), limit=2, reverse=True)
        )
        command = await conversation.receive("history")
        assert command == {
            "type": "history",
            "id": command["id"],
            "channel": "chat:lobby",
            "since": {"offset": 4, "epoch": "e"},
            "limit": 2,
            "reverse": True,
        }
        await conversation.send(
            "history",
            id=command["id"],
            channel="chat:lobby",
            offset=9,
            epoch="e",
            publications=[{"data": "c", "offset": 3}, {"data": "b", "offset": 2}],
            complete=True,
            more=True,
        )
        page = await reading
        assert page.messages == (
            Message("c", Position(3, "e")),
            Message("b", Position(2, "e")),
        )
        assert (page.position, page.complete, page.more) == (
            Position(9, "e"),
            True,
            True,
        )


async def test_who_is_there_is_asked_page_by_page() -> None:
    """The cursor of a page asks for the next one."""
    async with scene() as it:
        client, conversation = await it.online()
        asking = asyncio.ensure_future(
            client.presence("chat:lobby", limit=1, cursor="c0")
        )
        command = await conversation.receive("presence")
        assert (command["limit"], command["cursor"]) == (1, "c0")
        member = {"client": "c-1", "user": "anna", "info": {"name": "Anna"}}
        fields = {"channel": "chat:lobby", "members": [member], "cursor": "c1"}
        await conversation.send("presence", id=command["id"], **fields)
        page = await asking
        assert page.members == (Member("c-1", "anna", {"name": "Anna"}),)
        assert page.cursor == "c1"


async def test_how_many_are_there_is_asked_again_on_the_next_connection() -> None:
    """A question that got no answer is no error: asking again changes nothing."""
    async with scene() as it:
        client, conversation = await it.online()
        asking = asyncio.ensure_future(client.presence_stats("chat:lobby"))
        await conversation.receive("presence_stats")
        conversation.cut()
        await it.back_off(client)
        conversation = await it.again(client)
        command = await conversation.receive("presence_stats")
        fields = {"channel": "chat:lobby", "clients": 4, "users": 3}
        await conversation.send("presence_stats", id=command["id"], **fields)
        assert await asking == PresenceStats(4, 3)
