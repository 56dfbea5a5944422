"""
The presence of one process.

Several on one ``Board`` behave like nodes that share a Redis.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence

from realtime.adapters.presence.cursor import read_cursor, write_cursor
from realtime.adapters.presence.port import (
    Arrival,
    Departure,
    Members,
    Presence,
    PresenceStats,
)
from realtime.adapters.presence.room import Room
from realtime.types import Channel, ConnectionId, Member, NodeId, UserId


class Board:
    """What memory forms share: who is where, by channel."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self.rooms: dict[Channel, Room] = {}

    def room(self, channel: Channel) -> Room:
        """Return the room of *channel*, without those whose time is over."""
        room = self.rooms.get(channel)
        if room is None:
            room = self.rooms[channel] = Room()
        room.purge(self.monotonic())
        return room

    def tidy(self, channel: Channel) -> None:
        """Forget the room of *channel* if nothing is to be known of it."""
        room = self.rooms.get(channel)
        if room is not None and room.idle:
            del self.rooms[channel]


class MemoryPresence(Presence):
    """See ``Presence``. Nothing is awaited: each call is one step."""

    def __init__(self, node: NodeId, board: Board | None = None) -> None:
        self._node = node
        self._board = board or Board()

    async def join(self, channel: Channel, member: Member, lease_s: float) -> Arrival:
        room, now = self._board.room(channel), self._board.monotonic()
        first, connections = room.join(self._node, member)
        room.leases[self._node] = now + lease_s
        return Arrival(first, connections, room.take_gone())

    async def leave(
        self,
        channel: Channel,
        client: ConnectionId,
        user: UserId | None,
        linger_s: float = 0.0,
    ) -> Departure:
        room, now = self._board.room(channel), self._board.monotonic()
        until = now + linger_s if linger_s > 0 and user is not None else None
        known = room.leave(self._node, client, until)
        gone = room.take_gone()
        self._board.tidy(channel)
        return Departure(known, gone)

    async def touch(
        self, sums: Sequence[tuple[Channel, int]], lease_s: float
    ) -> tuple[Sequence[Channel], Sequence[tuple[Channel, Member]]]:
        now = self._board.monotonic()
        differing: list[Channel] = []
        gone: list[tuple[Channel, Member]] = []
        for channel, wanted in sums:
            room = self._board.room(channel)
            if self._node in room.nodes:
                room.leases[self._node] = now + lease_s
            if room.sum(self._node) != wanted:
                differing.append(channel)
            gone += [(channel, member) for member in room.take_gone()]
            self._board.tidy(channel)
        return differing, gone

    async def restore(
        self, channel: Channel, members: Sequence[Member], lease_s: float
    ) -> Sequence[Member]:
        room, now = self._board.room(channel), self._board.monotonic()
        room.leases[self._node] = now + lease_s
        back = room.restore(self._node, members)
        self._board.tidy(channel)
        return back

    async def members(self, channel: Channel, limit: int, cursor: str = "") -> Members:
        after = read_cursor(cursor)
        room = self._board.room(channel)
        start = bisect_right(room.order, after) if after is not None else 0
        page = [room.member(key) for key in room.order[start : start + limit]]
        more = bool(page) and start + limit < len(room.order)
        self._board.tidy(channel)
        return Members(
            page, write_cursor(page[-1].user, page[-1].client) if more else ""
        )

    async def connections(self, channel: Channel, user: UserId) -> Sequence[Member]:
        room = self._board.room(channel)
        found = [room.member(key) for key in room.keys_of(user)]
        self._board.tidy(channel)
        return found

    async def stats(self, channel: Channel) -> PresenceStats:
        room = self._board.room(channel)
        found = PresenceStats(len(room.order), len(room.users))
        self._board.tidy(channel)
        return found

    async def aclose(self) -> None:
        """Nothing to let go of."""
