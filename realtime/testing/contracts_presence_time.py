"""
The contract of presence, second part: leases that end, and members that linger.
"""

from __future__ import annotations

import asyncio

from realtime.testing.presence_kit import (
    LONG_S,
    ROOM,
    SHORT_S,
    Presences,
    clients,
    counts,
    gone,
    leave,
    member,
    sum_of,
)
from realtime.types import UserId

ANN = member("c1", "ann")
BOB = member("c2", "bob")


class TimeContract:
    """Whose time is over is gone, for all nodes at once, and told exactly once."""

    async def test_a_lease_ends(self, presences: Presences) -> None:
        """All members of a node that is not heard of go, and only its own."""
        one, two = await presences.open(), await presences.open()
        await one.join(ROOM, ANN, SHORT_S)
        await one.join(ROOM, member("c3", "bob"), SHORT_S)
        await two.join(ROOM, BOB, LONG_S)
        await presences.pass_time(2 * SHORT_S)
        assert await counts(two) == (1, 1)
        assert await clients(one) == ["c2"]
        assert await two.connections(ROOM, UserId("ann")) == []
        assert await gone(two, [BOB]) == [ANN]  # bob is still there
        assert await gone(two, [BOB]) == []

    async def test_a_lease_is_renewed(self, presences: Presences) -> None:
        """By touching, by joining and by restoring."""
        presence = await presences.open()
        await presence.join(ROOM, ANN, SHORT_S)
        await presence.touch([(ROOM, sum_of([ANN]))], LONG_S)
        await presences.pass_time(2 * SHORT_S)
        assert await clients(presence) == ["c1"]
        await presence.touch([(ROOM, sum_of([ANN]))], SHORT_S)
        await presence.join(ROOM, BOB, LONG_S)
        await presences.pass_time(2 * SHORT_S)
        assert await clients(presence) == ["c1", "c2"]
        await presence.touch([(ROOM, sum_of([ANN, BOB]))], SHORT_S)
        await presence.restore(ROOM, [ANN, BOB], LONG_S)
        await presences.pass_time(2 * SHORT_S)
        assert await clients(presence) == ["c1", "c2"]

    async def test_who_has_gone_is_told_to_one_caller(
        self, presences: Presences
    ) -> None:
        """However many nodes ask at the same time, by whatever call."""
        nodes = [await presences.open() for _ in range(5)]
        lost = [member(f"c{n}", f"user-{n % 300}") for n in range(400)]
        await nodes[0].join(ROOM, lost[0], LONG_S)
        await nodes[0].restore(ROOM, lost, SHORT_S)
        await presences.pass_time(2 * SHORT_S)
        assert await counts(nodes[1]) == (0, 0)
        arrival = await nodes[1].join(ROOM, ANN, LONG_S)
        left = await leave(nodes[1], ROOM, ANN.client, ANN.user)
        found = await asyncio.gather(*(gone(node) for node in nodes[1:]))
        told = [*arrival.gone, *left, *(one for part in found for one in part)]
        expected = sorted([f"user-{n}" for n in range(300)] + ["ann"])
        assert sorted(one.user or "" for one in told) == expected

    async def test_thousands_go_at_once(self, presences: Presences) -> None:
        """Whatever one step removes at most, a touch goes on until all are gone."""
        one, two = await presences.open(), await presences.open()
        lost = [member(f"c{n}") for n in range(2_500)]
        await one.restore(ROOM, lost, SHORT_S)
        await presences.pass_time(4 * SHORT_S)
        assert len(await gone(two)) == 2_500
        assert await counts(two) == (0, 0)

    async def test_a_node_that_slept_is_told_who_is_back(
        self, presences: Presences
    ) -> None:
        """Its lease ended and its members were told as gone: now they are not."""
        one, two = await presences.open(), await presences.open()
        mine = [ANN, member("c3", "bob"), member("c4")]
        for each in mine:
            await one.join(ROOM, each, SHORT_S)
        await two.join(ROOM, BOB, LONG_S)
        await presences.pass_time(2 * SHORT_S)
        assert sorted(await gone(two, [BOB]), key=str) == [ANN, mine[2]]
        differing, _ = await one.touch([(ROOM, sum_of(mine))], LONG_S)
        assert differing == [ROOM]
        back = await one.restore(ROOM, mine, LONG_S)
        assert sorted(back, key=str) == [ANN, mine[2]]
        assert await one.restore(ROOM, mine, LONG_S) == []
        assert await counts(two) == (4, 2)

    async def test_who_lingers_is_there(self, presences: Presences) -> None:
        """Until the time is over; then the user is gone, and told once."""
        one, two = await presences.open(), await presences.open()
        await one.join(ROOM, ANN, LONG_S)
        assert await leave(one, ROOM, ANN.client, ANN.user, SHORT_S) == []
        assert await clients(two) == ["c1"]
        assert await two.connections(ROOM, UserId("ann")) == [ANN]
        assert await counts(two) == (1, 1)
        await presences.pass_time(2 * SHORT_S)
        assert await clients(two) == []
        assert await counts(two) == (0, 0)
        assert await gone(two) == [ANN]
        assert await gone(one) == []
        assert await presences.leftovers() == 0

    async def test_who_comes_back_in_time_was_never_away(
        self, presences: Presences
    ) -> None:
        """On any node, and the connection that lingered is not counted any more."""
        one, two = await presences.open(), await presences.open()
        await one.join(ROOM, ANN, LONG_S)
        await leave(one, ROOM, ANN.client, ANN.user, SHORT_S)
        back = member("c9", "ann")
        arrival = await two.join(ROOM, back, LONG_S)
        assert (arrival.first, arrival.connections) == (False, 1)
        await presences.pass_time(2 * SHORT_S)
        assert await gone(two, [back]) == await gone(one) == []
        assert await clients(one) == ["c9"]

    async def test_lingering_outlives_the_node(self, presences: Presences) -> None:
        """A node that drains lets its members linger without it."""
        one, two = await presences.open(), await presences.open()
        await one.join(ROOM, ANN, SHORT_S)
        await one.join(ROOM, BOB, SHORT_S)
        await leave(one, ROOM, ANN.client, ANN.user, LONG_S)
        await presences.pass_time(2 * SHORT_S)
        assert await gone(two) == [BOB]
        assert await clients(two) == ["c1"]

    async def test_a_user_with_another_connection_lingers_unseen(
        self, presences: Presences
    ) -> None:
        """Only when neither is left, the user is gone."""
        one, two = await presences.open(), await presences.open()
        other = member("c9", "ann")
        await one.join(ROOM, ANN, LONG_S)
        await two.join(ROOM, other, LONG_S)
        await leave(one, ROOM, ANN.client, ANN.user, SHORT_S)
        assert await leave(two, ROOM, other.client, other.user) == []
        assert await counts(two) == (1, 1)
        await presences.pass_time(2 * SHORT_S)
        assert await gone(two) == [ANN]

    async def test_who_lingers_or_went_with_the_lease_is_known(
        self, presences: Presences
    ) -> None:
        """Leaving again says so: all that there was to tell is told."""
        one, two = await presences.open(), await presences.open()
        await one.join(ROOM, ANN, LONG_S)
        for _ in range(2):
            left = await one.leave(ROOM, ANN.client, ANN.user, LONG_S)
            assert (left.known, left.gone) == (True, [])
        await one.join(ROOM, BOB, SHORT_S)
        await presences.pass_time(2 * SHORT_S)
        assert await gone(two) == [BOB]
        left = await one.leave(ROOM, BOB.client, BOB.user)
        assert (left.known, left.gone) == (True, [])

    async def test_who_lingers_may_be_restored(self, presences: Presences) -> None:
        """The answer to its leaving was lost: it counts once, and leaves once."""
        presence = await presences.open()
        await presence.join(ROOM, ANN, LONG_S)
        await leave(presence, ROOM, ANN.client, ANN.user, SHORT_S)
        assert await presence.restore(ROOM, [ANN, BOB], LONG_S) == []
        assert await counts(presence) == (2, 2)
        await presences.pass_time(2 * SHORT_S)
        assert await gone(presence, [ANN, BOB]) == []
        assert await clients(presence) == ["c1", "c2"]
        assert await leave(presence, ROOM, ANN.client, ANN.user, SHORT_S) == []
        await presences.pass_time(2 * SHORT_S)
        assert await gone(presence, [BOB]) == [ANN]
        assert await leave(presence, ROOM, BOB.client, BOB.user) == [BOB]
        assert await presences.leftovers() == 0

    async def test_nobody_lingers_without_a_user(self, presences: Presences) -> None:
        """Nobody could tell that it came back."""
        presence = await presences.open()
        await presence.join(ROOM, member("c1"), LONG_S)
        left = await leave(presence, ROOM, member("c1").client, None, LONG_S)
        assert left == [member("c1")]
        assert await counts(presence) == (0, 0)
