"""Replies say the same in both codecs: their type, and what is not None."""

from __future__ import annotations

from typing import get_args

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import ERRORS, GAP, CommandError, ErrorCode
from realtime.types import Channel, JSONText
from realtime.wire.codecs import json_text
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
from realtime.wire.native import DIALECTS, JSON_V1, MSGPACK_V1
from realtime.wire.native_encode import TYPES


def said(message: Reply) -> dict[str, object]:
    """Return what a client reads, after checking that both codecs say the same."""
    plain = JSON_V1.codec.decode(JSON_V1.encode(message))
    assert MSGPACK_V1.codec.decode(MSGPACK_V1.encode(message)) == plain
    assert isinstance(plain, dict)
    return plain


def test_every_reply_has_a_type() -> None:
    """No kind of reply was forgotten, and no two have the same type."""
    assert set(TYPES) == set(get_args(Reply))
    assert len(set(TYPES.values())) == len(TYPES)


def test_dialects_are_found_by_sub_protocol() -> None:
    """The names are those that clients ask for; JSON is preferred."""
    assert list(DIALECTS) == ["realtime.v1.json", "realtime.v1.msgpack"]
    assert all(dialect.name == name for name, dialect in DIALECTS.items())


@pytest.mark.parametrize("rejected", [(), []])
def test_ack_without_rejections_is_two_fields(rejected: list[Rejection]) -> None:
    """The commonest message up the hot path says no more than it must."""
    assert said(Ack(41, rejected)) == {"type": "ack", "acked": 41}


def test_ack_lists_rejections_as_objects() -> None:
    """Every rejected event is named with its number, its error and a sentence."""
    ack = Ack(41, [Rejection(40, 201, "bad_event_name", "name: is missing")])

    assert said(ack)["rejected"] == [
        {"seq": 40, "code": 201, "name": "bad_event_name", "reason": "name: is missing"}
    ]


@pytest.mark.parametrize("code", ERRORS, ids=lambda code: code.name)
def test_error_spells_its_code_out(code: ErrorCode) -> None:
    """Each error of the catalogue says number, name and what may be done."""
    exc = CommandError(code, "why")

    assert said(ErrorReply.of(exc)) == {
        "type": "error",
        "code": exc.code.code,
        "name": exc.code.name,
        "retry": exc.code.retry.value,
        "reason": "why",
    }


def test_error_carries_what_helps_to_recover() -> None:
    """The field, the number expected and the delay are told when they are known."""
    exc = CommandError(GAP, "why", field="first", expected=41, retry_after_s=0.0)
    error = said(ErrorReply.of(exc, request=0))

    assert {
        "id": 0,
        "field": "first",
        "expected": 41,
        "retry_after_s": 0.0,
    }.items() <= (error.items())


@pytest.mark.parametrize("data", [None, 0, False, "", {"value": None}])
def test_current_value_is_spliced_whatever_it_is(data: object) -> None:
    """Data that is JSON null is told, unlike data that is not there."""
    channel = Channel("live:likes")
    subscribed = said(Subscribed(channel, 7, 3, json_text(data)))

    assert subscribed["data"] == data
    assert "data" not in said(Subscribed(channel, 7, 3))


numbers = st.integers(0, 2**53)
moments = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(max_size=30)
texts = st.sampled_from([JSONText(b"null"), JSONText(b'{"value":1.5}')])
replies = st.one_of(
    st.builds(
        Welcome,
        connection=words,
        node=words,
        version=words,
        received_at=moments,
        sent_at=moments,
        keepalive_s=moments,
        limits=st.builds(Limits, numbers, numbers, numbers, numbers, numbers),
        id=st.none() | numbers,
        user=st.none() | words,
        acked=st.none() | numbers,
        expires_at=st.none() | moments,
    ),
    st.builds(
        Ack, numbers, st.lists(st.builds(Rejection, numbers, numbers, words, words))
    ),
    st.builds(SlowDown, numbers, moments, words),
    st.builds(Subscribed, words.map(Channel), numbers, st.none() | numbers, texts),
    st.builds(Unsubscribed, words.map(Channel), st.none() | numbers, numbers, words),
    st.builds(Published, st.none() | numbers),
    st.builds(Pong, moments, moments, st.none() | numbers),
    st.builds(Refreshed, st.none() | numbers, st.none() | moments),
    st.builds(TokenExpired, moments),
    st.builds(
        ErrorReply,
        st.sampled_from(ERRORS),
        words,
        st.none() | numbers,
        st.none() | words,
        st.none() | numbers,
        st.none() | moments,
    ),
)


@settings(deadline=None)
@given(message=replies)
def test_every_reply_says_its_fields_in_both_codecs(message: Reply) -> None:
    """What a client reads is the message, field by field; None is left out."""
    plain = said(message)

    assert plain.pop("type") == TYPES[type(message)]
    for name in message.__dataclass_fields__:
        value = getattr(message, name)
        match name:
            case "error":
                assert [plain.pop(key) for key in ("code", "name", "retry")] == [
                    value.code,
                    value.name,
                    value.retry,
                ]
            case "data":
                assert plain.pop(name) == orjson.loads(value)
            case "limits" | "rejected":
                assert plain.pop(name, []) == orjson.loads(orjson.dumps(value))
            case _:
                assert plain.pop(name, None) == value
    assert plain == {}
