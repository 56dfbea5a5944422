"""
Who is connected here: by user, and by the connection's id.

Asked for by orders of backends. It costs an open connection one entry of a dictionary:
most users have a single connection, so that it is kept without a set around it, and
what is rare (asking by id) looks through all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from realtime.core.access import Identity
from realtime.errors import CloseCode, CommandError
from realtime.types import Channel, ConnectionId, UserId


@dataclass(frozen=True, slots=True)
class Facts:
    """What is told of a connection. ``since`` is wall-clock seconds."""

    connection: ConnectionId
    since: float
    remote: str
    transport: str  # the sub-protocol of a WebSocket, or "sse"
    subscriptions: int
    client: str | None = None  # what the app calls itself


class Visitor(Protocol):
    """
    Something connected: a WebSocket, or a stream of server-sent events.

    Nothing here blocks, and all of it is harmless once the connection has ended.
    """

    @property
    def id(self) -> ConnectionId:
        """Names it among all connections of all nodes."""

    @property
    def identity(self) -> Identity | None:
        """For whom it acts; None before hello was accepted."""

    def facts(self) -> Facts:
        """Say what may be told of it."""

    def turn_out(
        self, code: CloseCode, reason: str = "", error: CommandError | None = None
    ) -> None:
        """Close it; *error* is told before."""

    def end_subscription(self, channel: Channel) -> bool:
        """End a subscription and say so; return whether there was one."""

    def renew(self, expires_at: float | None) -> bool:
        """
        Set when the token expires, None: now; return whether there is a token.
        """


class Directory:
    """
    Everybody who is connected here. *sockets* is kept by the connections themselves.
    """

    def __init__(self, sockets: Collection[Visitor]) -> None:
        self._sockets = sockets
        self._streams: dict[Visitor, None] = {}
        self._users: dict[UserId, Visitor | set[Visitor]] = {}

    def __iter__(self) -> Iterator[Visitor]:
        """Go through a copy of everybody, for any of them may leave meanwhile."""
        return iter((*self._sockets, *self._streams))

    @property
    def users(self) -> int:
        """How many users are connected here."""
        return len(self._users)

    def of(self, user: UserId) -> list[Visitor]:
        """Return the connections of *user*."""
        found = self._users.get(user)
        if found is None:
            return []
        return list(found) if isinstance(found, set) else [found]

    def find(self, id: ConnectionId) -> Visitor | None:
        """Return the connection that has this id."""
        return next((visitor for visitor in self if visitor.id == id), None)

    def add(self, visitor: Visitor) -> None:
        """Note for whom a WebSocket acts. Adding twice counts once."""
        user = _user_of(visitor)
        if user is None:
            return
        known = self._users.setdefault(user, visitor)
        if isinstance(known, set):
            known.add(visitor)
        elif known is not visitor:
            self._users[user] = {known, visitor}

    def discard(self, visitor: Visitor) -> None:
        """Forget it; harmless when it was not added."""
        user = _user_of(visitor)
        if user is None:
            return
        known = self._users.get(user)
        if known is visitor:
            del self._users[user]
        elif isinstance(known, set):
            known.discard(visitor)
            if len(known) == 1:
                self._users[user] = known.pop()

    def add_stream(self, visitor: Visitor) -> None:
        """Note a connection that is not a WebSocket."""
        self._streams[visitor] = None
        self.add(visitor)

    def discard_stream(self, visitor: Visitor) -> None:
        """Forget it; harmless when it was not added."""
        self._streams.pop(visitor, None)
        self.discard(visitor)


def _user_of(visitor: Visitor) -> UserId | None:
    identity = visitor.identity
    return None if identity is None else identity.user
