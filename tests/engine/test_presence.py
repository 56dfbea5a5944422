"""Who is on a channel, on several nodes in memory: what clients see and are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from unittest import mock

import pytest

from realtime.engine.node import Node
from realtime.errors import Unavailable
from realtime.testing.client import MemoryClient
from realtime.testing.clock import settle
from realtime.testing.nodes import SharedMemory, memory_nodes
from tests.engine.presence_support import (
    CONFIG,
    LEASE_S,
    ROOM,
    asleep,
    counted,
    deaf,
    guest,
    listed,
    listener,
    told,
)

pytestmark = pytest.mark.anyio

World = tuple[Sequence[Node], SharedMemory]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Three nodes that share everything, and what they share."""
    async with memory_nodes(CONFIG, 3) as both:
        yield both


async def test_members_are_seen_everywhere(world: World) -> None:
    """Whoever subscribes is in the list that it then asks for, on any node."""
    (one, two, _), _ = world
    anna, guest_ = await guest(one, "anna"), await guest(two)
    assert await listed(anna) == sorted(["anna", guest_.peer.id])
    assert await counted(guest_) == (2, 1)
    [page] = await guest_.say("presence", id=7, channel=ROOM)
    assert page["id"] == 7
    assert {
        "client": anna.peer.id,
        "user": "anna",
        "info": {"name": "anna"},
    } in page["members"]


async def test_many_members_come_in_pages(world: World) -> None:
    """A page is as long as it was asked for, and at most as long as is allowed."""
    (one, *_), _ = world
    clients = [await guest(one, f"user-{number}") for number in range(8)]
    assert await listed(clients[0]) == [f"user-{number}" for number in range(8)]
    for limit, expected in ((2, 2), (100, 3), (None, 3)):
        asked = {} if limit is None else {"limit": limit}
        [page] = await clients[0].say("presence", id=1, channel=ROOM, **asked)
        assert len(page["members"]) == expected
    [answer] = await clients[0].say("presence", id=1, channel=ROOM, cursor="x")
    assert (answer["name"], answer["field"]) == ("bad_message", "cursor")


async def test_where_members_are_not_known_they_cannot_be_asked_for(
    world: World,
) -> None:
    """The error names the setting; and nothing is kept."""
    (one, *_), shared = world
    client = await guest(one, None, "open:1")
    for command in ("presence", "presence_stats"):
        [answer] = await client.say(command, id=1, channel="open:1")
        assert answer["name"] == "not_available"
        assert "presence = true" in answer["reason"]
    assert len(one.people.attendance.rolls) == 0
    assert not shared.rooms.rooms


async def test_coming_and_going_is_told_once_a_user(world: World) -> None:
    """First connection and last, wherever they are; guests are told each."""
    (one, two, three), _ = world
    watcher = await listener(three)
    first, second = await guest(one, "anna"), await guest(two, "anna")
    assert told(watcher) == [("join", "anna")]
    await first.say("unsubscribe", id=2, channel=ROOM)
    await settle()
    assert told(watcher) == []
    second.lose(1000)
    await settle()
    assert told(watcher) == [("leave", "anna")]
    stranger = await guest(one)
    stranger.lose(1006)
    await settle()
    assert told(watcher) == [("join", stranger.peer.id), ("leave", stranger.peer.id)]


async def test_who_comes_does_not_hear_of_itself(world: World) -> None:
    """Everybody else who listens does."""
    (one, *_), _ = world
    watcher, other = await listener(one), await listener(one)
    assert told(other) == []
    assert told(watcher) == []  # the same user
    newcomer = await guest(one, "anna", "open:1")
    [answer] = await newcomer.say("subscribe", id=1, channel=ROOM, join_leave=True)
    await settle()
    assert answer["type"] == "subscribed"
    assert told(newcomer) == []
    assert told(watcher) == [("join", "anna")]


async def test_who_did_not_ask_is_not_told(world: World) -> None:
    """Nor is anybody where the namespace does not tell it."""
    (one, *_), _ = world
    plain = await guest(one, "ben")
    await guest(one, "anna")
    await settle()
    assert told(plain) == []
    [answer] = await plain.say("subscribe", id=1, channel="quiet:1", join_leave=True)
    assert answer["name"] == "not_available"
    await guest(one, "anna", "quiet:1")
    assert len(one.people._channel_notices) == 0


@pytest.mark.parametrize("code", [1006, 4001, 4002, 4502])
async def test_a_flap_is_hidden(world: World, code: int) -> None:
    """Who is lost and comes back in time, on any node, was never away."""
    (one, two, three), shared = world
    watcher, client = await listener(three), await guest(one, "anna")
    told(watcher)
    client.lose(code)
    await shared.clock.elapse(4)
    assert await listed(watcher) == ["anna", "watcher"]
    client = await guest(two, "anna")
    await shared.clock.elapse(30)
    assert told(watcher) == []
    assert await counted(watcher) == (2, 2)


@pytest.mark.parametrize("code", [1006, 4002])
async def test_who_does_not_come_back_is_told_when_the_time_is_over(
    world: World, code: int
) -> None:
    """Soon after the namespace's linger, not at the next renewal of a lease."""
    (one, _, three), shared = world
    watcher, client = await listener(three), await guest(one, "anna")
    told(watcher)
    client.lose(code)
    await shared.clock.elapse(4.9)
    assert told(watcher) == []
    await shared.clock.elapse(0.6)
    assert told(watcher) == [("leave", "anna")]
    assert await listed(watcher) == ["watcher"]


@pytest.mark.parametrize("code", [1000, 1001, 1005, 4503, 4504, 4506])
async def test_who_says_goodbye_is_gone_at_once(world: World, code: int) -> None:
    """A clean close, and an end after which nobody comes back unchanged."""
    (one, _, three), _ = world
    watcher, client = await listener(three), await guest(one, "anna")
    told(watcher)
    client.lose(code)
    await settle()
    assert told(watcher) == [("leave", "anna")]
    assert await listed(watcher) == ["watcher"]


async def test_a_node_that_drains_hides_the_move(world: World) -> None:
    """Its clients are sent elsewhere with 1001, and nobody is told that they left."""
    (one, two, three), shared = world
    watcher, client = await listener(three), await guest(one, "anna")
    told(watcher)
    one.draining = True
    client.lose(1001)
    await one.people.aclose()
    await guest(two, "anna")
    await shared.clock.elapse(30)
    assert told(watcher) == []


async def test_a_node_that_dies_is_told_once_within_the_lease(world: World) -> None:
    """Its members are gone for everybody, and one of the survivors says so."""
    (one, two, three), shared = world
    watchers = [await listener(two), await listener(three)]
    for user in ("anna", "ben", "cleo"):
        await guest(one, user)
    await guest(two, "ben")
    for watcher in watchers:
        told(watcher)
    with asleep(one):
        await shared.clock.elapse(LEASE_S)
        for watcher in watchers:
            assert sorted(told(watcher)) == [("leave", "anna"), ("leave", "cleo")]
            assert await listed(watcher) == ["ben", "watcher", "watcher"]
        await shared.clock.elapse(3 * LEASE_S)
        assert [told(watcher) for watcher in watchers] == [[], []]


async def test_a_node_that_wakes_up_tells_who_is_back(world: World) -> None:
    """Its lease had ended, and its members had been told as gone."""
    (one, two, _), shared = world
    watcher = await listener(two)
    await guest(one, "anna")
    with asleep(one):
        await shared.clock.elapse(LEASE_S)
        assert told(watcher) == [("join", "anna"), ("leave", "anna")]
    await shared.clock.elapse(LEASE_S / 4)
    assert told(watcher) == [("join", "anna")]
    assert await listed(watcher) == ["anna", "watcher"]


async def test_what_the_store_lost_comes_back_unnoticed(world: World) -> None:
    """Within a quarter of the lease, at once after a reconnect; nobody is told."""
    (one, two, three), shared = world
    watcher = await listener(three)
    clients = [await guest(one, "anna"), await guest(two, "ben")]
    told(watcher)
    shared.rooms.rooms.clear()
    await shared.clock.elapse(LEASE_S / 4)
    assert await listed(watcher) == ["anna", "ben", "watcher"]
    shared.rooms.rooms.clear()
    for node in (one, two, three):
        node.missed()
    await settle()
    assert await listed(watcher) == ["anna", "ben", "watcher"]
    assert told(watcher) == []
    assert one.metrics.total(one.metrics.presence_restored) == 2
    del clients


async def test_without_the_store_nobody_subscribes(world: World) -> None:
    """But to be told that it may be tried later; nothing of it is left behind."""
    (one, *_), _ = world
    client = await guest(one, "anna", "open:1")
    with deaf(one):
        [answer] = await client.say("subscribe", id=1, channel=ROOM)
        assert (answer["name"], answer["retry"]) == ("unavailable", "later")
        for command in ("presence", "presence_stats"):
            [answer] = await client.say(command, id=1, channel=ROOM)
            assert answer["name"] == "unavailable"
        assert one.people.attendance.rolls.members == 0
    [answer] = await client.say("subscribe", id=1, channel=ROOM)
    assert answer["type"] == "subscribed"
    assert await listed(client) == ["anna"]


async def test_who_left_while_the_store_was_away_is_gone_later(world: World) -> None:
    """Also if the store has forgotten everything; told once, and no one else is."""
    (one, two, three), shared = world
    watcher = await listener(three)
    leaving = await guest(one, "anna")
    staying = [await guest(one, "ben"), await guest(two, "cleo")]
    also = await guest(two, "anna")
    told(watcher)
    with deaf(one, two):
        leaving.lose(1000)
        also.lose(1000)
        await shared.clock.elapse(5)
        assert one.people.attendance.late == two.people.attendance.late == 1
        shared.rooms.rooms.clear()
    await shared.clock.elapse(2 * LEASE_S)
    assert told(watcher) == [("leave", "anna")]
    assert await listed(watcher) == ["ben", "cleo", "watcher"]
    assert one.people.attendance.late == two.people.attendance.late == 0
    del staying


async def test_who_leaves_a_store_that_has_forgotten_it_is_told_as_gone(
    world: World,
) -> None:
    """Before this node has noticed; a user with another connection has not left."""
    (one, two, three), shared = world
    watcher = await listener(three)
    clients = [await guest(one, "anna"), await guest(one, "ben")]
    other = await guest(two, "ben")
    told(watcher)
    shared.rooms.rooms.clear()
    for client in clients:
        client.lose(1000)
    await shared.clock.elapse(LEASE_S)
    assert told(watcher) == [("leave", "anna")]
    assert await listed(watcher) == ["ben", "watcher"]
    del other


async def test_who_came_back_while_the_store_was_away_stays(world: World) -> None:
    """The departure that was not taken is not made after the return."""
    (one, _, three), shared = world
    watcher, client = await listener(three), await guest(one, "anna")
    told(watcher)
    with deaf(one):
        await client.say("unsubscribe", id=2, channel=ROOM)
        await shared.clock.elapse(0.2)
    [answer] = await client.say("subscribe", id=3, channel=ROOM)
    assert answer["type"] == "subscribed"
    await shared.clock.elapse(3 * LEASE_S)
    assert await listed(watcher) == ["anna", "watcher"]
    assert told(watcher) == []


async def test_subscribing_again_at_once_keeps_the_order(world: World) -> None:
    """The new membership is not ended by the end of the old one."""
    (one, _, three), shared = world
    watcher, client = await listener(three), await guest(one, "anna")
    told(watcher)
    for _ in range(10):
        client.send_raw(b'{"type":"unsubscribe","channel":"room:42"}')
        client.send_raw(b'{"type":"subscribe","channel":"room:42"}')
    await shared.clock.elapse(1)
    assert await listed(watcher) == ["anna", "watcher"]
    last = told(watcher)
    assert last == [] or last[-1] == ("join", "anna")
    client.send_raw(b'{"type":"unsubscribe","channel":"room:42"}')
    await settle()
    assert told(watcher)[-1] == ("leave", "anna")


async def test_a_connection_lost_while_it_subscribes_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the store has entered it already."""
    (one, two, _), shared = world
    watcher = await listener(two)
    client = await guest(one, "anna", "open:1")
    presence = one.parts.presence
    join = presence.join

    async def slow_join(*arguments: object) -> object:
        arrival = await join(*arguments)  # type: ignore[arg-type]
        await shared.clock.sleep(1)
        return arrival

    monkeypatch.setattr(presence, "join", slow_join)
    client.send_raw(b'{"type":"subscribe","channel":"room:42"}')
    await settle()
    assert await listed(watcher) == ["anna", "watcher"]
    client.lose(1000)
    await shared.clock.elapse(2)
    assert await listed(watcher) == ["watcher"]
    assert one.people.attendance.rolls.members == 0
    assert told(watcher) in ([], [("join", "anna"), ("leave", "anna")])


async def test_nobody_waits_for_a_store_that_has_failed_badly(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the error is, who wants to subscribe is told to come again."""
    (one, *_), _ = world
    client = await guest(one, "anna", "open:1")
    failing = mock.AsyncMock(side_effect=RuntimeError("a defect"))
    monkeypatch.setattr(one.parts.presence, "join", failing)
    [failed] = await client.say("subscribe", channel="room:42")
    assert failed["name"] == "unavailable"
    assert one.people.attendance.rolls.members == 0
    monkeypatch.undo()
    [told] = await client.say("subscribe", channel="room:42")
    assert told["type"] == "subscribed"


async def test_who_may_not_subscribe_is_no_member(world: World) -> None:
    """Refused before it becomes one; and if the broker fails, it is none again."""
    (one, *_), shared = world
    client = await guest(one, "anna", "open:1")
    [answer] = await client.say("subscribe", id=1, channel="nowhere:1")
    assert answer["type"] == "error"
    with mock.patch.object(one.parts.broker, "_check_open", side_effect=Unavailable):
        [answer] = await client.say("subscribe", id=1, channel=ROOM)
    assert answer["name"] == "unavailable"
    await shared.clock.elapse(2)
    assert one.people.attendance.rolls.members == 0
    assert ROOM not in shared.rooms.rooms


async def test_everything_settles_to_nothing(world: World) -> None:
    """After all have left, no table here or in the store has anything of them."""
    nodes, shared = world
    clients = [
        await guest(node, f"user-{number % 7}", ROOM, f"quiet:{number % 5}")
        for number in range(20)
        for node in nodes
    ]
    for number, client in enumerate(clients):
        client.lose((1000, 1006, 4002)[number % 3])
    await shared.clock.elapse(LEASE_S)
    assert not shared.rooms.rooms
    for node in nodes:
        attendance = node.people.attendance
        assert (len(attendance.rolls), attendance.rolls.members) == (0, 0)
        assert not attendance._under_way
        assert not attendance._looks
        assert len(node.people._channel_notices) == 0


async def test_members_are_resumed_with_hello(world: World) -> None:
    """What hello subscribes to, it becomes a member of."""
    (one, *_), _ = world
    client = MemoryClient(one)
    wanted = [{"channel": f"quiet:{number}"} for number in range(5)]
    answers = await client.say("hello", subscriptions=wanted)
    assert [each["type"] for each in answers] == ["welcome", *["subscribed"] * 5]
    assert one.people.attendance.rolls.members == 5
    client.lose()
    await settle()
    assert one.people.attendance.rolls.members == 0
