"""What is written and read: events, codecs, and the examples of the protocol's page."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from realtime_client import BadEvent, BadReply, CommandError, Retry, parsing
from realtime_client.codec import JSONCodec, MessagePackCodec, make_codec, to_json
from realtime_client.events import decode_event, encode_event
from realtime_client.parsing import parse
from realtime_client.replies import ErrorReply, Welcome

EXAMPLES = Path(__file__).parents[3] / "docs/reference/examples/native.json"
CODECS = (JSONCodec(), MessagePackCodec())


def examples(direction: str) -> list[Any]:
    """Return the page's examples of one direction; none where there is no page."""
    if not EXAMPLES.exists():
        return []
    every = json.loads(EXAMPLES.read_text())
    return [
        pytest.param(one["json"], bytes.fromhex(one["msgpack"]), id=one["name"])
        for one in every
        if one["direction"] == direction
    ]


@pytest.mark.parametrize(("text", "packed"), examples("down"))
def test_the_pages_replies_are_read(text: str, packed: bytes) -> None:
    """Both codecs say the same; every field of the example is found in the message."""
    reply = parse(CODECS[0].decode(text))
    assert reply == parse(CODECS[1].decode(packed)) or isinstance(reply, ErrorReply)
    assert reply is not None
    for name, value in json.loads(text).items():
        assert_said(reply, name, value)


def assert_said(reply: Any, name: str, value: Any) -> None:
    """Check that *reply* has the field of the message."""
    if name == "type":
        return
    if isinstance(reply, ErrorReply) and name != "id":
        assert getattr(reply.error, name) == value
    elif name == "limits":
        assert isinstance(reply, Welcome)
        assert all(getattr(reply.limits, key) == value[key] for key in value)
    elif name == "rejected":
        rejected = getattr(reply, name)
        assert [(one.seq, one.code, one.name, one.reason) for one in rejected] == [
            tuple(one.values()) for one in value
        ]
    elif name in ("offset", "epoch") and hasattr(reply, "position"):
        assert getattr(reply.position, name) == value
    elif name == "publications":
        said = [vars_of(one) for one in getattr(reply, name)]
        assert said == [{"offset": None, "tags": {}, **one} for one in value]
    elif name in ("member", "members"):
        members = reply.members if name == "members" else [reply.member]
        every = value if name == "members" else [value]
        said = [vars_of(one) for one in members]
        assert said == [{"user": None, "info": None, **one} for one in every]
    else:
        assert getattr(reply, name) == value


def vars_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


@pytest.mark.parametrize(("text", "packed"), examples("up"))
def test_the_pages_commands_are_written_alike(text: str, packed: bytes) -> None:
    """Byte for byte, in both codecs; a batch of events too."""
    message = json.loads(text)
    events = message.pop("events", None)
    for codec, wanted in zip(CODECS, (text.encode(), packed), strict=True):
        if events is None:
            written = codec.encode(message)
        else:
            written = codec.encode_events(message, [to_json(one) for one in events])
        assert written == wanted


# -- events ----------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
PROPERTIES = st.dictionaries(st.text(min_size=1, max_size=10), SCALARS, max_size=8)


@settings(deadline=None)
@given(PROPERTIES)
def test_both_codecs_carry_every_event(properties: dict[str, Any]) -> None:
    """What was tracked is what the server reads."""
    event = encode_event("e", properties, 1.5, 10_000)
    wanted = {"name": "e", "at": 1.5}
    if properties:
        wanted["properties"] = properties  # type: ignore[assignment]
    assert decode_event(event) == wanted
    head = {"type": "track", "id": 1, "first": 1}
    as_json = json.loads(CODECS[0].encode_events(head, [event, event]))
    packed = msgpack.unpackb(CODECS[1].encode_events(head, [event, event]))
    assert as_json == packed == {**head, "events": [wanted, wanted]}


@settings(deadline=None, max_examples=30)
@given(st.lists(PROPERTIES, min_size=1, max_size=20))
def test_frames_stay_within_their_room(batch: list[dict[str, Any]]) -> None:
    """What the codec says fits, fits: with the longest head there is."""
    events = [encode_event("e", one, 1.7e9, 100_000) for one in batch]
    size = sum(len(event) + 1 for event in events)
    head = {"type": "track", "id": 2**53, "first": 2**53, "sent_at": 1.7e9 + 1 / 3}
    for codec in CODECS:
        limits = range(size, 3 * size + 1000)
        most = next(limit for limit in limits if codec.event_room(limit) >= size)
        assert len(codec.encode_events({**head, "lost": 2**53}, events)) <= most


@pytest.mark.parametrize(
    ("name", "properties", "at", "match"),
    [
        ("", None, 1.0, "name"),
        ("no spaces", None, 1.0, "name"),
        ("1st", None, 1.0, "name"),
        ("x" * 65, None, 1.0, "name"),
        (7, None, 1.0, "name"),
        ("e", None, float("nan"), "at"),
        ("e", None, 1.7e12, "seconds"),
        ("e", None, "now", "at"),
        ("e", None, True, "at"),
        ("e", {"a": [1]}, 1.0, r"properties\.a: .* not list"),
        ("e", {"a": float("inf")}, 1.0, r"properties\.a: .* finite"),
        ("e", {"a": 2**64}, 1.0, r"properties\.a: .* bits"),
        ("e", {"a": "x" * 1025}, 1.0, r"properties\.a: has 1025"),
        ("e", {"a": "\ud800"}, 1.0, "Unicode"),
        ("e", {"": 1}, 1.0, "names"),
        ("e", {1: 1}, 1.0, "names"),
        ("e", {f"k{n}": n for n in range(65)}, 1.0, "65"),
        ("e", {"a": "x" * 900, "b": "x" * 200}, 1.0, "at most 1000"),
    ],
)
def test_what_can_never_be_counted_is_refused(
    name: Any, properties: Any, at: Any, match: str
) -> None:
    """The sentence names the field."""
    with pytest.raises(BadEvent, match=match):
        encode_event(name, properties, at, 1000)


# -- codecs ----------------------------------------------------------------------------


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_whatever_a_server_sends_is_read_or_a_bad_reply(frame: bytes) -> None:
    """Nothing else ever comes out."""
    for codec in CODECS:
        with suppress(BadReply):
            parse(codec.decode(frame))


KINDS = sorted(parsing._READERS)
FIELDS = sorted(
    {
        name
        for example in examples("down")
        for name in re.findall(r'"(\w+)":', example.values[0])
    }
    | {"id"}
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5)
    ),
)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), VALUES))
def test_whatever_a_message_has_is_read_or_a_bad_reply(
    kind: str, given_fields: dict[str, Any]
) -> None:
    """Any values in the right places: nothing else is ever raised."""
    with suppress(BadReply):
        assert parse({**given_fields, "type": kind}) is not None


@pytest.mark.parametrize("value", [float("nan"), "\ud800", {"a": {1, 2}}, b"bytes"])
def test_what_json_cannot_say_is_an_error(value: Any) -> None:
    """ValueError or TypeError, before anything is sent."""
    with pytest.raises((ValueError, TypeError)):
        to_json(value)


def test_an_advice_that_is_not_known_means_later() -> None:
    """A newer server's word does not stop an older client."""
    error = {"type": "error", "code": 199, "name": "new", "retry": "tomorrow"}
    reply = parse(error)
    assert isinstance(reply, ErrorReply)
    assert isinstance(reply.error, CommandError)
    assert reply.error.retry is Retry.LATER


def test_msgpack_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, the error says what to install."""
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(ImportError, match=r"realtime-client\[msgpack\]"):
        make_codec("msgpack")


def test_the_client_stands_alone() -> None:
    """Nothing in the package imports the server."""
    package = Path(__file__).parents[1] / "realtime_client"
    for file in package.glob("*.py"):
        for line in file.read_text().splitlines():
            assert not line.startswith(("import realtime.", "from realtime."))
            assert line.strip() not in ("import realtime",)
