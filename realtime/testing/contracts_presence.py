"""
The contract suite of presence: every form must pass it.

Subclass ``PresenceContract`` in a test module, with the anyio plugin, and provide the
fixture ``presences`` (``presence_kit.Presences``); the fixture closes all that were
opened.
"""

from __future__ import annotations

import pytest

from realtime.testing.contracts_presence_model import ModelContract
from realtime.testing.contracts_presence_time import TimeContract
from realtime.testing.presence_kit import (
    LONG_S,
    ROOM,
    Presences,
    clients,
    counts,
    everybody,
    gone,
    leave,
    member,
    sum_of,
)
from realtime.types import Channel, ConnectionId, Member, UserId

ANN = member("c1", "ann", b'{"name":"Ann"}')


class PresenceContract(TimeContract, ModelContract):
    """Every node sees the same members, and each departure is returned once."""

    async def test_nobody_is_there_at_first(self, presences: Presences) -> None:
        """An unused channel has neither connections nor users, and costs nothing."""
        presence = await presences.open()
        assert await everybody(presence) == []
        assert await counts(presence) == (0, 0)
        assert await presence.connections(ROOM, UserId("ann")) == []
        assert await gone(presence) == []
        assert await presences.leftovers() == 0

    async def test_members_are_seen_by_all_nodes(self, presences: Presences) -> None:
        """Members arrive unchanged, whatever is in their names."""
        one, two = await presences.open(), await presences.open()
        odd = [
            ANN,
            member("c2", "ann\0", b"1"),
            member("c3", "ann\1", b'"\\u0000"'),
            member("c4", "\u00fc{}:*\n", b"[0]"),
            member("c5", "", b'""'),
            member("c6", None, b'{"guest":true}'),
            member("c\0\1", None),
            member("c7", "\0\1\1\0"),
        ]
        for each in odd:
            assert (await one.join(ROOM, each, LONG_S)).first
        found = await everybody(two, limit=3)
        assert sorted(found, key=str) == sorted(odd, key=str)
        assert await counts(two) == (8, 6)
        for each in odd:
            if each.user is not None:
                assert await two.connections(ROOM, each.user) == [each]

    async def test_channels_are_apart(self, presences: Presences) -> None:
        """Who is on one channel is on no other, however alike their names are."""
        presence = await presences.open()
        names = [Channel(name) for name in ("a:{b}", "a:b", "a:{b}:l", "a:%7Bb%7D")]
        for name in names:
            await presence.join(name, member(name), LONG_S)
        for name in names:
            assert await clients(presence, name) == [name]

    async def test_a_user_comes_and_goes_once(self, presences: Presences) -> None:
        """Only the first and the last connection of a user matter, on any node."""
        one, two = await presences.open(), await presences.open()
        first = await one.join(ROOM, member("c1", "ann"), LONG_S)
        second = await two.join(ROOM, member("c2", "ann"), LONG_S)
        assert (first.first, first.connections) == (True, 1)
        assert (second.first, second.connections) == (False, 2)
        assert await counts(one) == (2, 1)
        found = await one.connections(ROOM, UserId("ann"))
        assert [each.client for each in found] == ["c1", "c2"]
        assert await leave(one, ROOM, ConnectionId("c1"), UserId("ann")) == []
        assert await counts(one) == (1, 1)
        last = await leave(two, ROOM, ConnectionId("c2"), UserId("ann"))
        assert last == [member("c2", "ann")]
        assert await counts(one) == (0, 0)
        assert await presences.leftovers() == 0

    async def test_members_without_a_user_come_and_go_each(
        self, presences: Presences
    ) -> None:
        """They are connections, and never users."""
        presence = await presences.open()
        for client in ("c1", "c2"):
            arrival = await presence.join(ROOM, member(client), LONG_S)
            assert (arrival.first, arrival.connections) == (True, 1)
        assert await counts(presence) == (2, 0)
        left = await leave(presence, ROOM, ConnectionId("c1"), None)
        assert left == [member("c1")]
        assert await counts(presence) == (1, 0)

    async def test_joining_again_replaces_what_is_known(
        self, presences: Presences
    ) -> None:
        """A member is there once, with the information that it brought last."""
        presence = await presences.open()
        await presence.join(ROOM, ANN, LONG_S)
        again = member("c1", "ann", b"2")
        arrival = await presence.join(ROOM, again, LONG_S)
        assert (arrival.first, arrival.connections) == (True, 1)
        assert await everybody(presence) == [again]
        assert await gone(presence, [again]) == []

    async def test_leaving_twice_is_harmless(self, presences: Presences) -> None:
        """Who is not there is not gone, and nobody else is either."""
        presence = await presences.open()
        await presence.join(ROOM, ANN, LONG_S)
        for expected in ([ANN], [], []):
            left = await leave(presence, ROOM, ANN.client, ANN.user)
            assert left == expected
        await presence.join(ROOM, member("c11", "ann"), LONG_S)
        assert await leave(presence, ROOM, ANN.client, ANN.user) == []
        assert await counts(presence) == (1, 1)

    async def test_a_departure_says_whether_it_was_known(
        self, presences: Presences
    ) -> None:
        """Nothing can be said of a user whose connection the store has lost."""
        presence = await presences.open()
        await presence.join(ROOM, ANN, LONG_S)
        await presences.lose()
        left = await presence.leave(ROOM, ANN.client, ANN.user)
        assert (left.known, left.gone) == (False, [])
        await presence.restore(ROOM, [ANN], LONG_S)
        left = await presence.leave(ROOM, ANN.client, ANN.user)
        assert (left.known, left.gone) == (True, [ANN])

    async def test_pages_tell_everybody_once(self, presences: Presences) -> None:
        """Also those whose neighbours come and go between two pages."""
        one, two = await presences.open(), await presences.open()
        for number in range(60):
            node = (one, two)[number % 2]
            user = None if number % 10 == 0 else f"user-{number % 25}"
            await node.join(ROOM, member(f"c{number}", user), LONG_S)
        stay = await everybody(one, limit=60)
        first = await two.members(ROOM, 20)
        last = first.members[-1]
        await leave(one, ROOM, last.client, last.user)
        await leave(two, ROOM, last.client, last.user)
        await one.join(ROOM, member("new-1"), LONG_S)
        await one.join(ROOM, member("new-2", "user-9999"), LONG_S)
        rest: list[Member] = []
        cursor = first.cursor
        while cursor:
            page = await one.members(ROOM, 7, cursor)
            rest += page.members
            cursor = page.cursor
        told = [*first.members, *rest]
        assert [each for each in told if not each.client.startswith("new")] == stay

    async def test_a_full_last_page_ends(self, presences: Presences) -> None:
        """No cursor leads to an empty page."""
        presence = await presences.open()
        for number in range(4):
            await presence.join(ROOM, member(f"c{number}"), LONG_S)
        page = await presence.members(ROOM, 2)
        assert page.cursor
        page = await presence.members(ROOM, 2, page.cursor)
        assert len(page.members) == 2
        assert page.cursor == ""

    @pytest.mark.parametrize("cursor", ["x", "!", "gaFh", "kwECAw", "\u00fc", "kgEC"])
    async def test_a_foreign_cursor_is_refused(
        self, presences: Presences, cursor: str
    ) -> None:
        """What was never given out is an error of the caller."""
        presence = await presences.open()
        with pytest.raises(ValueError, match="cursor"):
            await presence.members(ROOM, 10, cursor)

    async def test_a_node_is_told_when_others_are_known_of_it(
        self, presences: Presences
    ) -> None:
        """Too many, too few or others: the sum differs, and restoring mends it."""
        one, two = await presences.open(), await presences.open()
        kept, lost, new = (member(f"c{n}", f"user-{n}") for n in range(3))
        await one.join(ROOM, kept, LONG_S)
        await one.join(ROOM, lost, LONG_S)
        await two.join(ROOM, member("other"), LONG_S)
        for wanted in ([kept], [kept, new], []):
            differing, _ = await one.touch([(ROOM, sum_of(wanted))], LONG_S)
            assert differing == [ROOM]
            assert await one.restore(ROOM, wanted, LONG_S) == []
            assert await gone(one, wanted) == []
            assert await clients(two) == ["other", *(each.client for each in wanted)]
            assert await counts(two) == (1 + len(wanted), len(wanted))

    async def test_what_storage_lost_comes_back(self, presences: Presences) -> None:
        """Each node restores its own, and nobody is told as gone or back."""
        one, two = await presences.open(), await presences.open()
        mine = [member(f"c{n}", f"user-{n % 7}") for n in range(1_200)]
        for each in mine[:600]:
            await one.join(ROOM, each, LONG_S)
        await presences.lose()
        for node, part in ((one, mine[:600]), (two, mine[600:])):
            differing, _ = await node.touch([(ROOM, sum_of(part))], LONG_S)
            assert differing == [ROOM]
            assert await node.restore(ROOM, part, LONG_S) == []
        assert await counts(one) == (1_200, 7)
        assert await gone(one, mine[:600]) == await gone(two, mine[600:]) == []

    async def test_many_channels_are_touched_together(
        self, presences: Presences
    ) -> None:
        """Each is judged on its own."""
        presence = await presences.open()
        channels = [Channel(f"chat:{number}") for number in range(50)]
        for channel in channels:
            await presence.join(channel, ANN, LONG_S)
        sums = [(channel, sum_of([ANN])) for channel in channels]
        wrong = [(Channel("chat:none"), 7), (channels[0], 8)]
        differing, _ = await presence.touch([*wrong, *sums[1:]], LONG_S)
        assert differing == ["chat:none", "chat:0"]

    async def test_closing_twice_is_harmless(self, presences: Presences) -> None:
        """A form may be closed again."""
        presence = await presences.open()
        await presence.aclose()
        await presence.aclose()
