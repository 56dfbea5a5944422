"""
What the hooks of a developer are asked, and what they may answer.

A hook is a function of a known name in the module that ``[hooks] module`` names:

    async def authenticate(request: ConnectRequest) -> User | None
    async def authorise_subscribe(request: SubscribeRequest) -> bool | None
    async def on_publish(request: PublishRequest) -> PublishAnswer
    async def on_events(batch: EventBatch) -> Sequence[EventAnswer] | None
    async def on_connect(connection: ConnectionOpened) -> None
    async def on_disconnect(connection: ConnectionClosed) -> None
    async def on_start() -> None
    async def on_stop() -> None

Each may as well be a plain ``def``. None always means "no objection": what would happen
without the hook happens. All but the notices may raise ``Deny``. Everything here is
immutable; docs/howto/hooks.md shows a whole module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

import orjson

from realtime.types import JSONText, Scalar

__all__ = [
    "UNCHANGED",
    "ChangeEvent",
    "ChangePublication",
    "ConnectRequest",
    "ConnectionClosed",
    "ConnectionOpened",
    "Deny",
    "Event",
    "EventAnswer",
    "EventBatch",
    "Point",
    "PublishAnswer",
    "PublishRequest",
    "Purpose",
    "RejectEvent",
    "SubscribeRequest",
    "Unchanged",
    "User",
    "Wants",
]


class Point(StrEnum):
    """Where a hook is asked or told something; also the name of its function."""

    AUTHENTICATE = "authenticate"
    AUTHORISE_SUBSCRIBE = "authorise_subscribe"
    ON_PUBLISH = "on_publish"
    ON_EVENTS = "on_events"
    ON_CONNECT = "on_connect"
    ON_DISCONNECT = "on_disconnect"


class Deny(Exception):
    """
    Raise it to refuse; *reason* is told to the client, so it holds no secrets.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


# -- who ---------------------------------------------------------------------------


class Purpose(StrEnum):
    """What somebody presents a token for."""

    CONNECT = "connect"  # the first message of a connection
    REFRESH = "refresh"  # a new token for a connection that is open
    REQUEST = "request"  # one HTTP request


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """
    Somebody wants to be let in: may he, and who is he?

    ``token`` is whatever the client presents: it need not be a JSON Web Token.
    ``connection`` is None, ``remote`` may be empty for HTTP. ``user`` is whose the
    session is when its token is refreshed.
    """

    token: str | None = field(repr=False)
    purpose: Purpose
    remote: str = ""
    connection: str | None = None
    device: str | None = None
    client: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """
    The answer of ``authenticate``: who it is, and what he may do.

    Without an ``id`` the session is anonymous. The grants are as in a token: names in
    which ``*`` stands for any run of characters. ``info`` is shown to other members of
    a channel, at most 2048 bytes as JSON. ``expires_at`` is in seconds since the epoch;
    None is never. (None instead of a User: the token decides.)
    """

    id: str | None = None
    subscribe: Sequence[str] = ()
    publish: Sequence[str] = ()
    track: Sequence[str] = ()
    history: Sequence[str] = ()
    members: Sequence[str] = ()
    info: Any = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    """A client has been welcomed."""

    connection: str
    user: str | None
    device: str | None
    client: str | None
    remote: str
    at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """A client that had been welcomed is gone; ``seconds`` is how long it stayed."""

    connection: str
    user: str | None
    device: str | None
    client: str | None
    remote: str
    at: float
    code: int
    reason: str
    seconds: float


# -- channels ----------------------------------------------------------------------


class Wants(StrEnum):
    """What somebody wants of a channel."""

    SUBSCRIBE = "subscribe"  # also to read a counter's value once
    HISTORY = "history"  # to read what was published
    MEMBERS = "members"  # to see who is there, or how many


@dataclass(frozen=True, slots=True)
class SubscribeRequest:
    """
    Somebody wants to subscribe to ``channel``, which is declared.

    ``granted`` is what token and namespace say. The answer True lets him even if they
    do not, False or ``Deny`` refuses even if they do, and None leaves it to them.

    Who wants only to read its history or its members needs what token and namespace
    say, and may be refused here: True and None are the same then.
    """

    channel: str
    user: str | None
    granted: bool
    connection: str | None = None
    wants: Wants = Wants.SUBSCRIBE


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """
    Somebody wants to publish to ``channel``; answers are as for subscribing, or a
    ``ChangePublication``, which publishes something else instead.
    """

    channel: str
    user: str | None
    granted: bool
    raw: JSONText = field(repr=False)  # UTF-8 JSON
    tags: Mapping[str, str] = field(default_factory=dict)
    connection: str | None = None

    @property
    def data(self) -> Any:
        """What is to be published; decoded anew at each call."""
        return orjson.loads(self.raw)


class Unchanged(Enum):
    """The type of ``UNCHANGED``."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED
"""Stands for what a publication had before."""


@dataclass(frozen=True, slots=True)
class ChangePublication:
    """
    Publish this instead. ``data`` is anything that JSON can say.

    Token and namespace decide whether he may, unless ``allow`` is True.
    """

    data: Any | Unchanged = UNCHANGED
    tags: Mapping[str, str] | Unchanged = UNCHANGED
    allow: bool | None = None


PublishAnswer = bool | ChangePublication | None


# -- events ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """
    One event of a batch. ``at`` is when it happened, in seconds since the epoch, after
    correction of the device's clock; ``user`` is whose it is.
    """

    seq: int
    name: str
    at: float
    user: str | None = None
    properties: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventBatch:
    """
    Events of one device that are well-formed and granted, in their order.

    The answer has one entry for each, or is None for "keep them all". A batch may come
    again, whole or in part, if the device did not hear that it was counted; each event
    is counted once, however often it is asked about.
    """

    device: str
    user: str | None
    events: Sequence[Event]
    connection: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """Count it with these properties; they replace all that it had."""

    properties: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class RejectEvent:
    """Never count it; the device is told *reason* and sends it no more."""

    reason: str = ""


EventAnswer = ChangeEvent | RejectEvent | None
"""What becomes of one event; None keeps it as it is."""
