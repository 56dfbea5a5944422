"""Orders about connections: obeyed on every node, and told to the apps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from realtime.engine.orders import BATCH, MAX_NAME_CHARS, first_names
from realtime.testing.client import MemoryClient
from realtime.testing.clock import settle
from realtime.types import UserId
from tests.engine.orders_support import ANN, cluster, one, token
from tests.engine.support import CONFIG

pytestmark = pytest.mark.anyio


# -- disconnect ------------------------------------------------------------------------


@pytest.mark.parametrize(("reconnect", "code"), [(False, 4504), (True, 4007)])
async def test_a_user_is_disconnected_everywhere(reconnect: bool, code: int) -> None:
    """With the code that says whether to come back, and the backend's own reason."""
    async with cluster() as nodes:
        clients = await nodes.everywhere()
        other = await nodes.connect(1, "bob")
        outcome = await nodes.admin.disconnect(
            ANN, reconnect=reconnect, reason="gone too far"
        )

        assert (outcome.nodes, outcome.done, dict(outcome.problems)) == (3, 3, {})
        assert {one.socket.closed_with for one in clients} == {(code, "gone too far")}
        assert other.close_code is None


async def test_one_connection_is_disconnected() -> None:
    """The user's others stay; an id that nobody has hits nobody."""
    async with cluster() as nodes:
        stays = await nodes.connect(0)
        goes = await nodes.connect(1)
        outcome = await nodes.admin.disconnect(one(goes))
        goes.lose()
        again = await nodes.admin.disconnect(one(goes))

        assert (outcome.done, again.done, again.nodes) == (1, 0, 3)
        assert (stays.close_code, goes.close_code) == (None, 4504)


async def test_a_user_with_several_connections_on_a_node() -> None:
    """All are found, and each is forgotten when it has gone."""
    async with cluster(1) as nodes:
        clients = [await nodes.connect() for _ in range(3)]
        directory = nodes.nodes[0].directory
        counts = []
        for client in clients:
            counts.append(len(directory.of(UserId("ann"))))
            client.lose()

        assert counts == [3, 2, 1]
        assert directory.of(UserId("ann")) == []
        assert directory.users == 0


async def test_a_connection_that_has_not_said_hello_is_nobodys() -> None:
    """Nor does it leave anything behind."""
    async with cluster(1) as nodes:
        client = MemoryClient(nodes.nodes[0])
        outcome = await nodes.admin.disconnect(ANN)
        client.lose()
        assert (outcome.done, nodes.nodes[0].directory.users) == (0, 0)


# -- unsubscribe -----------------------------------------------------------------------


async def test_a_subscription_is_ended_everywhere() -> None:
    """The app is told by which order; other channels and other users stay."""
    async with cluster() as nodes:
        clients = [*await nodes.everywhere(), await nodes.connect(0, "bob")]
        for client in clients:
            await client.say("subscribe", channel="chat:a")
            await client.say("subscribe", channel="chat:b")
        outcome = await nodes.admin.unsubscribe(ANN, "chat:a")
        told = [client.take() for client in clients]
        await nodes.nodes[0].publish("chat:a", b"1")
        await nodes.nodes[0].publish("chat:b", b"2")
        await settle()

        assert outcome.done == 3
        for [message] in told[:3]:
            assert (message["type"], message["channel"]) == ("unsubscribed", "chat:a")
            assert message["code"] == 120
        assert [[one["data"] for one in client.take()] for client in clients] == [
            [2],
            [2],
            [2],
            [1, 2],
        ]


async def test_who_is_not_subscribed_is_not_told() -> None:
    """Given twice, the second order finds nothing to do."""
    async with cluster() as nodes:
        client = await nodes.connect(2)
        await client.say("subscribe", channel="chat:a")
        counts = [
            (await nodes.admin.unsubscribe(one(client), "chat:a")).done
            for _ in range(2)
        ]
        assert counts == [1, 0]
        assert [message["type"] for message in client.take()] == ["unsubscribed"]


@pytest.mark.parametrize("way", ["subscribe", "hello"])
async def test_a_subscription_under_way_is_ended_before_it_is_there(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app is told so instead, and gets nothing of the channel."""
    async with cluster(1) as nodes:
        [node], answers = nodes.nodes, asyncio.Event()
        subscriptions = node.services.subscriptions
        subscribe = subscriptions.subscribe

        async def late(*arguments: Any) -> Any:
            await answers.wait()
            return await subscribe(*arguments)

        monkeypatch.setattr(subscriptions, "subscribe", late)
        client = MemoryClient(node)
        hello = {"token": token(nodes.clock)}
        if way == "hello":
            await client.say("hello", subscriptions=[{"channel": "chat:a"}], **hello)
        else:
            await client.hello(**hello)
            await client.say("subscribe", channel="chat:a")
        counts = [(await nodes.admin.unsubscribe(ANN, "chat:a")).done for _ in "ab"]
        answers.set()
        await settle()
        await node.publish("chat:a", b"1")
        [told] = client.take()

        assert counts == [1, 0]
        assert (told["type"], told["name"]) == ("error", "ended_by_backend")
        assert len(subscriptions) == 0
        assert client.peer.joining is None
        [answer] = await client.say("subscribe", channel="chat:a")
        assert answer["type"] == "subscribed"


# -- refresh ---------------------------------------------------------------------------


async def test_a_token_is_made_to_expire_now() -> None:
    """The app has the usual grace to bring another one; a repetition adds nothing."""
    async with cluster() as nodes:
        client = await nodes.connect(1)
        outcome = await nodes.admin.refresh(ANN)
        [told] = client.take()
        assert (outcome.done, told["type"], told["grace_s"]) == (1, "token_expired", 25)

        await nodes.clock.elapse(20)
        await nodes.admin.refresh(ANN)
        [answer] = await client.say("refresh", token=token(nodes.clock))
        assert answer["type"] == "refreshed"
        await nodes.clock.elapse(30)
        assert client.close_code is None


async def test_who_brings_no_other_token_is_closed() -> None:
    """After the grace, counted from the first order."""
    async with cluster() as nodes:
        client = await nodes.connect(1)
        await nodes.admin.refresh(ANN)
        await nodes.clock.elapse(20)
        await nodes.admin.refresh(ANN)
        await nodes.clock.elapse(6)
        assert client.close_code == 4502


async def test_a_token_is_given_another_end() -> None:
    """Later or sooner than it says itself; the app is told when."""
    async with cluster() as nodes:
        client = await nodes.connect(1)
        end = nodes.clock.time() + 1_200
        await nodes.admin.refresh(ANN, end)
        [told] = client.take()
        assert (told["type"], told["expires_at"]) == ("refreshed", end)

        await nodes.clock.elapse(900)
        assert client.take() == []
        await nodes.admin.refresh(ANN, nodes.clock.time() + 10)
        await nodes.clock.elapse(11)
        assert [one["type"] for one in client.take()] == ["refreshed", "token_expired"]


async def test_an_expired_session_lives_again_with_a_later_end() -> None:
    """The backend may decide that the old token will do."""
    async with cluster() as nodes:
        client = await nodes.connect()
        await nodes.admin.refresh(ANN)
        await nodes.admin.refresh(ANN, nodes.clock.time() + 600)
        await nodes.clock.elapse(60)
        [*_, answer] = await client.say("subscribe", channel="chat:a")
        assert (answer["type"], client.close_code) == ("subscribed", None)


async def test_who_has_no_token_has_none_to_refresh() -> None:
    """An anonymous session goes on."""
    async with cluster() as nodes:
        client = await nodes.connect(0, None)
        outcome = await nodes.admin.refresh(one(client))
        await nodes.clock.elapse(60)
        assert (outcome.done, client.take(), client.close_code) == (0, [], None)


# -- connections -----------------------------------------------------------------------


async def test_a_users_connections_are_told_of_all_nodes() -> None:
    """The oldest first, each with where it is and what it is."""
    async with cluster() as nodes:
        clients = []
        for place in (2, 0):
            client = MemoryClient(nodes.nodes[place])
            presented = token(nodes.clock)
            await client.hello(token=presented, client="shop/1.2")
            await client.say("subscribe", channel="chat:a")
            clients.append(client)
            await nodes.clock.elapse(1)
        outcome, found = await nodes.admin.connections(ANN)

        assert outcome.nodes == 3
        assert found == [
            {
                "connection": client.peer.id,
                "node": nodes.nodes[place].id,
                "since": nodes.clock.time() - 2 + number,
                "remote": "192.0.2.1",
                "transport": "realtime.v1.json",
                "subscriptions": 1,
                "client": "shop/1.2",
            }
            for number, (place, client) in enumerate(zip((2, 0), clients, strict=True))
        ]


# -- channels --------------------------------------------------------------------------


async def test_channels_are_told_of_all_nodes_page_by_page() -> None:
    """In order, each once, with its subscribers on all nodes."""
    async with cluster() as nodes:
        clients = await nodes.everywhere()
        for client, names in zip(clients, ("abc", "bcd", "cde"), strict=True):
            for name in names:
                await client.say("subscribe", channel=f"chat:{name}")
        pages, after = [], ""
        while True:
            _, page = await nodes.admin.channels("", after, 2)
            pages.append(list(page.channels))
            if page.cursor is None:
                break
            after = page.cursor

        assert pages == [
            [("chat:a", 1), ("chat:b", 2)],
            [("chat:c", 3), ("chat:d", 2)],
            [("chat:e", 1)],
        ]


async def test_channels_are_chosen_by_how_they_begin() -> None:
    """Live channels are among them, the nodes' own are not."""
    async with cluster() as nodes:
        client = await nodes.connect()
        for channel in ("chat:a", "live:likes;post=42;window=total", "server:stats"):
            await client.say("subscribe", channel=channel)

        async def names(prefix: str) -> list[str]:
            _, page = await nodes.admin.channels(prefix, "", 100)
            return [name for name, _ in page.channels]

        assert await names("chat:") == ["chat:a"]
        assert await names("live:l") == ["live:likes;post=42;window=total"]
        assert await names("@") == []
        assert "chat:a" in await names("")


async def test_long_names_make_short_pages_and_lose_none() -> None:
    """A page is bounded by characters, too, so an answer fits into a message."""
    async with cluster(2) as nodes:
        wanted = [f"live:likes;post={'x' * 4000}{n:03};window=total" for n in range(99)]

        class Many:
            """A node's channels: every second one."""

            def __init__(self, part: int) -> None:
                self.part = part

            def names(self) -> list[str]:
                return wanted[self.part :: 2]

            def count(self, channel: str) -> int:
                return 1

        for part, node in enumerate(nodes.nodes):
            node.admin._control._orders._channels = Many(part)
        found, after = [], ""
        while after is not None:
            _, page = await nodes.admin.channels("", after, 1000)
            assert 0 < sum(len(name) for name, _ in page.channels) < 2 * MAX_NAME_CHARS
            found += [name for name, _ in page.channels]
            after = page.cursor

        assert found == wanted


async def test_the_first_of_very_many_names() -> None:
    """Found without sorting all, and while others are served."""
    names = [f"n{number:05}" for number in range(20_000)]
    shuffled = names[::2][::-1] + names[1::2]
    assert await first_names(shuffled, "n", "n00499", 3) == names[500:503]
    assert await first_names(shuffled, "n1999", "n19998", 3) == ["n19999"]
    assert await first_names([], "", "", 3) == []


# -- blocks and revocations ------------------------------------------------------------


async def test_a_block_takes_effect_on_every_node() -> None:
    """Who is connected is told for how long and closed; who comes, too."""
    async with cluster() as nodes:
        clients = await nodes.everywhere()
        outcome, stored = await nodes.admin.block(UserId("ann"), 60)
        assert (outcome.done, outcome.nodes) == (3, 3)
        assert stored.until == nodes.clock.time() + 60
        for client in clients:
            [told] = client.take()
            assert (told["name"], told["retry_after_s"]) == ("blocked", 60)
            assert client.close_code == 4505
        for late in await nodes.everywhere():
            assert late.close_code == 4505

        await nodes.admin.unblock(UserId("ann"))
        assert [one.close_code for one in await nodes.everywhere()] == [None] * 3


async def test_a_block_ends_by_itself() -> None:
    """On every node, without another order."""
    async with cluster() as nodes:
        await nodes.admin.block(UserId("ann"), 60)
        await nodes.clock.elapse(61)
        assert [one.close_code for one in await nodes.everywhere()] == [None] * 3


async def test_revoked_tokens_are_closed_and_new_ones_are_not() -> None:
    """The app gets a new token and is let in again."""
    async with cluster() as nodes:
        old = await nodes.everywhere()
        await nodes.clock.elapse(1)
        outcome, _ = await nodes.admin.revoke(UserId("ann"), None, 600)
        assert outcome.done == 3
        assert {client.close_code for client in old} == {4506}
        assert {client.take()[-1]["name"] for client in old} == {"token_revoked"}

        assert (await nodes.connect(1)).close_code is None
        assert (await nodes.connect(1, age_s=5)).close_code == 4506
        assert (await nodes.connect(1, age_s=None)).close_code == 4506
        assert (await nodes.connect(1, "bob", age_s=5)).close_code is None


async def test_everybodys_tokens_are_revoked() -> None:
    """However many there are, and no anonymous session among them."""
    async with cluster(2) as nodes:
        count = 2 * BATCH + 7
        clients = [await nodes.connect(n % 2, f"user-{n}") for n in range(count)]
        nobody = await nodes.connect(0, None)
        await nodes.clock.elapse(1)
        outcome, _ = await nodes.admin.revoke(None, None, 600)
        await nodes.clock.elapse(1)

        assert outcome.done == count
        assert {client.close_code for client in clients} == {4506}
        assert nobody.close_code is None


async def test_a_revoked_token_is_no_refresh() -> None:
    """A client that holds on to it is closed, as at hello."""
    async with cluster() as nodes:
        old = token(nodes.clock)
        await nodes.clock.elapse(1)
        await nodes.admin.revoke(UserId("ann"), None, 600)
        client = await nodes.connect(2)
        [answer] = await client.say("refresh", id=7, token=old)

        assert (answer["id"], answer["name"]) == (7, "token_revoked")
        assert client.close_code == 4506


async def test_an_order_that_comes_during_hello_is_not_missed() -> None:
    """The token was good when it was looked at, and is not when it is welcomed."""
    async with cluster(1) as nodes:
        [node] = nodes.nodes
        client, claim = MemoryClient(node), node.parts.ledger.claim

        async def slowly(*arguments: object) -> int:
            await nodes.admin.block(UserId("ann"), 60)
            return await claim(*arguments)  # type: ignore[arg-type]

        node.parts.ledger.claim = slowly  # type: ignore[method-assign]
        presented = token(nodes.clock, realtime={"track": ["*"]})
        await client.hello(token=presented, device="d")
        assert client.close_code == 4505


async def test_blocks_are_listed_page_by_page() -> None:
    """By user, blocks before revocations, the same on every node."""
    async with cluster() as nodes:
        for user in ("bob", "ann"):
            await nodes.admin.block(UserId(user), 60)
        await nodes.admin.revoke(None, None, 60)
        first = await nodes.nodes[1].admin.blocks("", 2)
        second = await nodes.nodes[2].admin.blocks(first.cursor or "", 2)

        assert [order.user for order in first.orders] == ["ann", "bob"]
        assert [order.user for order in second.orders] == [None]
        assert second.cursor is None


async def test_a_new_node_knows_who_is_blocked() -> None:
    """Before it takes anybody."""
    async with cluster(1) as nodes:
        await nodes.admin.block(UserId("ann"), 600)
        async with nodes.shared.node(CONFIG) as newcomer:
            client = MemoryClient(newcomer)
            await client.hello(token=token(nodes.clock))
            assert client.close_code == 4505
