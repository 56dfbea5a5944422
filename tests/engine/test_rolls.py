"""Whom a node holds to be there."""

from __future__ import annotations

from realtime.adapters.presence.port import mark_of
from realtime.engine.rolls import Rolls
from realtime.types import Channel, ConnectionId, Member

ROOM, HALL = Channel("room:1"), Channel("hall:1")


def member(client: str) -> Member:
    """Make a member."""
    return Member(ConnectionId(client))


def test_a_roll_knows_the_sum_of_its_members() -> None:
    """However often one is entered, and in whatever order they come and go."""
    rolls = Rolls()
    for client in ("a", "b", "a", "c"):
        rolls.add(ROOM, member(client))
    rolls.remove(ROOM, ConnectionId("b"))
    assert rolls.sum(ROOM) == mark_of(ConnectionId("a")) + mark_of(ConnectionId("c"))
    assert rolls.members == 2
    assert rolls.of(ROOM) == [member("a"), member("c")]


def test_an_empty_roll_is_forgotten() -> None:
    """Nothing remains of a channel that nobody is on."""
    rolls = Rolls()
    rolls.add(ROOM, member("a"))
    rolls.add(HALL, member("a"))
    assert rolls.remove(ROOM, ConnectionId("a")) == member("a")
    assert rolls.remove(ROOM, ConnectionId("a")) is None
    assert rolls.get(ROOM, ConnectionId("a")) is None
    assert (rolls.sum(ROOM), list(rolls.of(ROOM)), ROOM in rolls) == (0, [], False)
    assert (list(rolls), len(rolls), rolls.members) == ([HALL], 1, 1)
