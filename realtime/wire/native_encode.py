"""
The native dialect's replies: from messages to plain values.

A reply is an object of its ``type``, its ``id`` and its other fields. A field that has
its default, None or another, is left out; a position is two fields, ``offset`` and
``epoch``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields

from realtime.errors import ErrorCode
from realtime.types import JSONText, Member, Position, Publication
from realtime.wire.messages import (
    Ack,
    ErrorReply,
    Goodbye,
    HistoryPage,
    Limits,
    Pong,
    PresenceCount,
    PresencePage,
    Published,
    Recovering,
    Refreshed,
    Rejection,
    Reply,
    SlowDown,
    Subscribed,
    TokenExpired,
    Unsubscribed,
    Welcome,
)

Embed = Callable[[JSONText], object]

TYPES: Mapping[type[Reply], str] = {
    Welcome: "welcome",
    Ack: "ack",
    SlowDown: "slow_down",
    Subscribed: "subscribed",
    Recovering: "recovering",
    Unsubscribed: "unsubscribed",
    Published: "published",
    HistoryPage: "history",
    PresencePage: "presence",
    PresenceCount: "presence_stats",
    Goodbye: "goodbye",
    Pong: "pong",
    Refreshed: "refreshed",
    TokenExpired: "token_expired",
    ErrorReply: "error",
}
"""The ``type`` of each reply on the wire."""


_Part = Limits | Rejection


def _fields_of(message: type[Reply | _Part]) -> tuple[tuple[str, object], ...]:
    # The id comes first: people read these messages too.
    found = [(field.name, field.default) for field in fields(message)]
    return tuple(sorted(found, key=lambda one: one[0] != "id"))


# By message, the name and the default of each of its fields.
_FIELDS: Mapping[type[Reply | _Part], tuple[tuple[str, object], ...]] = {
    message: _fields_of(message) for message in (*TYPES, Limits, Rejection)
}


_SCALARS = frozenset({int, str, float, bool})  # what most fields are; others derive


def from_reply(message: Reply, embed: Embed) -> dict[str, object]:
    """Return *message* as a plain object; *embed* stands in for JSON text within it."""
    if type(message) is Ack and not message.rejected:
        # Hot: the one reply that every device gets, tick after tick.
        return {"type": "ack", "acked": message.acked}
    return {"type": TYPES[type(message)], **_plain(message, embed)}


def _plain(message: Reply | _Part, embed: Embed) -> dict[str, object]:
    plain: dict[str, object] = {}
    for name, default in _FIELDS[type(message)]:
        value: object = getattr(message, name)
        if value is default:  # None, () and False are the same object everywhere
            continue
        if type(value) in _SCALARS:
            plain[name] = value
            continue
        match value:
            case int() | str() | float():
                plain[name] = value
            case bytes():
                plain[name] = embed(JSONText(value))
            case Position():
                plain["offset"] = value.offset
                plain["epoch"] = value.epoch
            case ErrorCode():
                plain |= _plain_error(value)
            case Limits():
                plain[name] = _plain(value, embed)
            case Mapping():
                if value:
                    plain[name] = dict(value)
            case _:
                assert isinstance(value, Sequence)
                if value or default is MISSING:
                    plain[name] = [_plain_item(one, embed) for one in value]
    return plain


def _plain_item(item: object, embed: Embed) -> dict[str, object]:
    match item:
        case Publication():
            return plain_publication(item, embed)
        case Member():
            return plain_member(item, embed)
        case _:
            assert isinstance(item, Rejection)
            return _plain(item, embed)


def plain_publication(publication: Publication, embed: Embed) -> dict[str, object]:
    """Return *publication* as it stands in a list of one channel's publications."""
    plain: dict[str, object] = {"data": embed(publication.data)}
    if publication.position is not None:
        plain["offset"] = publication.position.offset
    if publication.tags:
        plain["tags"] = dict(publication.tags)
    return plain


def plain_member(member: Member, embed: Embed) -> dict[str, object]:
    """Return *member* as it stands in a list of one channel's members."""
    plain: dict[str, object] = {"client": member.client}
    if member.user is not None:
        plain["user"] = member.user
    if member.info is not None:
        plain["info"] = embed(member.info)
    return plain


def _plain_error(error: ErrorCode) -> dict[str, object]:
    return {"code": error.code, "name": error.name, "retry": error.retry.value}
