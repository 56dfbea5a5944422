"""
Reading what the server says from plain values.

Unknown fields and unknown types of messages are passed over: newer servers send them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from realtime_client.errors import BadReply, CommandError, Retry
from realtime_client.replies import (
    Ack,
    ErrorReply,
    GapPush,
    Goodbye,
    HistoryPage,
    JoinPush,
    LeavePush,
    Pong,
    PresenceCount,
    PresencePage,
    Publication,
    Published,
    Push,
    Recovering,
    Refreshed,
    Reply,
    SlowDown,
    Subscribed,
    TokenExpired,
    Unsubscribed,
    Welcome,
)
from realtime_client.values import Json, Limits, Member, Position, Rejection

T = TypeVar("T")


def parse(raw: object) -> Reply | None:
    """
    Return the message that *raw* is; None if this version does not know its type.

    Raises:
        BadReply: If it is no object with a type, or a field is missing or wrong.
    """
    kind = _Fields(raw, "message").text("type")
    reader = _READERS.get(kind)
    return None if reader is None else reader(_Fields(raw, kind))


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
        value = self._get(name, (int, float))
        try:
            return float(value)
        except OverflowError:
            raise BadReply(
                f"{self._where}.{name}: {value!r:.60} is too large"
            ) from None

    def number_or_none(self, name: str) -> float | None:
        return None if self._raw.get(name) is None else self.number(name)

    def truth(self, name: str) -> bool:
        return self.truth_or_none(name) or False

    def truth_or_none(self, name: str) -> bool | None:
        value = self._raw.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise BadReply(f"{self._where}.{name}: bool expected, not {value!r:.60}")

    def position(self) -> Position:
        return Position(self.whole("offset"), self.text("epoch"))

    def position_or_none(self) -> Position | None:
        return None if self._raw.get("offset") is None else self.position()

    def tags(self) -> Mapping[str, str]:
        tags: Mapping[str, str] | None = self._raw.get("tags")
        if tags is None or isinstance(tags, dict):
            return tags or {}
        raise BadReply(f"{self._where}.tags: dict expected, not {tags!r:.60}")

    def listed(self, name: str, read: Callable[[_Fields], T]) -> tuple[T, ...]:
        listed = self._raw.get(name) or []
        if not isinstance(listed, list):
            raise BadReply(f"{self._where}.{name}: list expected, not {listed!r:.60}")
        where = f"{self._where}.{name}"
        return tuple([read(_Fields(one, where)) for one in listed])

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
    return Ack(fields.whole("acked"), fields.listed("rejected", _rejection))


def _rejection(fields: _Fields) -> Rejection:
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


def _subscribed(fields: _Fields) -> Subscribed:
    return Subscribed(
        fields.whole_or_none("id"),
        fields.text("channel"),
        fields.whole("number"),
        fields.any("data"),
        fields.position_or_none(),
        fields.truth_or_none("recovered"),
        fields.listed("publications", _publication),
        fields.truth("skips"),
        fields.tags(),
    )


def _publication(fields: _Fields) -> Publication:
    return Publication(
        fields.any("data"), fields.whole_or_none("offset"), fields.tags()
    )


def _history(fields: _Fields) -> HistoryPage:
    return HistoryPage(
        fields.whole_or_none("id"),
        fields.text("channel"),
        fields.position(),
        fields.listed("publications", _publication),
        fields.truth("complete"),
        fields.truth("more"),
    )


def _member(fields: _Fields) -> Member:
    return Member(
        fields.text("client"), fields.text_or_none("user"), fields.any("info")
    )


def _member_of(fields: _Fields) -> Member:
    return _member(_Fields(fields.any("member"), "member"))


_READERS: Mapping[str, Callable[[_Fields], Reply]] = {
    "welcome": _welcome,
    "ack": _ack,
    "slow_down": lambda f: SlowDown(
        f.whole("first"), f.number("retry_after_s"), f.text_or_none("reason") or ""
    ),
    "subscribed": _subscribed,
    "recovering": lambda f: Recovering(
        f.whole_or_none("id"),
        f.text("channel"),
        f.position(),
        f.listed("publications", _publication),
    ),
    "unsubscribed": lambda f: Unsubscribed(
        f.whole_or_none("id"),
        f.text("channel"),
        f.whole_or_none("code"),
        f.text_or_none("reason"),
    ),
    "published": lambda f: Published(
        f.whole_or_none("id"),
        f.position_or_none(),
        f.text_or_none("skipped"),
        f.truth_or_none("local") is True,
    ),
    "history": _history,
    "presence": lambda f: PresencePage(
        f.whole_or_none("id"),
        f.text("channel"),
        f.listed("members", _member),
        f.text_or_none("cursor"),
    ),
    "presence_stats": lambda f: PresenceCount(
        f.whole_or_none("id"), f.text("channel"), f.whole("clients"), f.whole("users")
    ),
    "pong": lambda f: Pong(
        f.whole_or_none("id"), f.number("received_at"), f.number("sent_at")
    ),
    "refreshed": lambda f: Refreshed(
        f.whole_or_none("id"), f.number_or_none("expires_at")
    ),
    "token_expired": lambda f: TokenExpired(f.number("grace_s")),
    "error": _error,
    "push": lambda f: Push(
        f.whole("channel"), f.any("data"), f.whole_or_none("offset"), f.tags()
    ),
    "gap": lambda f: GapPush(f.whole("channel"), f.position_or_none()),
    "join": lambda f: JoinPush(f.whole("channel"), _member_of(f)),
    "leave": lambda f: LeavePush(f.whole("channel"), _member_of(f)),
    "goodbye": lambda f: Goodbye(f.number("after_s"), f.text_or_none("reason") or ""),
}
