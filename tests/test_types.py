"""Values of which one is made per event."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from realtime.types import DeviceId, Event

LIKE = Event("like", DeviceId("phone"), 1, 1_700_000_000.0)


def test_a_hot_value_equals_another_with_the_same_fields() -> None:
    """Events are compared by what they say, not by which object they are."""
    assert replace(LIKE) == LIKE
    assert replace(LIKE, seq=2) != LIKE


def test_a_hot_value_is_a_dataclass() -> None:
    """Its fields can be asked for, and defaults are its own."""
    names = [field.name for field in fields(LIKE)]

    assert names == ["name", "device", "seq", "at", "user", "properties"]
    assert replace(LIKE).properties == {}


def test_a_hot_value_takes_no_other_fields() -> None:
    """It has slots, so a misspelt field is an error and costs no dictionary."""
    with pytest.raises(AttributeError):
        LIKE.colour = "red"  # type: ignore[attr-defined]
