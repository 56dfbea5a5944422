"""What the contract suites of presence are written with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from realtime.adapters.presence.port import Presence, mark_of
from realtime.types import Channel, ConnectionId, JSONText, Member, UserId

ROOM = Channel("chat:42")
LONG_S = 600.0
SHORT_S = 0.15


class Presences(Protocol):
    """
    What the suite asks of a form of presence.

    *open* returns that of a further node, on the same storage; *pass_time* lets time
    pass for all of them; *lose* empties the storage, as a restart without persistence
    does; *leftovers* says how many keys or entries the storage still has.
    """

    async def open(self) -> Presence: ...
    async def pass_time(self, seconds: float) -> None: ...
    async def lose(self) -> None: ...
    async def leftovers(self) -> int: ...


def member(client: str, user: str | None = None, info: bytes | None = None) -> Member:
    """Make a member."""
    return Member(
        ConnectionId(client),
        None if user is None else UserId(user),
        None if info is None else JSONText(info),
    )


def sum_of(members: Iterable[Member]) -> int:
    """Return what ``touch`` is given for a node with these members."""
    return sum(mark_of(one.client) for one in members)


async def everybody(
    presence: Presence, channel: Channel = ROOM, limit: int = 100
) -> list[Member]:
    """Return all members, read page by page."""
    found: list[Member] = []
    cursor = ""
    while True:
        page = await presence.members(channel, limit, cursor)
        assert len(page.members) <= limit
        found += page.members
        cursor = page.cursor
        if not cursor:
            return found


async def clients(presence: Presence, channel: Channel = ROOM) -> list[str]:
    """Return the connections of all members."""
    return [one.client for one in await everybody(presence, channel)]


async def counts(presence: Presence, channel: Channel = ROOM) -> tuple[int, int]:
    """Return how many connections and users there are."""
    stats = await presence.stats(channel)
    return stats.clients, stats.users


async def leave(
    presence: Presence,
    channel: Channel,
    client: ConnectionId,
    user: UserId | None,
    linger_s: float = 0.0,
) -> list[Member]:
    """Leave; return who is gone."""
    return list((await presence.leave(channel, client, user, linger_s)).gone)


async def gone(
    presence: Presence, members: Sequence[Member] = (), channel: Channel = ROOM
) -> list[Member]:
    """Touch the channel as a node with *members*; return who is gone."""
    differing, found = await presence.touch([(channel, sum_of(members))], LONG_S)
    assert not differing
    assert all(where == channel for where, _ in found)
    return [one for _, one in found]
