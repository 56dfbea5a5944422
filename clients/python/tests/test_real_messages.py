"""Messages against the real server: nothing missed, nothing twice, who is there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_support.cutting_proxy import CuttingProxy
from client_support.manual_clock import eventually
from client_support.real_server import SECRET, RealServer, available, make_token
from realtime_client import (
    CommandError,
    Gap,
    GoingAway,
    Joined,
    Left,
    Message,
    NotConnected,
    Position,
    PresenceStats,
    Published,
    RealtimeClient,
    State,
    StateChange,
    Subscription,
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not available(), reason="the server's package is not here"),
]

CONFIG = f"""
[auth]
hmac_secret = "{SECRET}"

[history]
max_page = 20

[drain]
over = "100ms"
return = "200ms"

[namespaces.chat]
history_size = 1000

[namespaces.short]
history_size = 3

[namespaces.plain]

[namespaces.prices]
last_value = true

[namespaces.room]
presence = true
join_leave = true
"""
EVERYTHING = {
    verb: ["*"] for verb in ("subscribe", "publish", "history", "members", "track")
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A server with a namespace of every kind."""
    server = RealServer(tmp_path_factory.mktemp("messages"), CONFIG)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[RealServer]:
    """A server of the test's own, to be stopped and started."""
    server = RealServer(tmp_path, CONFIG)
    server.start()
    yield server
    server.kill()


def make(url: str, user: str = "anna", **options: Any) -> RealtimeClient:
    """Return a client that may do everything, and comes back soon."""
    token = make_token(user, **EVERYTHING, info={"name": user.title()})
    options = {"random": lambda: 0.02, "tracking": False, **options}
    return RealtimeClient(url, token=token, **options)


async def take(subscription: Subscription, count: int) -> list[Any]:
    """Read so many messages."""
    async with asyncio.timeout(20):
        return [await anext(subscription) for _ in range(count)]


async def surely(client: RealtimeClient, channel: str, data: Any) -> Published:
    """Publish as soon as there is a connection to begin with."""
    while True:
        try:
            return await client.publish(channel, data)
        except NotConnected:
            await asyncio.sleep(0.005)


# -- recovery --------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_nothing_is_missed_through_cuts(server: RealServer, codec: Any) -> None:
    """Cut again and again, every subscriber gets everything, once and in order."""
    channel, total = f"chat:cuts-{codec}", 400
    async with CuttingProxy(server.port) as proxy, make(server.url) as author:
        readers = [make(proxy.url, f"u{n}", codec=codec) for n in range(3)]
        try:
            chats = []
            for reader in readers:
                await reader.connect(10)
                chats.append(await reader.subscribe(channel))
            taking = [asyncio.ensure_future(take(chat, total)) for chat in chats]
            for n in range(total):
                await author.publish(channel, n)
                if n % 40 == 20:
                    proxy.cut()
            for taken in await asyncio.gather(*taking):
                assert taken == list(range(total))
            assert proxy.cuts > 20
        finally:
            for reader in readers:
                await reader.aclose()


async def test_publishing_through_cuts_is_done_once(server: RealServer) -> None:
    """Whatever was under way when the connection broke is repeated, and known again."""
    channel, total = "chat:once", 200
    async with CuttingProxy(server.port) as proxy, make(server.url) as reader:
        chat = await reader.subscribe(channel)
        async with make(proxy.url) as author:
            publishing = []
            for n in range(total):
                publishing.append(asyncio.ensure_future(surely(author, channel, n)))
                await asyncio.sleep(0)
                if n % 20 == 10:
                    proxy.cut()
            async with asyncio.timeout(20):
                made = await asyncio.gather(*publishing)
        assert [one.skipped for one in made] == [None] * total
        assert sorted(await take(chat, total)) == list(range(total))
        newest = await reader.history(channel, limit=0)
        assert newest.position.offset == total


async def test_much_that_was_missed_comes_page_by_page(server: RealServer) -> None:
    """More than a reply may carry, on a connection that was away for long."""
    channel = "chat:pages"
    async with CuttingProxy(server.port) as proxy, make(server.url) as author:
        reader = make(proxy.url)
        await reader.connect(10)
        chat = await reader.subscribe(channel)
        await reader.aclose()
        for n in range(95):
            await author.publish(channel, n)
        async with make(proxy.url) as again:
            resumed = await again.subscribe(channel, since=chat.position)
            assert await take(resumed, 95) == list(range(95))
            assert resumed.position == Position(95, chat.position.epoch)  # type: ignore[union-attr]


async def test_what_the_history_no_longer_has_is_a_gap(server: RealServer) -> None:
    """The application is told where, and goes on."""
    channel = "short:news"
    async with make(server.url) as author, make(server.url) as reader:
        first = await author.publish(channel, "first")
        for n in range(9):
            await author.publish(channel, n)
        news = await reader.subscribe(channel, since=first.position)
        await author.publish(channel, "new")
        items = news.items()
        gap = await anext(items)
        assert isinstance(gap, Gap)
        assert gap.since == first.position
        assert gap.position is not None
        assert gap.position.offset == 10
        message = await anext(items)
        assert isinstance(message, Message)
        assert message.data == "new"


async def test_a_history_that_began_anew_is_a_gap(mortal: RealServer) -> None:
    """In memory it ends with its process; the epoch says so."""
    async with make(mortal.url) as client:
        chat = await client.subscribe("chat:a")
        await client.publish("chat:a", "before")
        assert await anext(chat) == "before"
        mortal.kill()
        mortal.start()
        items = chat.items()
        async with asyncio.timeout(20):
            gap = await anext(items)
        assert isinstance(gap, Gap)
        assert gap.position is not None
        assert gap.position.offset == 0
        await client.publish("chat:a", "after")
        assert await anext(chat) == "after"


async def test_the_last_value_is_there_at_once(server: RealServer) -> None:
    """Where the namespace keeps it; nothing older comes."""
    async with make(server.url) as author, make(server.url) as reader:
        empty = await reader.subscribe("prices:none")
        assert empty.position is not None
        assert empty.position.offset == 0
        await author.publish("prices:BTC", 1)
        await author.publish("prices:BTC", 2)
        prices = await reader.subscribe("prices:BTC")
        assert await take(prices, 1) == [2]


async def test_without_a_history_what_is_missed_is_missed(server: RealServer) -> None:
    """Nothing is promised there, and nothing said."""
    async with CuttingProxy(server.port) as proxy, make(server.url) as author:
        notices: list[Any] = []
        async with make(proxy.url, on_notice=notices.append) as reader:
            plain = await reader.subscribe("plain:a")
            assert plain.position is None
            proxy.cut()
            await eventually(lambda: reader.state is not State.ONLINE)
            await eventually(lambda: reader.state is State.ONLINE)
            await eventually(lambda: plain.active)
            await author.publish("plain:a", 1)
            assert notices == []


# -- history, filters, publishing ------------------------------------------------------


async def test_the_history_is_read_in_both_directions(server: RealServer) -> None:
    """A page at a time, from a position or from an end."""
    channel = "chat:history"
    async with make(server.url) as client:
        for n in range(30):
            await client.publish(channel, n, tags={"n": str(n)})
        page = await client.history(channel, limit=10)
        assert [one.data for one in page.messages] == list(range(10))
        assert (page.complete, page.more, page.position.offset) == (True, True, 30)
        assert page.messages[3].tags == {"n": "3"}
        following = await client.history(channel, since=page.messages[-1].position)
        assert [one.data for one in following.messages] == list(range(10, 30))
        newest = await client.history(channel, limit=2, reverse=True)
        assert [one.data for one in newest.messages] == [29, 28]
        with pytest.raises(CommandError, match="not_available"):
            await client.history("plain:a")


async def test_filters_let_through_what_they_match(server: RealServer) -> None:
    """Also of what is recovered."""
    channel = "chat:filtered"
    wanted = {"all": [{"tag": "n", "gte": 5}, {"not": {"tag": "odd", "exists": True}}]}
    async with make(server.url) as client:
        start = (await client.history(channel, limit=0)).position
        live = await client.subscribe(channel, filter=wanted)
        for n in range(10):
            tags = {"n": str(n)} | ({"odd": ""} if n % 2 else {})
            await client.publish(channel, n, tags=tags)
        assert await take(live, 2) == [6, 8]
        async with make(server.url) as late:
            missed = await late.subscribe(channel, since=start, filter=wanted)
            assert await take(missed, 2) == [6, 8]
        with pytest.raises(CommandError, match="bad_message") as wrong:
            await client.subscribe("chat:wrong", filter={"tag": "n"})
        assert wrong.value.field == "filter"
        assert client.state is State.ONLINE


async def test_an_interval_keeps_the_latest(server: RealServer) -> None:
    """However many are published in it."""
    async with make(server.url) as author, make(server.url) as reader:
        slow = await reader.subscribe("chat:slow", interval_s=0.2)
        for n in range(50):
            await author.publish("chat:slow", n)
        taken: list[int] = []
        async with asyncio.timeout(10):
            while 49 not in taken:
                taken.append(await anext(slow))
        assert taken == sorted(taken)
        assert len(taken) < 25


async def test_a_publisher_may_leave_itself_out(server: RealServer) -> None:
    """Others get it; its own reader gets what others publish."""
    async with make(server.url) as one, make(server.url) as two:
        mine, theirs = (
            await one.subscribe("chat:self"),
            await two.subscribe("chat:self"),
        )
        await one.publish("chat:self", 1, exclude_self=True)
        await two.publish("chat:self", 2)
        assert await take(theirs, 2) == [1, 2]
        assert await take(mine, 1) == [2]


async def test_keys_and_versions_are_heeded(server: RealServer) -> None:
    """What is repeated or stale is not published, and said to be so."""
    channel = "chat:versions"
    async with make(server.url) as client:
        first = await client.publish(channel, 1, idempotency_key="k", version=5)
        again = await client.publish(channel, 1, idempotency_key="k", version=5)
        stale = await client.publish(channel, 2, version=4)
        assert (first.skipped, again.skipped, stale.skipped) == (
            None,
            "duplicate",
            "stale",
        )
        assert again.position == first.position
        page = await client.history(channel)
        assert [one.data for one in page.messages] == [1]


# -- who is there ----------------------------------------------------------------------


async def test_who_is_there_is_known(server: RealServer) -> None:
    """Connections, users, what their tokens say, and who comes and goes."""
    async with make(server.url, "anna") as anna, make(server.url, "bob") as bob:
        room = await anna.subscribe("room:1", join_leave=True)
        items = room.items()
        there = await bob.subscribe("room:1")
        async with asyncio.timeout(10):
            joined = await anext(items)
            while isinstance(joined, Joined) and joined.member.user == "anna":
                joined = await anext(items)  # our own coming may be told, too
        assert isinstance(joined, Joined)
        assert (joined.member.user, joined.member.info) == ("bob", {"name": "Bob"})
        page = await bob.presence("room:1")
        assert {one.user for one in page.members} == {"anna", "bob"}
        assert page.cursor is None
        some = await bob.presence("room:1", limit=1)
        assert len(some.members) == 1
        rest = await bob.presence("room:1", limit=1, cursor=some.cursor)
        assert {one.user for one in (*some.members, *rest.members)} == {"anna", "bob"}
        assert await bob.presence_stats("room:1") == PresenceStats(2, 2)
        there.close()
        async with asyncio.timeout(10):
            left = await anext(items)
        assert isinstance(left, Left)
        assert left.member.user == "bob"
        assert await anna.presence_stats("room:1") == PresenceStats(1, 1)
        with pytest.raises(CommandError, match="not_available"):
            await anna.presence("chat:a")


# -- goodbye ---------------------------------------------------------------------------


async def test_a_server_that_stops_says_goodbye(mortal: RealServer) -> None:
    """The client comes back when it was told to; no attempt has failed."""
    changes: list[StateChange] = []
    async with make(mortal.url, on_state=changes.append) as client:
        await client.subscribe("chat:a")
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, mortal.stop)
        await eventually(lambda: any(one.error for one in changes))
        (first, *_) = [one for one in changes if one.error]
        assert isinstance(first.error, GoingAway)
        assert first.retry_in_s is not None
        assert 0 <= first.retry_in_s <= 0.2
        await loop.run_in_executor(None, mortal.start)
        await eventually(lambda: client.state is State.ONLINE)
