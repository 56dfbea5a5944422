"""
The native dialect's replies: from messages to plain values.

A reply is an object of its ``type``, its ``id`` and its other fields; what is None is
left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields

from realtime.errors import ErrorCode
from realtime.types import JSONText
from realtime.wire.messages import (
    Ack,
    ErrorReply,
    Limits,
    Pong,
    Published,
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
    Unsubscribed: "unsubscribed",
    Published: "published",
    Pong: "pong",
    Refreshed: "refreshed",
    TokenExpired: "token_expired",
    ErrorReply: "error",
}
"""The ``type`` of each reply on the wire."""


def _names(message: type[Reply | Limits | Rejection]) -> tuple[str, ...]:
    # The id comes first: people read these messages too.
    names = [field.name for field in fields(message)]
    return tuple(sorted(names, key=lambda name: name != "id"))


_FIELDS: Mapping[type[Reply | Limits | Rejection], tuple[str, ...]] = {
    message: _names(message) for message in (*TYPES, Limits, Rejection)
}


def from_reply(message: Reply, embed: Embed) -> dict[str, object]:
    """Return *message* as a plain object; *embed* stands in for JSON text within it."""
    if type(message) is Ack and not message.rejected:
        # Hot: the one reply that every device gets, tick after tick.
        return {"type": "ack", "acked": message.acked}
    return {"type": TYPES[type(message)], **_plain(message, embed)}


def _plain(message: Reply | Limits | Rejection, embed: Embed) -> dict[str, object]:
    plain: dict[str, object] = {}
    for name in _FIELDS[type(message)]:
        value: object = getattr(message, name)
        match value:
            case int() | str() | float():
                plain[name] = value
            case None | ():
                pass
            case bytes():
                plain[name] = embed(JSONText(value))
            case ErrorCode():
                plain |= _plain_error(value)
            case Limits():
                plain[name] = _plain(value, embed)
            case _:
                assert isinstance(message, Ack)
                plain[name] = [_plain(one, embed) for one in message.rejected]
    return plain


def _plain_error(error: ErrorCode) -> dict[str, object]:
    return {"code": error.code, "name": error.name, "retry": error.retry.value}
