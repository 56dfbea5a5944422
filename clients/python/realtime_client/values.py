"""The values that the application is given: states, counters, rejections, notices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from realtime_client.errors import CommandError, RealtimeError

Json = Any
"""What JSON can say: None, bool, int, float, str, and lists and dicts of these."""

Scalar = str | int | float | bool | None
"""What a property of an event may be."""


class State(Enum):
    """Where the client stands."""

    OFFLINE = "offline"  # not started, or waiting before the next attempt
    CONNECTING = "connecting"
    ONLINE = "online"
    CLOSED = "closed"  # for good: closed by the application, or by a final error


@dataclass(frozen=True, slots=True)
class StateChange:
    """
    The client's new state.

    *error* is why (for OFFLINE and CLOSED); the next attempt comes in *retry_in_s*.
    """

    state: State
    error: RealtimeError | None = None
    retry_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class LiveValue:
    """
    A counter's value at a moment.

    *at* is the end of the window (server's clock, seconds since the epoch), None for
    the total. *rev* grows with every change of the same window. *final* means that the
    window has closed and its lateness is over. *value* is None for the minimum, maximum
    or mean of nothing.
    """

    channel: str
    value: int | float | None
    at: float | None = None
    rev: int = 0
    final: bool = False

    def newer_than(self, other: LiveValue) -> bool:
        """Whether this one was made after *other*, of the same channel."""
        return self._age > other._age

    @property
    def _age(self) -> tuple[float, int, bool]:
        at = float("-inf") if self.at is None else self.at
        return (at, self.rev, self.final)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server allows one connection."""

    max_frame_bytes: int
    max_event_bytes: int
    max_batch_events: int
    max_publication_bytes: int
    max_subscriptions: int


@dataclass(frozen=True, slots=True)
class Position:
    """
    A place in a channel's history.

    *epoch* says which numbering *offset* belongs to; compare it for equality only.
    """

    offset: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Message:
    """
    A publication: its data and tags; *position* where the channel keeps a history.

    Whoever stores the position with what was made of the message may go on from there:
    ``subscribe(channel, since=position)``.
    """

    data: Json
    position: Position | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gap:
    """
    Messages of *channel* are lost for us: those between *since* and *position*.

    Either is None where it is not known. *reason* is a sentence for a developer.
    """

    channel: str
    since: Position | None
    position: Position | None
    reason: str


@dataclass(frozen=True, slots=True)
class Member:
    """
    A connection that is subscribed to a channel.

    *client* names the connection, *user* its user (None: anonymous); *info* is what its
    token tells others.
    """

    client: str
    user: str | None = None
    info: Json = None


@dataclass(frozen=True, slots=True)
class Joined:
    """A user (or an anonymous connection) has come."""

    member: Member


@dataclass(frozen=True, slots=True)
class Left:
    """A user has gone, with the last connection (or an anonymous connection has)."""

    member: Member


Item = Message | Gap | Joined | Left
"""What ``Subscription.items`` gives."""


@dataclass(frozen=True, slots=True)
class Published:
    """
    What became of a publication; *position* where the channel keeps a history.

    *skipped* says why it was not made: ``"duplicate"``, since its key was used before
    (then the position is the first one's), or ``"stale"``, since its version is not the
    greatest; None if it was. *local*: only the subscribers of the server's process that
    this client is connected to were given it, since the processes cannot hear of each
    other now. What has a key (unless ``retry_s`` is 0, all have) is refused instead.
    """

    position: Position | None = None
    skipped: str | None = None
    local: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """
    A part of what a channel keeps, in the order asked for.

    *position* is the newest publication's that was ever made. *complete* False:
    something between ``since`` and the first of these is lost. *more*: there are others
    in this direction; ask again ``since`` the last one's position.
    """

    messages: tuple[Message, ...]
    position: Position
    complete: bool
    more: bool


@dataclass(frozen=True, slots=True)
class Presence:
    """A page of who is there; *cursor* asks for the next one, None is the last."""

    members: tuple[Member, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class PresenceStats:
    """How many connections are there, and how many users these are."""

    clients: int
    users: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """
    An event that was not counted and never will be; its number is used up.

    *code* and *name* are of the server's catalogue (200 to 299). *event* is what was
    tracked, when the queue still had it.
    """

    seq: int
    code: int
    name: str
    reason: str
    event: Mapping[str, Json] | None = field(default=None, compare=False)


# -- notices ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NumbersLost:
    """
    The server no longer knows events that it had acknowledged, and neither do we.

    Its ledger lost data (a crash without full durability). The numbers are declared
    lost to the server; what they had counted is gone.
    """

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Renumbered:
    """
    Events never sent moved to higher numbers: *old_first* and those after it begin at
    *new_first* now.

    The server had counted these numbers of this device before. So it goes when a fixed
    device is used with a queue in memory, or when the queue's file is older than what
    was sent (restored from a backup; power cut with ``synchronous="NORMAL"``).
    """

    old_first: int
    new_first: int


@dataclass(frozen=True, slots=True)
class TrackingRefused:
    """The server refuses our events as a whole; they wait for the next connection."""

    error: CommandError


@dataclass(frozen=True, slots=True)
class RefreshFailed:
    """The token could not be refreshed; it is tried again in *retry_in_s*."""

    error: RealtimeError
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class MessagesDropped:
    """A subscription's reader is too slow: its oldest messages are being dropped."""

    channel: str


@dataclass(frozen=True, slots=True)
class ServerError:
    """The server sent an error that answers no command of ours."""

    error: CommandError


Notice = (
    NumbersLost
    | Renumbered
    | TrackingRefused
    | RefreshFailed
    | MessagesDropped
    | Gap
    | ServerError
)
"""What the application should know of and need not act on; given to ``on_notice``."""
