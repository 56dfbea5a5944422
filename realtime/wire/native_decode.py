"""
The native dialect's commands: from plain values to messages.

Every command is described by its dataclass and one check per field. Fields that it does
not have are ignored, so that older servers understand newer clients; a field that is
null counts as left out, unless null is a value of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Generic, NamedTuple, TypeVar

from realtime.errors import BAD_MESSAGE, UNKNOWN_TYPE, CommandError, ErrorCode
from realtime.types import Position
from realtime.wire import checks
from realtime.wire.checks import MAX_SAFE, Check, Wrong, integer, kind_of, shown, text
from realtime.wire.codecs import Undecodable
from realtime.wire.messages import (
    Command,
    Hello,
    Ping,
    Publish,
    ReadHistory,
    ReadPresence,
    ReadPresenceStats,
    Refresh,
    Subscribe,
    Track,
    Unsubscribe,
)

_REQUIRED = object()
_NULLABLE = frozenset({"data"})


class _Field(NamedTuple):  # a tuple, since all of it is wanted at once
    name: str
    check: Check
    default: object
    nullable: bool


Made = TypeVar("Made", covariant=True)


@dataclass(frozen=True, slots=True)
class _Shape(Generic[Made]):
    make: Callable[..., Made]
    fields: tuple[_Field, ...]


def _shape(make: type[Made], **check: Check) -> _Shape[Made]:
    # In the order of the dataclass: the values are given to it by position.
    return _Shape(
        make,
        tuple(
            _Field(
                field.name,
                check[field.name],
                _REQUIRED if field.default is MISSING else field.default,
                field.name in _NULLABLE,
            )
            for field in fields(make)  # type: ignore[arg-type]
        ),
    )


def _object(shape: _Shape[object]) -> Check:
    """Take an object of this shape."""

    def check(value: object) -> object:
        found = checks.mapping(value)
        try:
            return _fill(shape, found)
        except Wrong as exc:
            raise Wrong(exc.problem, f".{exc.within}") from None

    return check


def _objects(shape: _Shape[object]) -> Check:
    """Take an array of objects of this shape."""
    check_one = _object(shape)

    def check(value: object) -> tuple[object, ...]:
        made = []
        for index, one in enumerate(checks.array(value)):
            try:
                made.append(check_one(one))
            except Wrong as exc:
                raise Wrong(exc.problem, f"[{index}]{exc.within}") from None
        return tuple(made)

    return check


_request_id = integer(0, MAX_SAFE)
_channel = text(1, 4096)  # live ones may be so long, and the core knows them apart
_position = _object(_shape(Position, offset=integer(0, MAX_SAFE), epoch=text(1, 64)))

_SUBSCRIBE = _shape(
    Subscribe,
    channel=_channel,
    id=_request_id,
    since=_position,
    interval_s=checks.duration,
    filter=checks.mapping,
    join_leave=checks.switch,
)

_SHAPES: Mapping[str, _Shape[Command]] = {
    "hello": _shape(
        Hello,
        id=_request_id,
        token=checks.token,
        device=checks.device,
        secret=checks.secret,
        acked=integer(0, MAX_SAFE),
        sent_at=checks.moment,
        keepalive_s=checks.duration,
        client=text(0, 128),
        subscriptions=_objects(_SUBSCRIBE),
    ),
    "track": _shape(
        Track,
        first=integer(1, MAX_SAFE),
        events=checks.array,
        id=_request_id,
        lost=integer(0, 2**53),
        sent_at=checks.moment,
    ),
    "subscribe": _SUBSCRIBE,
    "unsubscribe": _shape(Unsubscribe, channel=_channel, id=_request_id),
    "publish": _shape(
        Publish,
        channel=text(1, 255),
        data=checks.json,
        id=_request_id,
        tags=checks.tags,
        idempotency_key=text(1, 128),
        version=integer(0, MAX_SAFE),
        exclude_self=checks.switch,
    ),
    "history": _shape(
        ReadHistory,
        channel=_channel,
        id=_request_id,
        since=_position,
        limit=integer(0, MAX_SAFE),
        reverse=checks.switch,
    ),
    "presence": _shape(
        ReadPresence,
        channel=_channel,
        id=_request_id,
        limit=integer(1, MAX_SAFE),
        cursor=text(0, 1024),
    ),
    "presence_stats": _shape(ReadPresenceStats, channel=_channel, id=_request_id),
    "ping": _shape(Ping, id=_request_id, sent_at=checks.moment),
    "refresh": _shape(Refresh, token=checks.token, id=_request_id),
}


def to_command(value: object) -> Command:
    """
    Return the command that a decoded message is.

    Raises:
        Undecodable: If it is no object.
        CommandError: UNKNOWN_TYPE or BAD_MESSAGE, with the request's id if it has one.
    """
    if type(value) is not dict:
        # Not the value itself: this sentence closes the connection, and is logged.
        raise Undecodable(f"a message is an object, not {kind_of(value)}")
    kind = value.get("type")
    shape = _SHAPES.get(kind) if type(kind) is str else None
    if shape is None:
        raise _no_such_type(kind, value)
    try:
        return _fill(shape, value)
    except Wrong as exc:
        raise _bad(value, exc.within, exc.problem) from None


def _fill(shape: _Shape[Made], value: Mapping[str, object]) -> Made:
    # Hot: once per message. What is wrong lies within the field that is named first.
    values = []
    for name, check, default, nullable in shape.fields:
        given = value.get(name)
        if given is None and not (nullable and name in value):
            if default is _REQUIRED:
                raise Wrong("is missing", name)
            values.append(default)
            continue
        try:
            values.append(check(given))
        except Wrong as exc:
            raise Wrong(exc.problem, name + exc.within) from None
    return shape.make(*values)


def _no_such_type(kind: object, value: Mapping[str, object]) -> CommandError:
    if kind is None:
        return _bad(value, "type", "is missing")
    problem = f"must be one of {', '.join(_SHAPES)}, not {shown(kind)}"
    unknown = UNKNOWN_TYPE if type(kind) is str else BAD_MESSAGE
    return _bad(value, "type", problem, unknown)


def _bad(
    value: Mapping[str, object],
    field: str,
    problem: str,
    code: ErrorCode = BAD_MESSAGE,
) -> CommandError:
    return CommandError(code, f"{field}: {problem}", field=field, request=_id_of(value))


def _id_of(value: Mapping[str, object]) -> int | None:
    # As in the table, but silent: what has no readable id is answered without one.
    number = value.get("id")
    return number if type(number) is int and 0 <= number <= MAX_SAFE else None
