"""Nothing missed, nothing twice, nothing out of order; or the application is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from client_support.history import CHAT, at, missed, subscribed, unread, unread_count
from client_support.manual_clock import eventually
from client_support.online import scene
from realtime_client import (
    CommandError,
    Gap,
    Joined,
    Left,
    Member,
    Message,
    Position,
    live,
)

pytestmark = pytest.mark.anyio


# -- resuming --------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_session_is_resumed_by_hello(codec: str) -> None:
    """Every subscription goes with it, from the position that was reached."""
    async with scene() as it:
        client, conversation = await it.online(codec=codec)
        chat = await subscribed(client, conversation)
        client.watch(live("likes"))
        await conversation.confirm(4, {"value": 1})
        await conversation.push(3, 6, offset=6)
        assert await anext(chat) == 6
        conversation.cut()
        await it.back_off(client)
        conversation = await it.server.accept()
        hello = await conversation.welcome()
        assert [{**one, "id": None} for one in hello["subscriptions"]] == [
            {"id": None, "channel": CHAT, "since": {"offset": 6, "epoch": "e"}},
            {"id": None, "channel": "live:likes"},
        ]
        ids = {one["id"] for one in hello["subscriptions"]} | {hello["id"]}
        assert len(ids) == 3


async def test_what_was_missed_is_delivered_once_and_in_order() -> None:
    """It comes before what is pushed from then on; nothing is said of a reconnect."""
    async with scene() as it:
        client, conversation = await it.online()
        chat = await subscribed(client, conversation)
        await conversation.push(3, 6, offset=6)
        await eventually(lambda: unread_count(chat) == 1)
        conversation.cut()
        await it.back_off(client)
        conversation = await it.again(client)
        await conversation.confirm(
            8, **at(8), recovered=True, publications=missed(6, 7, 8)
        )
        await conversation.push(8, 8, offset=8)
        await conversation.push(8, 9, offset=9, tags={"a": "b"})
        assert [await anext(chat) for _ in range(4)] == [6, 7, 8, 9]
        assert chat.position == Position(9, "e")
        assert it.notices == []


async def test_what_cannot_be_recovered_is_told_in_its_place() -> None:
    """As an item between what was before and what comes after, and as a notice."""
    async with scene() as it:
        client, conversation = await it.online()
        chat = await subscribed(client, conversation)
        conversation.cut()
        await it.back_off(client)
        conversation = await it.again(client)
        await conversation.confirm(8, **at(2, "f"), recovered=False)
        await conversation.push(8, 3, offset=3)
        items = chat.items()
        gap = await anext(items)
        assert isinstance(gap, Gap)
        assert (gap.channel, gap.since, gap.position) == (
            CHAT,
            Position(5, "e"),
            Position(2, "f"),
        )
        assert it.notices == [gap]
        assert await anext(items) == Message(3, Position(3, "f"))
        assert chat.position == Position(3, "f")


async def test_much_that_was_missed_comes_in_several_parts() -> None:
    """The client asks again from where each part ends, until it is subscribed."""
    async with scene() as it:
        client, conversation = await it.online()
        chat = await subscribed(client, conversation)
        conversation.cut()
        await it.back_off(client)
        conversation = await it.again(client)
        command = await conversation.asked()
        for offsets in ((6, 7), (8, 9)):
            await conversation.send(
                "recovering",
                id=command["id"],
                channel=CHAT,
                publications=missed(*offsets),
                **at(offsets[-1]),
            )
            command = await conversation.receive("subscribe")
            assert command["since"] == at(offsets[-1])
        await conversation.send(
            "subscribed",
            id=command["id"],
            channel=CHAT,
            number=8,
            recovered=True,
            publications=missed(10),
            **at(10),
        )
        assert [await anext(chat) for _ in range(5)] == [6, 7, 8, 9, 10]


async def test_a_part_without_progress_is_not_asked_for_at_once() -> None:
    """A server that answers the same again and again is not asked without end."""
    async with scene() as it:
        client, conversation = await it.online()
        await subscribed(client, conversation)
        conversation.cut()
        await it.back_off(client)
        conversation = await it.again(client)
        command = await conversation.asked()
        fields = {"channel": CHAT, "publications": [], **at(5)}
        await conversation.send("recovering", id=command["id"], **fields)
        await eventually(lambda: 0.25 in it.clock.delays)
        it.clock.advance(0.25)
        assert (await conversation.receive("subscribe"))["since"] == at(5)


async def test_old_messages_wait_until_the_reader_has_room() -> None:
    """However much there is to recover, none of it is dropped."""
    async with scene() as it:
        client, conversation = await it.online()
        chat = await subscribed(client, conversation, max_messages=4)
        conversation.cut()
        await it.back_off(client)
        conversation = await it.again(client)
        command = await conversation.asked()
        fields = {"channel": CHAT, "publications": missed(6, 7, 8), **at(8)}
        await conversation.send("recovering", id=command["id"], **fields)
        await eventually(lambda: unread_count(chat) == 3)
        client.track("e")  # whatever is sent now was sent after the reply was read
        await conversation.receive("track")
        assert await anext(chat) == 6
        command = await conversation.receive("subscribe")
        assert command["since"] == at(8)
        assert chat.dropped == 0


async def test_a_run_goes_on_where_the_one_before_ended() -> None:
    """With a position that the application has stored."""
    async with scene() as it:
        client, conversation = await it.online()
        since = Position(41, "e")
        subscribing = asyncio.ensure_future(client.subscribe(CHAT, since=since))
        command = await conversation.receive("subscribe")
        assert command["since"] == at(41)
        await conversation.send(
            "subscribed",
            id=command["id"],
            channel=CHAT,
            number=3,
            recovered=True,
            publications=missed(42),
            **at(42),
        )
        chat = await subscribing
        assert chat.position == Position(41, "e")
        assert await anext(chat) == 42
        assert chat.position == Position(42, "e")


async def test_the_first_subscription_shows_the_last_value() -> None:
    """Of a channel that keeps it; its position goes with it."""
    async with scene() as it:
        client, conversation = await it.online()
        subscribing = asyncio.ensure_future(client.subscribe(CHAT))
        await conversation.confirm(3, {"BTC": 1}, **at(5))
        chat = await subscribing
        assert unread(chat) == [Message({"BTC": 1}, Position(5, "e"))]


async def test_the_last_value_has_its_tags() -> None:
    """They say whose value it is."""
    async with scene() as it:
        client, conversation = await it.online()
        subscribing = asyncio.ensure_future(client.subscribe(CHAT))
        await conversation.confirm(3, 67012.5, tags={"symbol": "BTC"}, **at(5))
        chat = await subscribing
        last = Message(67012.5, Position(5, "e"), {"symbol": "BTC"})
        assert unread(chat) == [last]


# -- on a live connection --------------------------------------------------------------


async def test_a_gap_is_told_and_the_subscription_goes_on() -> None:
    """From the position that the server tells."""
    async with scene() as it:
        client, conversation = await it.online()
        chat = await subscribed(client, conversation)
        await conversation.send("gap", channel=3, **at(9))
        await conversation.push(3, 10, offset=10)
        assert await anext(chat) == 10
        assert it.notices == [
            Gap(
                CHAT,
                Position(5, "e"),
                Position(9, "e"),
                "the server lost messages on the way, or we were too slow",
            )
        ]
        conversation.cut()
        await it.back_off(client)
        conversation = await it.again(client)
        assert (await conversation.asked())["since"] == at(10)


async def test_channels_without_a_history_have_no_positions() -> None:
    """They are asked for anew after a reconnect; a gap there has no positions."""
    async with scene() as it:
        client, conversation = await it.online()
        subscribing = asyncio.ensure_future(client.subscribe(CHAT))
        await conversation.confirm(3)
        chat = await subscribing
        await conversation.push(3, "a")
        await conversation.send("gap", channel=3)
        await conversation.push(3, "b")
        items = chat.items()
        assert await anext(items) == Message("a")
        gap = await anext(items)
        assert isinstance(gap, Gap)
        assert (gap.since, gap.position) == (None, None)
        assert await anext(items) == Message("b")
        assert chat.position is None
        conversation.cut()
        await it.back_off(client)
        conversation = await it.again(client)
        assert "since" not in await conversation.asked()


async def test_offsets_that_jump_are_no_loss() -> None:
    """What lies between was filtered or merged, as the subscription wants it."""
    async with scene() as it:
        client, conversation = await it.online()
        chat = await subscribed(client, conversation, filter={"tag": "a"})
        await conversation.push(3, 90, offset=90)
        assert await anext(chat) == 90
        assert it.notices == []


async def test_who_comes_and_goes_is_told_where_it_was_asked_for() -> None:
    """As items among the messages; whoever reads data only does not see them."""
    async with scene() as it:
        client, conversation = await it.online()
        subscribing = asyncio.ensure_future(client.subscribe(CHAT, join_leave=True))
        command = await conversation.confirm(3)
        assert command["join_leave"] is True
        chat = await subscribing
        member = {"client": "c-1", "user": "anna", "info": {"name": "Anna"}}
        await conversation.send("join", channel=3, member=member)
        await conversation.push(3, "hello")
        await conversation.send("leave", channel=3, member={"client": "c-2"})
        items = chat.items()
        assert await anext(items) == Joined(Member("c-1", "anna", {"name": "Anna"}))
        assert await anext(items) == Message("hello")
        assert await anext(items) == Left(Member("c-2"))
        await conversation.send("join", channel=3, member=member)
        await conversation.push(3, "again")
        assert await anext(chat) == "again"


async def test_a_slow_reader_finds_a_gap_where_messages_were_dropped() -> None:
    """Before the oldest that is left."""
    async with scene() as it:
        client, conversation = await it.online()
        chat = await subscribed(client, conversation, max_messages=2)
        for offset in (6, 7, 8):
            await conversation.push(3, offset, offset=offset)
        await eventually(lambda: chat.dropped == 1)
        gap, *rest = unread(chat)
        assert isinstance(gap, Gap)
        assert (gap.since, gap.position) == (Position(5, "e"), None)
        assert [one.data for one in rest if isinstance(one, Message)] == [7, 8]


# -- how it is subscribed --------------------------------------------------------------


async def test_options_are_said_at_every_subscription() -> None:
    """After a reconnect, too, beside the position."""
    options = {"filter": {"tag": "a", "eq": "é"}, "interval_s": 0.5}
    async with scene() as it:
        client, conversation = await it.online()
        subscribing = asyncio.ensure_future(client.subscribe(CHAT, **options))
        command = await conversation.confirm(3, **at(5), skips=True)
        assert command["type"] == "subscribe"
        assert {name: command[name] for name in options} == options
        await subscribing
        conversation.cut()
        await it.back_off(client)
        conversation = await it.again(client)
        again = await conversation.asked()
        assert {**again, "id": 0} == {
            "id": 0,
            "channel": CHAT,
            "since": at(5),
            **options,
        }


async def test_readers_of_one_channel_share_how_it_is_subscribed() -> None:
    """There is one subscription; the second reader is told that it cannot differ."""
    async with scene() as it:
        client, conversation = await it.online()
        await subscribed(client, conversation, filter={"tag": "a", "eq": "1"})
        with pytest.raises(ValueError, match="read already"):
            await client.subscribe(CHAT)
        with pytest.raises(ValueError, match="another reader begins where"):
            await client.subscribe(
                CHAT, filter={"tag": "a", "eq": "1"}, since=Position(1, "e")
            )
        same = await client.subscribe(CHAT, filter={"tag": "a", "eq": "1"})
        assert same.position == Position(5, "e")


@pytest.mark.parametrize("confirmed", [True, False])
async def test_a_later_reader_may_want_it_in_another_way(confirmed: bool) -> None:
    """When nobody reads any more, the channel is left and asked for anew."""
    async with scene() as it:
        client, conversation = await it.online()
        subscribing = asyncio.ensure_future(client.subscribe(CHAT))
        command = await conversation.receive("subscribe")
        fields = {"id": command["id"], "channel": CHAT, "number": 3, **at(5)}
        if confirmed:
            await conversation.send("subscribed", **fields)
            (await subscribing).close()
        else:
            subscribing.cancel()
            await asyncio.wait([subscribing])
        subscribing = asyncio.ensure_future(
            client.subscribe(CHAT, since=Position(1, "e"))
        )
        if not confirmed:
            await conversation.send("subscribed", **fields)
        leave = await conversation.receive("unsubscribe")
        await conversation.push(3, 6, offset=6)
        await conversation.send("unsubscribed", id=leave["id"], channel=CHAT)
        command = await conversation.receive("subscribe")
        assert command["since"] == at(1)
        await conversation.send(
            "subscribed",
            id=command["id"],
            channel=CHAT,
            number=4,
            recovered=True,
            publications=missed(2, 3, 4, 5, 6),
            **at(6),
        )
        chat = await subscribing
        assert [await anext(chat) for _ in range(5)] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"channel": ""}, "channel: must have 1 to 4096"),
        ({"channel": "x" * 4097}, "channel: must have 1 to 4096"),
        ({"channel": "\ud800"}, "surrogates"),
        ({"interval_s": 0}, "interval_s: must be above 0"),
        ({"interval_s": float("nan")}, "interval_s"),
        ({"filter": {"tag": "a", "eq": float("inf")}}, "JSON compliant"),
    ],
)
async def test_what_the_server_could_not_even_read_is_refused_here(
    options: dict[str, Any], match: str
) -> None:
    """It would end the connection, and with it everything else."""
    async with scene() as it:
        client, _ = await it.online()
        with pytest.raises(ValueError, match=match):
            await client.subscribe(**{"channel": CHAT, **options})


async def test_a_filter_is_not_nested_without_end() -> None:
    """The server would take it for a defect of ours."""
    filter: dict[str, Any] = {"tag": "a", "exists": True}
    for _ in range(17):
        filter = {"not": filter}
    async with scene() as it:
        with pytest.raises(ValueError, match="nested at most 16"):
            await it.make().subscribe(CHAT, filter=filter)


# -- hello -----------------------------------------------------------------------------


async def test_what_does_not_fit_into_hello_follows_it() -> None:
    """However many channels there are, all are asked for."""
    async with scene() as it:
        client = it.make()
        channels = [f"chat:{'x' * 200}{n}" for n in range(60)]
        readers = [asyncio.ensure_future(client.subscribe(one)) for one in channels]
        await asyncio.sleep(0)
        client.start()
        conversation = await it.server.accept()
        hello = await conversation.welcome()
        assert 10 < len(hello["subscriptions"]) < 30
        asked = [(await conversation.confirm(n))["channel"] for n in range(60)]
        assert asked == channels
        await asyncio.gather(*readers)


async def test_a_hello_that_is_said_again_asks_again() -> None:
    """A server that cannot now has not taken the subscriptions either."""
    async with scene() as it:
        client = it.make()
        reader = asyncio.ensure_future(client.subscribe(CHAT))
        await asyncio.sleep(0)
        client.start()
        conversation = await it.server.accept()
        hello = await conversation.receive("hello")
        await conversation.refuse(
            hello, 114, "unavailable", retry="later", retry_after_s=1.0
        )
        await eventually(lambda: 1.25 in it.clock.delays)
        it.clock.advance(1.25)
        hello = await conversation.welcome()
        assert [one["channel"] for one in hello["subscriptions"]] == [CHAT]
        await conversation.confirm(3)
        await reader


async def test_a_subscription_that_spoils_hello_is_asked_for_alone() -> None:
    """Then only what is wrong is refused."""
    async with scene() as it:
        client = it.make()
        wrong = asyncio.ensure_future(client.subscribe(CHAT))
        right = asyncio.ensure_future(client.subscribe("chat:2"))
        await asyncio.sleep(0)
        client.start()
        conversation = await it.server.accept()
        hello = await conversation.receive("hello")
        await conversation.refuse(
            hello, 101, "bad_message", field="subscriptions[0].channel"
        )
        hello = await conversation.welcome()
        assert "subscriptions" not in hello
        await conversation.refuse(await conversation.asked(), 101, "bad_message")
        await conversation.confirm(3)
        with pytest.raises(CommandError, match="bad_message"):
            await wrong
        await right


async def test_a_blocked_user_comes_back_when_the_block_is_over() -> None:
    """Not on the same connection, which the server closes."""
    async with scene() as it:
        client = it.make()
        client.start()
        conversation = await it.server.accept()
        hello = await conversation.receive("hello")
        await conversation.refuse(
            hello, 118, "blocked", retry="later", retry_after_s=3.0
        )
        change = await it.offline(client)
        assert change.retry_in_s == 3.25
