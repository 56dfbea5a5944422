"""What the server says, as values; parsing.py reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from realtime_client.errors import CommandError
from realtime_client.values import Json, Limits, Member, Position, Rejection


@dataclass(frozen=True, slots=True)
class Welcome:
    """The reply to hello. *acked* is None when no events may be sent."""

    id: int | None
    connection: str
    node: str
    version: str
    received_at: float
    sent_at: float
    keepalive_s: float
    limits: Limits
    user: str | None
    acked: int | None
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class Ack:
    """Every event up to and including *acked* is done with."""

    acked: int
    rejected: tuple[Rejection, ...]


@dataclass(frozen=True, slots=True)
class SlowDown:
    """Events from *first* on were not taken."""

    first: int
    retry_after_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Publication:
    """One message of a channel; *offset* where it keeps a history."""

    data: Json
    offset: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subscribed:
    """
    *number* names the channel in pushes; *data* is a live channel's value, or the last
    message of a channel that keeps it, which has these *tags*.

    What is pushed begins after *position*; *publications* lie before it, and after what
    was asked for: all of them if *recovered*.
    """

    id: int | None
    channel: str
    number: int
    data: Json = None
    position: Position | None = None
    recovered: bool | None = None
    publications: tuple[Publication, ...] = ()
    skips: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recovering:
    """Not subscribed yet: there is more after *position* than one reply may carry."""

    id: int | None
    channel: str
    position: Position
    publications: tuple[Publication, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """With *code*, the server did it by itself."""

    id: int | None
    channel: str
    code: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Published:
    """The publication is on its way, or was *skipped* for the reason given."""

    id: int | None
    position: Position | None = None
    skipped: str | None = None
    local: bool = False


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A part of a channel's history; *position* is the newest publication's."""

    id: int | None
    channel: str
    position: Position
    publications: tuple[Publication, ...]
    complete: bool
    more: bool


@dataclass(frozen=True, slots=True)
class PresencePage:
    """A page of who is there; with a *cursor*, there are others."""

    id: int | None
    channel: str
    members: tuple[Member, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class PresenceCount:
    """How many are there."""

    id: int | None
    channel: str
    clients: int
    users: int


@dataclass(frozen=True, slots=True)
class Pong:
    """The server's clock when the ping came and when this left."""

    id: int | None
    received_at: float
    sent_at: float


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The new token is in force."""

    id: int | None
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class TokenExpired:
    """Only refresh and ping are answered, for *grace_s* more."""

    grace_s: float


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """A command failed; without *id*, it is not told which."""

    id: int | None
    error: CommandError


@dataclass(frozen=True, slots=True)
class Push:
    """A publication on the channel that this connection knows by *channel*."""

    channel: int
    data: Json
    offset: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GapPush:
    """What lies before *position* is lost, on the channel of this number."""

    channel: int
    position: Position | None


@dataclass(frozen=True, slots=True)
class JoinPush:
    """Somebody came, on the channel of this number."""

    channel: int
    member: Member


@dataclass(frozen=True, slots=True)
class LeavePush:
    """Somebody went, on the channel of this number."""

    channel: int
    member: Member


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The server is about to close; come back *after_s* from now."""

    after_s: float
    reason: str


Answer = (
    Welcome
    | Subscribed
    | Recovering
    | Unsubscribed
    | Published
    | HistoryPage
    | PresencePage
    | PresenceCount
    | Pong
    | Refreshed
    | ErrorReply
)
"""What may carry the id of a command."""

ChannelPush = Push | GapPush | JoinPush | LeavePush
"""What happens on a channel that is subscribed."""

Reply = Answer | Ack | SlowDown | TokenExpired | ChannelPush | Goodbye
