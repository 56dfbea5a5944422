"""
The one vocabulary that every dialect maps to: commands up, replies and pushes down.

Field names here are the field names on the wire (docs/reference/protocol.md). ``id`` is
the client's own number for a request and comes back in its reply; a command without one
gets a reply without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from realtime.errors import CommandError, ErrorCode
from realtime.types import (
    Channel,
    DeviceId,
    JSONText,
    Member,
    Position,
    Publication,
    hot_value,
)

# -- commands ------------------------------------------------------------------


@hot_value
class Hello:
    """The first message of a connection: who, which device, and where it stands."""

    id: int | None = None
    token: str | None = None
    device: DeviceId | None = None  # without one, the session cannot track
    secret: str | None = None  # proves an anonymous device's identity
    acked: int = 0  # the last number this device saw acknowledged
    sent_at: float | None = None  # the device's clock when this was sent
    keepalive_s: float | None = None
    client: str | None = None  # name and version of the SDK, for the log
    # What to subscribe to at once: answered after welcome, as if each was sent alone.
    subscriptions: Sequence[Subscribe] = ()


@hot_value
class Track:
    """
    A batch of events numbered ``first``, ``first + 1``, ... without holes.

    ``lost`` declares that this many numbers before ``first`` will never come.
    ``events`` are the client's raw objects: each is judged on its own by the core.
    """

    first: int
    events: Sequence[object]
    id: int | None = None
    lost: int = 0
    sent_at: float | None = None


@hot_value
class Subscribe:
    """
    ``since`` asks for what was published after it. ``interval_s``: at most one
    publication per key and interval, the latest. ``filter`` is a tree over tags, as
    decoded (core/filters.py compiles it). ``join_leave``: tell who comes and goes.
    """

    channel: Channel
    id: int | None = None
    since: Position | None = None
    interval_s: float | None = None
    filter: object | None = None
    join_leave: bool = False


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    channel: Channel
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Publish:
    """
    ``idempotency_key`` makes repeating safe; ``version`` drops what is older than what
    was published. With ``exclude_self`` it is not sent to this connection.
    """

    channel: Channel
    data: JSONText
    id: int | None = None
    tags: Mapping[str, str] | None = None
    idempotency_key: str | None = None
    version: int | None = None
    exclude_self: bool = False


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """
    Read at most ``limit`` publications after ``since``, or before it with ``reverse``.

    On the wire: ``history``. A limit of 0 asks for the position alone.
    """

    channel: Channel
    id: int | None = None
    since: Position | None = None
    limit: int | None = None
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class ReadPresence:
    """Who is there, a page at a time. On the wire: ``presence``."""

    channel: Channel
    id: int | None = None
    limit: int | None = None
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class ReadPresenceStats:
    """How many are there. On the wire: ``presence_stats``."""

    channel: Channel
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Ping:
    id: int | None = None
    sent_at: float | None = None


@dataclass(frozen=True, slots=True)
class Refresh:
    token: str
    id: int | None = None


Command = (
    Hello
    | Track
    | Subscribe
    | Unsubscribe
    | Publish
    | ReadHistory
    | ReadPresence
    | ReadPresenceStats
    | Ping
    | Refresh
)

# -- replies and pushes --------------------------------------------------------


@hot_value
class Limits:
    """What this server allows one connection; told in ``welcome``."""

    max_frame_bytes: int
    max_event_bytes: int
    max_batch_events: int
    max_publication_bytes: int
    max_subscriptions: int


@hot_value
class Welcome:
    """The reply to hello. ``acked`` is the device's mark in the ledger."""

    connection: str
    node: str
    version: str
    received_at: float  # the server's clock when hello arrived
    sent_at: (
        float  # and when this left: with both, the client computes its clock's offset
    )
    keepalive_s: float
    limits: Limits
    id: int | None = None
    user: str | None = None
    acked: int | None = None  # None when hello named no device
    expires_at: float | None = None  # when the token expires, server clock


@dataclass(frozen=True, slots=True)
class Rejection:
    """An event that was not counted and never will be; its number is used up."""

    seq: int
    code: int
    name: str
    reason: str


@hot_value
class Ack:
    """Every event up to and including ``acked`` is counted (or rejected); forget it."""

    acked: int
    rejected: Sequence[Rejection] = ()


@dataclass(frozen=True, slots=True)
class SlowDown:
    """
    Events from number ``first`` on were not taken: send them again after the delay.
    """

    first: int
    retry_after_s: float
    reason: str


@hot_value
class Subscribed:
    """
    ``number`` names the channel in pushes; ``data`` is a live channel's current value,
    or the last publication of a channel that keeps its last value; then ``tags`` are
    its tags.

    ``position`` (on the wire: ``offset`` and ``epoch``) is told of channels with a
    history: what comes next begins after it. ``recovered`` answers ``since``: true, and
    ``publications`` are all that was missed; false, and what was missed is lost.
    ``skips``: offsets may jump, since publications are filtered or merged.
    """

    channel: Channel
    number: int
    id: int | None = None
    data: JSONText | None = None
    position: Position | None = None
    recovered: bool | None = None
    publications: Sequence[Publication] = ()
    skips: bool = False
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Recovering:
    """
    More was missed than one reply may carry: these are the first of them.

    The channel is not subscribed yet: subscribe again with ``since`` = ``position``.
    """

    channel: Channel
    position: Position
    publications: Sequence[Publication]
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """
    The reply to unsubscribe; with ``code`` and ``reason``, the server did it by itself.
    """

    channel: Channel
    id: int | None = None
    code: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """
    ``position`` is the publication's; ``skipped`` says why it was not made:
    "duplicate" or "stale". ``local``: only the subscribers of this node were given it.
    """

    id: int | None = None
    position: Position | None = None
    skipped: str | None = None
    local: bool = False


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """
    The reply to ``history``; on the wire: ``history``. ``complete`` is false when
    something between ``since`` and the first publication is lost.
    """

    channel: Channel
    position: Position  # of the newest publication ever made
    publications: Sequence[Publication]
    complete: bool
    more: bool
    id: int | None = None


@dataclass(frozen=True, slots=True)
class PresencePage:
    """The reply to ``presence``; with ``cursor``, there are further pages."""

    channel: Channel
    members: Sequence[Member]
    id: int | None = None
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class PresenceCount:
    """The reply to ``presence_stats``."""

    channel: Channel
    clients: int
    users: int
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Goodbye:
    """
    The server is about to close the connection, and not for anything the client did.

    The client comes back ``after_s`` seconds later, which differ from client to client.
    """

    after_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Pong:
    received_at: float
    sent_at: float
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Refreshed:
    id: int | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class TokenExpired:
    """
    The token has expired: only refresh and ping are answered, for ``grace_s`` more.
    """

    grace_s: float


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """A command failed; the session lives. See the catalogue in errors.py."""

    error: ErrorCode
    reason: str
    id: int | None = None
    field: str | None = field(default=None)
    expected: int | None = None
    retry_after_s: float | None = None

    @classmethod
    def of(cls, exc: CommandError, request: int | None = None) -> ErrorReply:
        """Make the reply for *exc*; *request* is the id of the command, if known."""
        number = exc.request if exc.request is not None else request
        return cls(
            exc.code, exc.reason, number, exc.field, exc.expected, exc.retry_after_s
        )


Reply = (
    Welcome
    | Ack
    | SlowDown
    | Subscribed
    | Recovering
    | Unsubscribed
    | Published
    | HistoryPage
    | PresencePage
    | PresenceCount
    | Goodbye
    | Pong
    | Refreshed
    | TokenExpired
    | ErrorReply
)
