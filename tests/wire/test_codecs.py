"""Both codecs return plain values or raise one error, whatever they are fed."""

from __future__ import annotations

from math import inf, nan

import msgpack
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from realtime.types import JSONText
from realtime.wire.codecs import (
    JSON,
    MAX_DEPTH,
    MSGPACK,
    Codec,
    InvalidUtf8,
    Undecodable,
    json_text,
)

CODECS = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
QUARTER_MIB = 256 * 1024

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=50)
)
plain_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=9), inner, max_size=5)
    ),
    max_leaves=10,
)


def nested(depth: int) -> object:
    """Return empty lists and dicts within one another, *depth* in number."""
    value: object = []
    for level in range(depth - 1):
        value = {"[{": value} if level % 2 else [value]
    return value


def depth_of(value: object) -> int:
    """Count how deep *value* is nested, in the obvious way."""
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def assert_plain(value: object) -> None:
    """Fail unless *value* is what the module calls plain."""
    if isinstance(value, dict):
        assert all(type(key) is str for key in value)
        for inner in value.values():
            assert_plain(inner)
    elif isinstance(value, list):
        for inner in value:
            assert_plain(inner)
    elif isinstance(value, float):
        assert -inf < value < inf
    else:
        assert value is None or type(value) in (bool, int, str)


# -- both ------------------------------------------------------------------------------


@CODECS
@settings(deadline=None)
@given(value=plain_values)
def test_plain_values_come_back(codec: Codec, value: object) -> None:
    """What is encoded is decoded to an equal value."""
    assert codec.decode(codec.encode(value)) == value


@CODECS
@settings(deadline=None, max_examples=300)
@given(data=st.binary())
@example(data=b"")
@example(data=b"\xc1")
@example(data=b"\xef\xbb\xbf{}")
def test_any_bytes_are_a_plain_value_or_undecodable(codec: Codec, data: bytes) -> None:
    """Nothing but Undecodable escapes, and what is returned is plain."""
    try:
        value = codec.decode(data)
    except Undecodable:
        return
    assert_plain(value)


@CODECS
@settings(deadline=None)
@given(value=plain_values, cut=st.data())
def test_every_proper_prefix_of_an_object_is_undecodable(
    codec: Codec, value: object, cut: st.DataObject
) -> None:
    """A message that lost its end is never taken for a shorter one."""
    whole = codec.encode({"data": value})
    length = cut.draw(st.integers(0, len(whole) - 1))

    with pytest.raises(Undecodable):
        codec.decode(whole[:length])


@CODECS
def test_nesting_is_bounded_exactly(codec: Codec) -> None:
    """Thirty-two containers within one another are taken, and not one more."""
    assert codec.decode(codec.encode(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    with pytest.raises(Undecodable, match="nested more than 32 deep"):
        codec.decode(codec.encode(nested(MAX_DEPTH + 1)))


@CODECS
@settings(deadline=None)
@given(
    depth=st.integers(MAX_DEPTH - 2, MAX_DEPTH + 2),
    width=st.integers(0, 80),
    decoy=st.text(alphabet='[]{}"\\', max_size=40),
)
def test_nesting_is_measured_through_any_disguise(
    codec: Codec, depth: int, width: int, decoy: str
) -> None:
    """Neither wide messages nor brackets within strings hide or fake depth."""
    value = [decoy, *({decoy: []} for _ in range(width)), nested(depth - 1), decoy]
    if depth_of(value) <= MAX_DEPTH:
        assert codec.decode(codec.encode(value)) == value
    else:
        with pytest.raises(Undecodable):
            codec.decode(codec.encode(value))


@pytest.mark.parametrize(
    "codec, bomb",
    [
        (JSON, b"[" * QUARTER_MIB),
        (JSON, b"[" * 1024 + b"]" * 1024),
        (JSON, b'{"":' * 50_000),
        (MSGPACK, b"\x91" * QUARTER_MIB),
        (MSGPACK, b"\x81\xa0" * 100_000),
    ],
    ids=["arrays", "closed", "objects", "msgpack-arrays", "msgpack-maps"],
)
def test_depth_bombs_are_undecodable(codec: Codec, bomb: bytes) -> None:
    """Thousands of nested containers neither exhaust the stack nor pass."""
    with pytest.raises(Undecodable):
        codec.decode(bomb)


@CODECS
def test_repeated_key_is_the_last_one(codec: Codec) -> None:
    """Of two values under one key, the later counts."""
    data = b'{"a":1,"a":2}' if codec is JSON else bytes.fromhex("82 a161 01 a161 02")

    assert codec.decode(data) == {"a": 2}


@CODECS
@pytest.mark.parametrize("value", [object(), 2**64, -(2**63) - 1, "\ud800"])
def test_what_is_not_plain_is_not_written(codec: Codec, value: object) -> None:
    """Encoding fails with the same error as decoding."""
    with pytest.raises(Undecodable, match="the value cannot be written as"):
        codec.encode(value)


@CODECS
@settings(deadline=None)
@given(value=plain_values)
def test_embedded_text_reads_like_the_value_itself(codec: Codec, value: object) -> None:
    """JSON text within a message is, once decoded, what the text says."""
    text = json_text(value)

    assert codec.decode(codec.encode({"data": codec.embed(text)})) == {
        "data": orjson.loads(text)
    }


# -- JSON ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"NaN", b"-Infinity", b"[1e999]", b"-1" + b"0" * 400])
def test_json_has_no_infinite_numbers(text: bytes) -> None:
    """NaN, Infinity and numbers beyond every float are refused."""
    with pytest.raises(Undecodable, match="no JSON"):
        JSON.decode(text)


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf"])
def test_invalid_utf8_is_told_apart(bad: bytes) -> None:
    """Text that is not UTF-8 closes with another code than text that is no JSON."""
    with pytest.raises(InvalidUtf8, match="at byte 6"):
        JSON.decode(b'{"a":"' + bad + b'"}')


def test_lone_surrogate_escape_is_no_json() -> None:
    """An escape that UTF-8 cannot hold is refused, but the text itself is UTF-8."""
    with pytest.raises(Undecodable) as caught:
        JSON.decode(b'"\\ud800"')

    assert not isinstance(caught.value, InvalidUtf8)


def test_json_integer_beyond_64_bits_is_a_float() -> None:
    """Huge integers lose precision but do no harm."""
    assert JSON.decode(b"[18446744073709551615,18446744073709551616]") == [
        2**64 - 1,
        2.0**64,
    ]


def test_fragment_is_spliced_as_it_is() -> None:
    """Embedding does not read or rewrite the JSON text."""
    assert JSON.encode([JSON.embed(JSONText(b'{"a" : 1.0}'))]) == b'[{"a" : 1.0}]'


# -- MessagePack -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, problem",
    [
        ("c401 61", "raw bytes"),
        ("c400", "raw bytes"),
        ("91 c50000", "raw bytes"),
        ("81 c400 01", "a key is raw bytes"),
        ("d401 61", "extension types"),
        ("c70001", "extension type 1"),
        ("d6ff 00000000", "extension types"),
        ("c700ff", "extension types"),
        ("81 01 02", "a key is not a string"),
        ("81 9101 02", "a key is not a string"),
        ("a1 ff", "not UTF-8"),
        ("01 01", "bytes after the message"),
        ("dd ffffffff", "a length is greater"),
        ("df ffffffff", "a length is greater"),
        ("db ffffffff", "cut short"),
        ("", "cut short"),
        ("c1", "no MessagePack"),
        ("cb 7ff8000000000000", "nan is not taken"),
        ("92 01 cb fff0000000000000", "-inf is not taken"),
        ("81 a161 ca 7f800000", "inf is not taken"),
    ],
)
def test_what_json_has_not_is_refused_by_name(data: str, problem: str) -> None:
    """The sentence says what was found, for all that MessagePack has and JSON not."""
    with pytest.raises(Undecodable, match=problem):
        MSGPACK.decode(bytes.fromhex(data))


def test_msgpack_refuses_invalid_utf8_like_any_other_fault() -> None:
    """A binary frame may hold anything: its bad strings are no fault of the framing."""
    with pytest.raises(Undecodable) as caught:
        MSGPACK.decode(b"\xa1\xff")

    assert not isinstance(caught.value, InvalidUtf8)


def test_announced_arrays_make_no_room_before_they_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A message that announces 2 GB of arrays is refused before it is decoded."""
    header = b"\xdd" + (QUARTER_MIB - 1).to_bytes(4, "big")
    bomb = (header * 1000).ljust(QUARTER_MIB, b"\x90")
    monkeypatch.setattr(msgpack, "unpackb", pytest.fail)

    with pytest.raises(Undecodable, match="cut short"):
        MSGPACK.decode(bomb)


def test_long_messages_are_decoded_like_short_ones() -> None:
    """The look ahead that long messages get changes nothing about what they say."""
    value = {"list": [{"n": n, "text": "x" * 20} for n in range(1000)]}

    assert MSGPACK.decode(MSGPACK.encode(value)) == value


@pytest.mark.parametrize("value", [nan, inf])
def test_msgpack_floats_must_be_finite(value: float) -> None:
    """NaN and Infinity, which JSON cannot say, are refused however deep they lie."""
    with pytest.raises(Undecodable, match="numbers must be finite"):
        MSGPACK.decode(msgpack.packb({"a": [{"b": value}]}))
