"""
What the server says, read from plain values.

Unknown fields and unknown types of messages are passed over: newer servers send them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from realtime_client.errors import BadReply, CommandError, Retry
from realtime_client.values import Json, Limits, Rejection


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
class Subscribed:
    """*number* names the channel in pushes; *data* is a live channel's value."""

    id: int | None
    channel: str
    number: int
    data: Json


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """With *code*, the server did it by itself."""

    id: int | None
    channel: str
    code: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Published:
    """The publication is on its way."""

    id: int | None


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


Answer = Welcome | Subscribed | Unsubscribed | Published | Pong | Refreshed
Reply = Answer | Ack | SlowDown | TokenExpired | ErrorReply | Push


class _Fields:
    """Reads the fields of one object; a wrong one is a BadReply that names it."""

    __slots__ = ("_raw", "_where")

    def __init__(self, raw: object, where: str) -> None:
        if not isinstance(raw, Mapping):
            raise BadReply(f"{where}: an object is expected, not {raw!r:.60}")
        self._raw: Mapping[str, Json] = raw
        self._where = where

    def text(self, name: str) -> str:
        return str(self._get(name, (str,)))

    def text_or_none(self, name: str) -> str | None:
        return None if self._raw.get(name) is None else self.text(name)

    def whole(self, name: str) -> int:
        return int(self._get(name, (int,)))

    def whole_or_none(self, name: str) -> int | None:
        return None if self._raw.get(name) is None else self.whole(name)

    def number(self, name: str) -> float:
        return float(self._get(name, (int, float)))

    def number_or_none(self, name: str) -> float | None:
        return None if self._raw.get(name) is None else self.number(name)

    def any(self, name: str) -> Json:
        return self._raw.get(name)

    def _get(self, name: str, kinds: tuple[type, ...]) -> Any:
        value = self._raw.get(name)
        if not isinstance(value, kinds) or isinstance(value, bool):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise BadReply(
                f"{self._where}.{name}: {wanted} expected, not {value!r:.60}"
            )
        return value


def parse(raw: object) -> Reply | None:
    """
    Return the message that *raw* is; None if this version does not know its type.

    Raises:
        BadReply: If it is no object with a type, or a field is missing or wrong.
    """
    kind = _Fields(raw, "message").text("type")
    reader = _READERS.get(kind)
    return None if reader is None else reader(_Fields(raw, kind))


def _welcome(fields: _Fields) -> Welcome:
    limits = _Fields(fields.any("limits"), "welcome.limits")
    return Welcome(
        id=fields.whole_or_none("id"),
        connection=fields.text("connection"),
        node=fields.text("node"),
        version=fields.text("version"),
        received_at=fields.number("received_at"),
        sent_at=fields.number("sent_at"),
        keepalive_s=fields.number("keepalive_s"),
        limits=Limits(
            max_frame_bytes=limits.whole("max_frame_bytes"),
            max_event_bytes=limits.whole("max_event_bytes"),
            max_batch_events=limits.whole("max_batch_events"),
            max_publication_bytes=limits.whole("max_publication_bytes"),
            max_subscriptions=limits.whole("max_subscriptions"),
        ),
        user=fields.text_or_none("user"),
        acked=fields.whole_or_none("acked"),
        expires_at=fields.number_or_none("expires_at"),
    )


def _ack(fields: _Fields) -> Ack:
    listed = fields.any("rejected") or []
    if not isinstance(listed, list):
        raise BadReply(f"ack.rejected: a list is expected, not {listed!r:.60}")
    return Ack(fields.whole("acked"), tuple([_rejection(one) for one in listed]))


def _rejection(raw: object) -> Rejection:
    fields = _Fields(raw, "ack.rejected")
    return Rejection(
        fields.whole("seq"),
        fields.whole("code"),
        fields.text("name"),
        fields.text("reason"),
    )


def _error(fields: _Fields) -> ErrorReply:
    error = CommandError(
        fields.whole("code"),
        fields.text("name"),
        _retry(fields.text_or_none("retry")),
        fields.text_or_none("reason") or fields.text("name"),
        field=fields.text_or_none("field"),
        expected=fields.whole_or_none("expected"),
        retry_after_s=fields.number_or_none("retry_after_s"),
    )
    return ErrorReply(fields.whole_or_none("id"), error)


def _retry(text: str | None) -> Retry:
    # An advice that this version does not know: try again, but not at once.
    return Retry(text) if text in set(Retry) else Retry.LATER


_READERS: Mapping[str, Callable[[_Fields], Reply]] = {
    "welcome": _welcome,
    "ack": _ack,
    "slow_down": lambda f: SlowDown(
        f.whole("first"), f.number("retry_after_s"), f.text_or_none("reason") or ""
    ),
    "subscribed": lambda f: Subscribed(
        f.whole_or_none("id"), f.text("channel"), f.whole("number"), f.any("data")
    ),
    "unsubscribed": lambda f: Unsubscribed(
        f.whole_or_none("id"),
        f.text("channel"),
        f.whole_or_none("code"),
        f.text_or_none("reason"),
    ),
    "published": lambda f: Published(f.whole_or_none("id")),
    "pong": lambda f: Pong(
        f.whole_or_none("id"), f.number("received_at"), f.number("sent_at")
    ),
    "refreshed": lambda f: Refreshed(
        f.whole_or_none("id"), f.number_or_none("expires_at")
    ),
    "token_expired": lambda f: TokenExpired(f.number("grace_s")),
    "error": _error,
    "push": lambda f: Push(f.whole("channel"), f.any("data")),
}
