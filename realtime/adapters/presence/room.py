"""
Who is on one channel, as the memory form keeps it: plain state and its rules.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

from realtime.adapters.presence.cursor import Key, key_of
from realtime.adapters.presence.port import mark_of
from realtime.types import ConnectionId, Member, NodeId, UserId


class Room:
    """
    The members by node, those that linger, and who has gone and is not told yet.

    ``leases`` are the ends of the nodes' leases; whoever changes a node's members sets
    it. Times are of one clock that never goes back.
    """

    __slots__ = (
        "ended",
        "gone",
        "leases",
        "lingering",
        "nodes",
        "order",
        "users",
        "where",
    )

    def __init__(self) -> None:
        self.leases: dict[NodeId, float] = {}
        self.nodes: dict[NodeId, dict[ConnectionId, Member]] = {}
        self.lingering: dict[ConnectionId, tuple[float, Member]] = {}
        self.users: dict[UserId, int] = {}  # connections, those that linger included
        self.order: list[Key] = []  # of all members, sorted
        self.where: dict[Key, Member] = {}
        self.gone: list[Member] = []
        # Who went with a node's lease, until the node is back or has let go of them.
        self.ended: dict[NodeId, set[ConnectionId]] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing is to be known of the channel."""
        return not (self.order or self.gone or self.ended)

    def member(self, key: Key) -> Member:
        """Return the member at this place."""
        return self.where[key]

    def keys_of(self, user: UserId) -> Sequence[Key]:
        """Return the places of a user's connections."""
        begin = bisect_left(self.order, (f"u{user}", ""))
        end = begin + self.users.get(user, 0)
        return self.order[begin:end]

    def sum(self, node: NodeId) -> int:
        """Return the sum of the marks of a node's members."""
        return sum(map(mark_of, self.nodes.get(node, ())))

    def take_gone(self) -> Sequence[Member]:
        """Return who has gone and was not told before."""
        gone, self.gone = self.gone, []
        return gone

    def purge(self, now: float) -> None:
        """Remove those whose time is over."""
        for node in [node for node, until in self.leases.items() if until <= now]:
            del self.leases[node]
            members = self.nodes.pop(node)
            self.ended.setdefault(node, set()).update(members)
            self._drop(members.values())
        over = [one for until, one in self.lingering.values() if until <= now]
        for member in over:
            del self.lingering[member.client]
        self._drop(over)

    def join(self, node: NodeId, member: Member) -> tuple[bool, int]:
        """Add a member; return whether it is its user's first, and how many it has."""
        members = self.nodes.setdefault(node, {})
        before = members.get(member.client)
        if before is not None:
            self._remove(before)
        others = 0 if member.user is None else self.users.get(member.user, 0)
        if member.user is not None:
            self._end_lingering(member.user)
        members[member.client] = member
        self._add(member)
        connections = 1 if member.user is None else self.users[member.user]
        return others == 0, connections

    def leave(self, node: NodeId, client: ConnectionId, until: float | None) -> bool:
        """Remove a member, or let it linger *until* then; whether it was known."""
        members = self.nodes.get(node, {})
        member = members.pop(client, None)
        if member is None:
            return client in self.lingering or self._has_gone(node, client)
        if until is None:
            self._drop([member])
        else:
            self.lingering[client] = (until, member)
        self._vacate(node)
        return True

    def restore(self, node: NodeId, members: Sequence[Member]) -> Sequence[Member]:
        """Make a node's members these; return who had gone with its lease."""
        wanted = {member.client: member for member in members}
        present = self.nodes.setdefault(node, {})
        for client in present.keys() - wanted.keys():
            self._remove(present.pop(client))
        back = []
        for client, member in wanted.items():
            if client in present:
                continue
            if self.lingering.pop(client, None) is not None:
                # It has left, and its node has not heard so: it is counted already.
                self.where[key_of(member.user, client)] = present[client] = member
                continue
            if node in self.ended and (
                member.user is None or member.user not in self.users
            ):
                back.append(member)
            present[client] = member
            self._add(member)
        self.ended.pop(node, None)
        self._vacate(node)
        return back

    def _end_lingering(self, user: UserId) -> None:
        for key in self.keys_of(user):
            member = self.where[key]
            if self.lingering.pop(member.client, None) is not None:
                self._remove(member)

    def _has_gone(self, node: NodeId, client: ConnectionId) -> bool:
        """Whether its node's lease has ended; the node lets go of it now."""
        ended = self.ended.get(node)
        if ended is None:
            return False
        ended.discard(client)
        if not ended:
            del self.ended[node]
        return True

    def _vacate(self, node: NodeId) -> None:
        if not self.nodes.get(node):
            self.nodes.pop(node, None)
            self.leases.pop(node, None)

    def _add(self, member: Member) -> None:
        key = key_of(member.user, member.client)
        insort(self.order, key)
        self.where[key] = member
        if member.user is not None:
            self.users[member.user] = self.users.get(member.user, 0) + 1

    def _drop(self, members: Iterable[Member]) -> None:
        """Remove members; their users may be gone by it."""
        for member in members:
            self._remove(member)
            if member.user is None or member.user not in self.users:
                self.gone.append(member)

    def _remove(self, member: Member) -> None:
        key = key_of(member.user, member.client)
        del self.order[bisect_left(self.order, key)]
        del self.where[key]
        if member.user is not None:
            self.users[member.user] -= 1
            if not self.users[member.user]:
                del self.users[member.user]
