"""Events: taken as described, or rejected by what is wrong."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.events import EventRules
from realtime.errors import (
    BAD_EVENT,
    BAD_EVENT_NAME,
    BAD_PROPERTIES,
    EVENT_DENIED,
    EVENT_TOO_LARGE,
    EVENT_TOO_OLD,
    ErrorCode,
    RejectedEvent,
)
from realtime.settings import EventSettings, LimitSettings
from realtime.types import DeviceId, Event, UserId

NOW = 1_700_000_000.0
NAN = float("nan")


def judge(
    raw: object, *, max_event_bytes: int = 32 * 1024, offset_s: float = 0.0
) -> Event:
    """Judge *raw* as event 7 of a phone that may track anything but ``secret``."""
    rules = EventRules(EventSettings(), LimitSettings(max_event_bytes=max_event_bytes))
    return rules.judge(
        raw,
        device=DeviceId("phone"),
        seq=7,
        user=UserId("ann"),
        received_at=NOW,
        offset_s=offset_s,
        may_track=lambda name: name != "secret",
    )


def test_an_event_is_taken_as_it_is() -> None:
    """Name and properties are kept, and the time is corrected."""
    raw = {"name": "like", "at": NOW - 100, "properties": {"post": "42", "n": 1.5}}
    assert judge(raw, offset_s=60.0) == Event(
        name="like",
        device=DeviceId("phone"),
        seq=7,
        at=NOW - 40,
        user=UserId("ann"),
        properties={"post": "42", "n": 1.5},
    )


@pytest.mark.parametrize(
    "raw",
    [
        {"name": "like"},
        {"name": "like", "at": None},
        {"name": "like", "properties": None},
        {"name": "like", "properties": {}},
    ],
)
def test_only_the_name_is_required(raw: object) -> None:
    """Without a time it is the time of receipt; without properties there are none."""
    event = judge(raw)
    assert (event.name, event.at, dict(event.properties)) == ("like", NOW, {})


@pytest.mark.parametrize("value", ["", "é", 0, -(2**63), 2**64 - 1, 1.5, True, None])
def test_a_property_is_any_flat_value(value: str | float | None) -> None:
    """Strings, numbers, booleans and null are kept as they are."""
    assert judge({"name": "a", "properties": {"x": value}}).properties == {"x": value}


@pytest.mark.parametrize(
    ("raw", "code", "problem"),
    [
        (None, BAD_EVENT, "the event is None; it must be an object"),
        ([1, 2], BAD_EVENT, "must be an object"),
        ("like", BAD_EVENT, "must be an object"),
        ({}, BAD_EVENT_NAME, "name is missing"),
        ({"name": ""}, BAD_EVENT_NAME, "name is ''"),
        ({"name": 5}, BAD_EVENT_NAME, "name is 5"),
        ({"name": "1st"}, BAD_EVENT_NAME, "must be a letter"),
        ({"name": "like\n"}, BAD_EVENT_NAME, "must be a letter"),
        ({"name": "x" * 65}, BAD_EVENT_NAME, "at most 63"),
        ({"name": "secret"}, EVENT_DENIED, "'secret' may not be tracked"),
        ({"name": "a", "time": 1}, BAD_EVENT, "there is no field 'time'"),
        ({"name": "a", 5: 1}, BAD_EVENT, "there is no field 5"),
        ({"name": "a", "at": "now"}, BAD_EVENT, "at is 'now'"),
        ({"name": "a", "at": True}, BAD_EVENT, "at is True"),
        ({"name": "a", "at": NAN}, BAD_EVENT, "at is nan"),
        ({"name": "a", "at": NOW * 1000}, BAD_EVENT, "not milliseconds"),
        ({"name": "a", "at": 10**400}, BAD_EVENT, "must be seconds"),
        ({"name": "a", "at": 0}, EVENT_TOO_OLD, "72h|3d"),
        ({"name": "a", "properties": []}, BAD_PROPERTIES, "must be an object"),
        ({"name": "a", "properties": "x"}, BAD_PROPERTIES, "must be an object"),
        ({"name": "a", "properties": {"": 1}}, BAD_PROPERTIES, "1 to 64 characters"),
        ({"name": "a", "properties": {5: 1}}, BAD_PROPERTIES, "property 5 must be"),
        ({"name": "a", "properties": {"k" * 65: 1}}, BAD_PROPERTIES, "1 to 64"),
        ({"name": "a", "properties": {"x": NAN}}, BAD_PROPERTIES, "must be finite"),
        ({"name": "a", "properties": {"x": 2**64}}, BAD_PROPERTIES, "64 bits"),
        ({"name": "a", "properties": {"x": [1]}}, BAD_PROPERTIES, "string, a number"),
        ({"name": "a", "properties": {"x": b"1"}}, BAD_PROPERTIES, "string, a number"),
        ({"name": "a", "properties": {"x": "s" * 1025}}, BAD_PROPERTIES, "1024"),
        ({"name": "a", "properties": {"x": "\ud800"}}, BAD_PROPERTIES, "Unicode"),
        ({"name": "a", "properties": {"\ud800": 1}}, BAD_PROPERTIES, "Unicode"),
        (
            {"name": "a", "properties": {str(i): i for i in range(65)}},
            BAD_PROPERTIES,
            "65 properties; at most 64",
        ),
    ],
)
def test_what_is_wrong_is_named(raw: object, code: ErrorCode, problem: str) -> None:
    """Each mistake has its code, and the sentence names the field and its value."""
    with pytest.raises(RejectedEvent, match=problem) as caught:
        judge(raw)
    assert caught.value.code is code
    assert len(caught.value.reason) < 200


def test_the_field_is_a_path() -> None:
    """The error carries the path of the property, for programs."""
    with pytest.raises(RejectedEvent) as caught:
        judge({"name": "a", "properties": {"x": [1]}})
    assert caught.value.field == "properties.x"


def test_the_size_of_an_event_is_bounded() -> None:
    """Many strings within their own limits may still be too much together."""
    strings: dict[str, str] = {f"p{i}": "é" * 1000 for i in range(10)}
    raw = {"name": "a", "properties": strings}
    assert judge(raw, max_event_bytes=21_000).name == "a"
    with pytest.raises(RejectedEvent, match="at most 20000 are allowed") as caught:
        judge(raw, max_event_bytes=20_000)
    assert caught.value.code is EVENT_TOO_LARGE


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=64),
        st.text(max_size=200) | st.integers(-(2**63), 2**64 - 1) | st.booleans(),
        max_size=64,
    )
)
def test_the_estimate_of_the_size_is_near_the_truth(properties: dict[str, str]) -> None:
    """The estimate exceeds the size in JSON by a few bytes per property at most."""
    raw = {"name": "a", "properties": properties}
    size = len(orjson.dumps(raw))
    judge(raw, max_event_bytes=size + 64 + 22 * len(properties))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "at", "properties", "x"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(JSON)
def test_anything_is_an_event_or_a_documented_rejection(raw: object) -> None:
    """Judging raises nothing but a rejection."""
    try:
        event = judge(raw)
    except RejectedEvent:
        return
    assert isinstance(raw, dict)
    assert event.name == raw["name"]


def test_a_name_that_one_may_send_is_denied_to_another() -> None:
    """What is remembered of a name is that it is well-formed, and nothing else."""
    rules = EventRules(EventSettings(), LimitSettings())

    def send(allowed: bool) -> Event:
        return rules.judge(
            {"name": "like"},
            device=DeviceId("phone"),
            seq=1,
            user=None,
            received_at=NOW,
            offset_s=0.0,
            may_track=lambda name: allowed,
        )

    assert send(True).name == "like"
    with pytest.raises(RejectedEvent) as caught:
        send(False)
    assert caught.value.code is EVENT_DENIED


def test_any_number_of_names_is_taken() -> None:
    """Also when more have been seen than are remembered."""
    rules = EventRules(EventSettings(), LimitSettings())
    for number in [*range(1500), 0, 1499]:
        event = rules.judge(
            {"name": f"like{number}"},
            device=DeviceId("phone"),
            seq=1,
            user=None,
            received_at=NOW,
            offset_s=0.0,
            may_track=lambda name: True,
        )
        assert event.name == f"like{number}"
