"""Arbitrary messages and arbitrary bytes meet only the documented errors."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import BAD_MESSAGE, UNKNOWN_TYPE, CommandError
from realtime.types import Channel, DeviceId, Position
from realtime.wire.checks import MAX_SAFE
from realtime.wire.codecs import Undecodable, json_text
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
from realtime.wire.native import JSON_V1, MSGPACK_V1, NativeDialect

DIALECTS = pytest.mark.parametrize(
    "dialect", [JSON_V1, MSGPACK_V1], ids=lambda d: d.name
)
KINDS: dict[type[Command], str] = {
    Hello: "hello",
    Track: "track",
    Subscribe: "subscribe",
    Unsubscribe: "unsubscribe",
    Publish: "publish",
    ReadHistory: "history",
    ReadPresence: "presence",
    ReadPresenceStats: "presence_stats",
    Ping: "ping",
    Refresh: "refresh",
}
FIELDS = sorted({field.name for command in KINDS for field in fields(command)})

ids = st.none() | st.integers(0, MAX_SAFE)
times = st.none() | st.floats(allow_nan=False, allow_infinity=False)
tokens = st.text(min_size=1, max_size=50)
channels = st.text(min_size=1, max_size=255).map(Channel)
devices = st.from_regex(r"[A-Za-z0-9_.:-]{1,128}", fullmatch=True).map(DeviceId)
secrets = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=16)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)
positions = st.builds(
    Position, st.integers(0, MAX_SAFE), st.text(min_size=1, max_size=64)
)
tags = st.dictionaries(
    st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True),
    st.text(max_size=128),
    max_size=16,
)
subscribes = st.builds(
    Subscribe,
    channel=channels,
    id=ids,
    since=st.none() | positions,
    interval_s=st.none() | st.floats(0.001, 1e6),
    filter=st.none() | st.dictionaries(st.text(max_size=8), json_values, max_size=4),
    join_leave=st.booleans(),
)
commands = st.one_of(
    st.builds(
        Hello,
        id=ids,
        token=st.none() | tokens,
        device=st.none() | devices,
        secret=st.none() | secrets.filter(lambda text: len(text) <= 128),
        acked=st.integers(0, MAX_SAFE),
        sent_at=times,
        keepalive_s=st.none() | st.floats(0.001, 1e6),
        client=st.none() | st.text(max_size=128),
        subscriptions=st.lists(subscribes, max_size=3).map(tuple),
    ),
    st.builds(
        Track,
        first=st.integers(1, MAX_SAFE),
        events=st.lists(json_values, max_size=5),
        id=ids,
        lost=st.integers(0, 2**53),
        sent_at=times,
    ),
    subscribes,
    st.builds(Unsubscribe, channel=channels, id=ids),
    st.builds(
        Publish,
        channel=channels,
        data=json_values.map(json_text),
        id=ids,
        tags=st.none() | tags,
        idempotency_key=st.none() | st.text(min_size=1, max_size=128),
        version=st.none() | st.integers(0, MAX_SAFE),
        exclude_self=st.booleans(),
    ),
    st.builds(
        ReadHistory,
        channel=channels,
        id=ids,
        since=st.none() | positions,
        limit=st.none() | st.integers(0, MAX_SAFE),
        reverse=st.booleans(),
    ),
    st.builds(
        ReadPresence,
        channel=channels,
        id=ids,
        limit=st.none() | st.integers(1, MAX_SAFE),
        cursor=st.text(max_size=1024),
    ),
    st.builds(ReadPresenceStats, channel=channels, id=ids),
    st.builds(Ping, id=ids, sent_at=times),
    st.builds(Refresh, token=tokens, id=ids),
)


def as_client_says(dialect: NativeDialect, command: Command) -> bytes:
    """Write a command as a client would: its fields, those that are None left out."""
    plain = {"type": KINDS[type(command)], **plainly(dialect, command)}
    return dialect.codec.encode(plain)


def plainly(dialect: NativeDialect, said: Command | Position) -> dict[str, object]:
    """Return the fields of a command, or of an object within one."""
    plain: dict[str, object] = {}
    for field in fields(said):
        value = getattr(said, field.name)
        if field.name == "data":
            plain[field.name] = dialect.codec.embed(value)
        elif field.name == "since" and value is not None:
            plain[field.name] = plainly(dialect, value)
        elif field.name == "subscriptions":
            plain[field.name] = [plainly(dialect, one) for one in value]
        elif value is not None:
            plain[field.name] = value
    return plain


@DIALECTS
@settings(deadline=None)
@given(command=commands)
def test_every_correct_command_is_understood(
    dialect: NativeDialect, command: Command
) -> None:
    """Whatever the fields are within their bounds, they arrive as they were sent."""
    assert dialect.decode(as_client_says(dialect, command)) == command


def test_every_command_takes_part() -> None:
    """No kind of command is left out of what is generated here."""
    assert set(KINDS) == set(get_args(Command))


def assert_documented(dialect: NativeDialect, data: bytes) -> None:
    """Fail if decoding raises anything but what `Dialect.decode` promises."""
    try:
        dialect.decode(data)
    except Undecodable:
        return
    except CommandError as exc:
        error = exc
    else:
        return
    assert error.code in (BAD_MESSAGE, UNKNOWN_TYPE)
    assert error.field is not None
    assert re.split(r"[.\[]", error.field)[0] in ("type", *FIELDS)


@DIALECTS
@settings(deadline=None, max_examples=300)
@given(data=st.binary())
def test_any_bytes_meet_only_documented_errors(
    dialect: NativeDialect, data: bytes
) -> None:
    """Arbitrary bytes are a command or raise Undecodable or CommandError."""
    assert_documented(dialect, data)


@DIALECTS
@settings(deadline=None, max_examples=200)
@given(
    kind=st.sampled_from([*KINDS.values(), "shout"]),
    fields=st.dictionaries(st.sampled_from(["type", *FIELDS]), json_values, max_size=6),
)
def test_any_fields_meet_only_documented_errors(
    dialect: NativeDialect, kind: str, fields: dict[str, object]
) -> None:
    """Arbitrary values in the right places are a command or raise CommandError."""
    assert_documented(dialect, dialect.codec.encode({"type": kind, **fields}))


@DIALECTS
@settings(deadline=None, max_examples=200)
@given(command=commands, flips=st.lists(st.tuples(st.integers(0), st.integers(0, 255))))
def test_damaged_commands_meet_only_documented_errors(
    dialect: NativeDialect, command: Command, flips: list[tuple[int, int]]
) -> None:
    """Bytes changed at random in a correct message never raise anything else."""
    damaged = bytearray(as_client_says(dialect, command))
    for where, byte in flips:
        damaged[where % len(damaged)] = byte

    assert_documented(dialect, bytes(damaged))
