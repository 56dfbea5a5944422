"""
The contract of presence. Proved for every form by the suite in realtime/testing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from realtime.types import Channel, ConnectionId, Member, UserId


def mark_of(client: ConnectionId) -> int:
    """
    Return a number of *client*'s that is never 0; the sum of those of all members
    tells whether two lists are of the same ones (``Presence.touch``).
    """
    return crc32(client.encode()) + 1


@dataclass(frozen=True, slots=True)
class Arrival:
    """
    What a join found.

    ``first``: no other connection of this user was there, nor lingered (always true
    for a member without a user). ``connections``: how many this user has there now;
    those that lingered are not counted, the join has ended them. ``gone``: who was
    found to have gone meanwhile; see ``Presence``.
    """

    first: bool
    connections: int
    gone: Sequence[Member] = ()


@dataclass(frozen=True, slots=True)
class Departure:
    """
    What a leave found.

    ``known``: the member was there, lingers, or has been returned as gone with its
    node's lease. If not, the store has lost it (or it has left before), so nobody knows
    whether its user is gone: ``restore`` it, and let it leave again.
    """

    known: bool
    gone: Sequence[Member] = ()


@dataclass(frozen=True, slots=True)
class Members:
    """A page of members in a stable order; ``cursor`` asks for the next; "" ends."""

    members: Sequence[Member]
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class PresenceStats:
    """How many connections, and how many users (those without one are not users)."""

    clients: int
    users: int


class Presence(ABC):
    """
    Members by channel and node, each node's under one lease.

    A node's members on a channel live as long as its lease there, which ``touch``
    renews with one small command however many they are. Whoever's lease has ended, and
    whoever has lingered long enough, is not there for any reading from then on, and is
    returned as *gone* by exactly one later join, leave or touch of the channel, on any
    node: who gets them tells the others. Of a user with several connections only the
    last to go is returned.

    Calls of one node about one client must not overlap. Any others may: they take
    effect in the order in which they were begun, as long as the store answers.
    """

    @abstractmethod
    async def join(self, channel: Channel, member: Member, lease_s: float) -> Arrival:
        """
        Add *member*, or replace what is known of it; renews the lease.

        Raises:
            Unavailable: If it may not have been added.
        """

    @abstractmethod
    async def leave(
        self,
        channel: Channel,
        client: ConnectionId,
        user: UserId | None,
        linger_s: float = 0.0,
    ) -> Departure:
        """
        Remove a member of this node; return who has gone.

        Nobody is while its user has other connections there. With *linger_s* the
        member stays for this long, as if there, and is gone only if its user has not
        joined again by then, on any node; one without a user goes at once, since
        nobody could tell that it came back. Leaving twice is harmless.

        Raises:
            Unavailable: If it may not have been removed; then its lease ends it, or a
                ``restore`` without it.
        """

    @abstractmethod
    async def touch(
        self, sums: Sequence[tuple[Channel, int]], lease_s: float
    ) -> tuple[Sequence[Channel], Sequence[tuple[Channel, Member]]]:
        """
        Renew this node's leases; *sums* says who should be there: the sum of
        ``mark_of`` this node's members (0: nobody, who needs no lease).

        Returns the channels where the store knows other members of this node (it was
        restarted, has lost its latest changes, or has given up the lease): ``restore``
        them; and who is gone.

        Raises:
            Unavailable: If that is unknown.
        """

    @abstractmethod
    async def restore(
        self, channel: Channel, members: Sequence[Member], lease_s: float
    ) -> Sequence[Member]:
        """
        Make this node's members on *channel* exactly *members*; nobody is gone by it.

        Returns who had been returned as gone because this node's lease had ended, and
        is there again: the others must be told.

        Raises:
            Unavailable: If it may not have been done.
        """

    @abstractmethod
    async def members(self, channel: Channel, limit: int, cursor: str = "") -> Members:
        """
        Return a page of at most *limit* members, on all nodes.

        Who is there during the whole reading is told exactly once.

        Raises:
            ValueError: If *cursor* is none of ours.
            Unavailable: If they cannot be read.
        """

    @abstractmethod
    async def connections(self, channel: Channel, user: UserId) -> Sequence[Member]:
        """
        Return the connections of *user* on *channel*, also those that linger.

        Raises:
            Unavailable: If they cannot be read.
        """

    @abstractmethod
    async def stats(self, channel: Channel) -> PresenceStats:
        """
        Count, in time that does not grow with the number of members.

        Raises:
            Unavailable: If it cannot be read.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of what this form holds. Closing twice is harmless."""
