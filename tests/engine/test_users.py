"""Who is online, and how many connections a user may have, on several nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import orjson
import pytest

from realtime.engine.node import Node
from realtime.engine.users import SHARDS, shard_of, status_channel
from realtime.testing.client import MemoryClient
from realtime.testing.clock import settle
from realtime.testing.nodes import SharedMemory, memory_nodes
from realtime.types import UserId
from tests.engine.presence_support import CONFIG, LEASE_S, asleep, deaf, guest
from tests.engine.support import token

pytestmark = pytest.mark.anyio

ONLINE = f"""{CONFIG}
[users]
online = true
linger = "10s"
channel = "status:{{user}}"

[namespaces.status]
subscribe = "anyone"
last_value = true
"""
LIMITED = CONFIG.replace("[limits]", "[limits]\nmax_connections_per_user = 2")

World = tuple[Sequence[Node], SharedMemory]
ANNA = UserId("anna")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Three nodes that know who is online."""
    async with memory_nodes(ONLINE, 3) as both:
        yield both


@pytest.fixture
async def limited() -> AsyncIterator[World]:
    """Three nodes that admit two connections of a user."""
    async with memory_nodes(LIMITED, 3) as both:
        yield both


def statuses(client: MemoryClient) -> list[bool]:
    """What a client was pushed since the last time."""
    return [each["data"]["online"] for each in client.take() if each["type"] == "push"]


def told_backend(node: Node) -> list[tuple[str, str]]:
    """What a node tells the webhook from now on."""
    told: list[tuple[str, str]] = []
    node.people.users._notify = lambda event, body: told.append(
        (event, str(body["user"]))
    )
    return told


async def test_changes_are_published_and_told(world: World) -> None:
    """First connection and last, on any node, after the linger; with the time."""
    (one, two, three), shared = world
    friend = await guest(three, None, "status:anna")
    webhooks = [told_backend(node) for node in (one, two, three)]
    first = await guest(one, "anna", "open:1")
    pushed = [each for each in friend.take() if each["type"] == "push"]
    assert [each["data"] for each in pushed] == [
        {"user": "anna", "online": True, "at": round(shared.clock.time(), 3)}
    ]
    second = await guest(two, "anna", "open:1")
    first.lose(1000)
    second.lose(1000)
    assert await three.people.users.is_online(ANNA)
    await shared.clock.elapse(9.9)
    assert statuses(friend) == []
    await shared.clock.elapse(0.7)
    assert statuses(friend) == [False]
    assert not await one.people.users.is_online(ANNA)
    told = [one for part in webhooks for one in part]
    assert told == [("user_online", "anna"), ("user_offline", "anna")]


async def test_the_last_status_is_kept(world: World) -> None:
    """Whoever subscribes later learns it with the reply."""
    (one, two, _), _ = world
    await guest(one, "anna", "open:1")
    friend = MemoryClient(two)
    await friend.hello()
    [answer] = await friend.say("subscribe", id=1, channel="status:anna")
    assert answer["data"]["online"] is True


async def test_a_phone_that_changes_nodes_was_never_offline(world: World) -> None:
    """Whoever comes back within the linger is not told of."""
    (one, two, three), shared = world
    friend = await guest(three, None, "status:anna")
    for node in (one, two, one, two):
        client = await guest(node, "anna", "open:1")
        client.lose(1006)
        await shared.clock.elapse(9)
    assert statuses(friend) == [True]
    await shared.clock.elapse(9)
    assert statuses(friend) == [False]


async def test_guests_are_nobody(world: World) -> None:
    """A connection without a user is not online, and costs nothing."""
    (one, *_), shared = world
    await guest(one, None, "open:1")
    assert len(one.people.attendance.rolls) == 0
    assert not shared.rooms.rooms


async def test_a_node_that_dies_takes_its_users_offline(world: World) -> None:
    """Within the lease, told once, though no other node had a connection of theirs."""
    (one, two, three), shared = world
    friends = [await guest(node, None, "status:anna") for node in (two, three)]
    await guest(one, "anna", "open:1")
    assert [statuses(friend) for friend in friends] == [[True], [True]]
    with asleep(one):
        await shared.clock.elapse(LEASE_S)
        assert [statuses(friend) for friend in friends] == [[False], [False]]
        assert not await two.people.users.is_online(ANNA)
    await shared.clock.elapse(LEASE_S / 4)
    assert statuses(friends[0]) == [True]  # the node was only asleep


async def test_users_come_back_after_the_store_lost_them(world: World) -> None:
    """Within a quarter of the lease, and nobody is told."""
    (one, two, _), shared = world
    friend = await guest(two, None, "status:anna")
    await guest(one, "anna", "open:1")
    assert statuses(friend) == [True]
    shared.rooms.rooms.clear()
    await shared.clock.elapse(LEASE_S / 4)
    assert await two.people.users.is_online(ANNA)
    assert statuses(friend) == []


async def test_without_the_store_users_come_all_the_same(world: World) -> None:
    """They are told as online, or gone again, when it answers."""
    (one, two, _), shared = world
    friend = await guest(two, None, "status:anna", "status:ben")
    with deaf(one):
        await guest(one, "anna", "open:1")
        ben = await guest(one, "ben", "open:1")
        ben.lose(1000)
        await shared.clock.elapse(5)
        assert one.people.attendance.late == 2
    await shared.clock.elapse(LEASE_S)
    assert await two.people.users.is_online(ANNA)
    assert not await two.people.users.is_online(UserId("ben"))
    assert [
        each["data"]["online"]
        for each in friend.take()
        if each["type"] == "push" and each["data"]["user"] == "anna"
    ] == [True]
    assert one.people.attendance.late == 0


async def test_too_many_connections_are_refused(limited: World) -> None:
    """Over all nodes together; whoever goes makes room."""
    (one, two, three), shared = limited
    first, second = await guest(one, "anna"), await guest(two, "anna")
    third = MemoryClient(three)
    answers = await third.say("hello", token=token(shared.clock, "anna", 600_000))
    assert (answers, third.close_code) == ([], 4008)
    third.lose(4008)
    await guest(three, "ben")
    first.lose(1006)
    await settle()
    await guest(three, "anna")
    again = MemoryClient(one)
    await again.say("hello", token=token(shared.clock, "anna", 600_000))
    assert again.close_code == 4008
    del second


async def test_connections_of_a_dead_node_do_not_count(limited: World) -> None:
    """After the lease."""
    (one, two, _), shared = limited
    await guest(one, "anna")
    await guest(one, "anna")
    with asleep(one):
        await shared.clock.elapse(LEASE_S)
        await guest(two, "anna")


async def test_without_the_store_the_limit_is_off(limited: World) -> None:
    """Nobody is locked out because Redis is away."""
    (one, *_), shared = limited
    with deaf(one):
        for _ in range(4):
            await guest(one, "anna", "open:1")
    await shared.clock.elapse(5)
    assert one.people.attendance.late == 0
    found = await one.parts.presence.connections(shard_of(ANNA), ANNA)
    assert len(found) == 4


async def test_who_is_lost_while_it_says_hello_is_not_counted(
    limited: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it linger."""
    (one, *_), shared = limited
    join = one.parts.presence.join

    async def slow_join(*arguments: object) -> object:
        arrival = await join(*arguments)  # type: ignore[arg-type]
        await shared.clock.sleep(1)
        return arrival

    monkeypatch.setattr(one.parts.presence, "join", slow_join)
    for _ in range(5):
        client = MemoryClient(one)
        hello = {"type": "hello", "token": token(shared.clock, "anna", 600_000)}
        client.send_raw(orjson.dumps(hello))
        await settle()
        client.lose()
    await shared.clock.elapse(3)
    assert one.people.attendance.rolls.members == 0
    assert not shared.rooms.rooms


async def test_nothing_is_kept_where_nobody_asks(shared_nothing: Node) -> None:
    """Without users.online and without the limit, users cost nothing."""
    await guest(shared_nothing, "anna", "open:1")
    assert len(shared_nothing.people.attendance.rolls) == 0
    assert shared_nothing.people.attendance._channels() == []


@pytest.fixture
async def shared_nothing() -> AsyncIterator[Node]:
    """A node that knows nothing of users."""
    async with memory_nodes(CONFIG, 1) as ((node,), _):
        yield node


@pytest.mark.parametrize(
    "user, channel",
    [
        ("anna", "status:anna"),
        ("a b", "status:a%20b"),
        ("o'brien@x.org", "status:o'brien%40x.org"),
        ("\u00fc", "status:%C3%BC"),
        ("x" * 300, None),
    ],
)
def test_a_user_is_a_part_of_a_channels_name(user: str, channel: str | None) -> None:
    """Written as encodeURIComponent writes it; none if that is too long."""
    assert status_channel("status:{user}", UserId(user)) == channel


def test_users_are_spread_over_the_shards() -> None:
    """Each has its place, and no place has many of them."""
    places = [shard_of(UserId(f"user-{number}")) for number in range(6_400)]
    assert set(places) == set(SHARDS)
    assert max(map(places.count, SHARDS)) < 200
