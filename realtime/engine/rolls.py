"""
Whom this node holds to be there, channel by channel: what its leases stand for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from realtime.adapters.presence.port import mark_of
from realtime.types import Channel, ConnectionId, Member


class Roll:
    """The members of one channel at this node, and the sum of their marks."""

    __slots__ = ("members", "sum")

    def __init__(self) -> None:
        self.members: dict[ConnectionId, Member] = {}
        self.sum = 0


class Rolls:
    """The rolls of all channels. ``members`` counts those on all of them."""

    __slots__ = ("_rolls", "members")

    def __init__(self) -> None:
        self._rolls: dict[Channel, Roll] = {}
        self.members = 0

    def __len__(self) -> int:
        return len(self._rolls)

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._rolls)

    def __contains__(self, channel: Channel) -> bool:
        return channel in self._rolls

    def get(self, channel: Channel, client: ConnectionId) -> Member | None:
        """Return the member that *client* is, if it is one."""
        roll = self._rolls.get(channel)
        return None if roll is None else roll.members.get(client)

    def of(self, channel: Channel) -> Sequence[Member]:
        """Return everybody on *channel*."""
        roll = self._rolls.get(channel)
        return [] if roll is None else list(roll.members.values())

    def sum(self, channel: Channel) -> int:
        """Return what the store should have for *channel*; 0 for nobody."""
        roll = self._rolls.get(channel)
        return 0 if roll is None else roll.sum

    def add(self, channel: Channel, member: Member) -> None:
        """Enter *member*, or replace what is known of it."""
        roll = self._rolls.get(channel)
        if roll is None:
            roll = self._rolls[channel] = Roll()
        if member.client not in roll.members:
            roll.sum += mark_of(member.client)
            self.members += 1
        roll.members[member.client] = member

    def remove(self, channel: Channel, client: ConnectionId) -> Member | None:
        """Strike *client* off; return the member, or None if it was not there."""
        roll = self._rolls.get(channel)
        member = None if roll is None else roll.members.pop(client, None)
        if roll is None or member is None:
            return None
        roll.sum -= mark_of(client)
        self.members -= 1
        if not roll.members:
            del self._rolls[channel]
        return member
