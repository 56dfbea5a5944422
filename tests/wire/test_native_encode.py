"""Replies say the same in both codecs: their type, and what is not None."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import ERRORS, GAP, CommandError, ErrorCode
from realtime.types import (
    Channel,
    ConnectionId,
    JSONText,
    Member,
    Position,
    Publication,
    UserId,
)
from realtime.wire.codecs import json_text
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
from realtime.wire.native import DEFLATING, DIALECTS, JSON_V1, MSGPACK_V1
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


def test_every_dialect_has_a_compressing_form() -> None:
    """For both windows, under the same names."""
    assert set(DEFLATING) == {9, 12}
    for dialects in DEFLATING.values():
        assert list(dialects) == list(DIALECTS)
        for name, dialect in dialects.items():
            assert dialect.opcode is DIALECTS[name].opcode
            assert dialect.frame_key.plain is DIALECTS[name].frame_key


@pytest.mark.parametrize("name", list(DIALECTS))
def test_only_large_replies_are_compressed(name: str) -> None:
    """A page of a history is; what fits into a packet of the network is not."""
    plain, compressing = DIALECTS[name], DEFLATING[12][name]
    words = json_text(["many words that come again"] * 50)
    channel, top = Channel("a:b"), Position(1, "e")
    page = HistoryPage(channel, top, [Publication(channel, words, top)], True, False)

    assert len(compressing.frame(page)) < len(plain.frame(page)) / 4
    assert compressing.frame(page)[0] == plain.frame(page)[0] | 0x40
    assert compressing.frame(Ack(41, ())) == plain.frame(Ack(41, ()))


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


@pytest.mark.parametrize("none", [(), []])
def test_lists_that_are_the_answer_are_told_when_empty(none: list[Publication]) -> None:
    """What was asked for is there; what is a part of another reply is left out."""
    channel, position = Channel("chat:a"), Position(0, "e")
    page = HistoryPage(channel, position, none, complete=True, more=False)
    subscribed = Subscribed(channel, 7, recovered=True, publications=none)

    assert said(page)["publications"] == []
    assert said(PresencePage(channel, ()))["members"] == []
    assert said(Recovering(channel, position, none))["publications"] == []
    assert "publications" not in said(subscribed)


@pytest.mark.parametrize("none", [None, {}])
def test_tags_are_left_out_if_there_are_none(none: dict[str, str] | None) -> None:
    """As they are in a push."""
    channel, data = Channel("chat:a"), json_text(1)
    tagged = Subscribed(channel, 7, data=data, tags={"symbol": "BTC"})

    assert said(tagged)["tags"] == {"symbol": "BTC"}
    assert "tags" not in said(Subscribed(channel, 7, data=data, tags=none))


def test_facts_that_may_be_unknown_are_told_when_false() -> None:
    """Only a default is left out: `skips` has one, `recovered` has none but unknown."""
    channel = Channel("chat:a")

    assert said(Subscribed(channel, 7, recovered=False))["recovered"] is False
    assert "recovered" not in said(Subscribed(channel, 7))
    assert "skips" not in said(Subscribed(channel, 7))
    assert said(Subscribed(channel, 7, skips=True))["skips"] is True


numbers = st.integers(0, 2**53)
moments = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(max_size=30)
texts = st.sampled_from([JSONText(b"null"), JSONText(b'{"value":1.5}')])
channels = words.map(Channel)
ids = st.none() | numbers
positions = st.builds(Position, numbers, words)
publications = st.builds(
    Publication,
    channels,
    texts,
    st.none() | positions,
    st.none() | st.dictionaries(words, words, max_size=3),
)
members = st.builds(
    Member,
    words.map(ConnectionId),
    st.none() | words.map(UserId),
    st.none() | texts,
)
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
    st.builds(
        Subscribed,
        channels,
        numbers,
        ids,
        texts,
        st.none() | positions,
        st.none() | st.booleans(),
        st.lists(publications, max_size=3),
        st.booleans(),
    ),
    st.builds(Recovering, channels, positions, st.lists(publications, max_size=3), ids),
    st.builds(Unsubscribed, channels, ids, numbers, words),
    st.builds(Published, ids, st.none() | positions, st.none() | words, st.booleans()),
    st.builds(
        HistoryPage,
        channels,
        positions,
        st.lists(publications, max_size=3),
        st.booleans(),
        st.booleans(),
        ids,
    ),
    st.builds(
        PresencePage, channels, st.lists(members, max_size=3), ids, st.none() | words
    ),
    st.builds(PresenceCount, channels, numbers, numbers, ids),
    st.builds(Goodbye, moments, words),
    st.builds(Pong, moments, moments, ids),
    st.builds(Refreshed, ids, st.none() | moments),
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
    """What a client reads is the message, field by field; defaults are left out."""
    plain = said(message)

    assert plain.pop("type") == TYPES[type(message)]
    for field in fields(message):
        value = getattr(message, field.name)
        told = () if value is None else in_words(field.name, value).items()
        for name, word in told:
            if name not in plain:
                assert field.default is not MISSING
                assert word in (field.default, [])
            else:
                assert plain.pop(name) == word
    assert plain == {}


def in_words(name: str, value: Any) -> dict[str, object]:
    """Return the fields on the wire by which one field of a message is told."""
    match name:
        case "error":
            return {"code": value.code, "name": value.name, "retry": value.retry}
        case "data":
            return {name: orjson.loads(value)}
        case "position":
            return {"offset": value.offset, "epoch": value.epoch}
        case "publications":
            return {name: [a_publication(one) for one in value]}
        case "members":
            return {name: [a_member(one) for one in value]}
        case "limits" | "rejected":
            return {name: orjson.loads(orjson.dumps(value))}
        case _:
            return {name: value}


def a_publication(one: Publication) -> dict[str, object]:
    """Return a publication as a list of them has it."""
    words: dict[str, object] = {"data": orjson.loads(one.data)}
    if one.position is not None:
        words["offset"] = one.position.offset
    return {**words, "tags": one.tags} if one.tags else words


def a_member(one: Member) -> dict[str, object]:
    """Return a member as a list of them has it."""
    words: dict[str, object] = {"client": one.client}
    if one.user is not None:
        words["user"] = one.user
    return words if one.info is None else {**words, "info": orjson.loads(one.info)}
