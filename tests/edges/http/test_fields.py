"""Parameters of a query, one by one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from realtime.edges.http.fields import MAX_INSTANT, MIN_INSTANT, Body, Query, texts
from realtime.errors import CommandError


def instant(text: str) -> float | None:
    """What a parameter ``at`` with this text says."""
    return Query(QueryParams({"at": text}), ("at",)).instant("at")


@pytest.mark.parametrize(
    "text, at",
    [
        ("0", 0.0),
        ("-1.5", -1.5),
        ("1.7e9", 1.7e9),
        ("1700000000.25", 1700000000.25),
        ("2023-11-14T22:13:20Z", 1_700_000_000.0),
        ("2023-11-14t22:13:20z", 1_700_000_000.0),
        ("2023-11-14T22:13:20", 1_700_000_000.0),
        ("2023-11-14 22:13:20", 1_700_000_000.0),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000.0),
        ("2023-11-14T23:13:20 01:00", 1_700_000_000.0),
        ("2023-11-14", 1_699_920_000.0),
    ],
)
def test_an_instant_is_a_number_or_a_date(text: str, at: float) -> None:
    """Seconds since the epoch and ISO 8601 are understood, also a lost plus sign."""
    assert instant(text) == at


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "nan",
        "inf",
        "1_0",
        "0x10",
        "1e999",
        "\u0661",
        "2023-13-01",
        "99999999999999",
    ],
)
def test_other_texts_are_no_instant(text: str) -> None:
    """What is neither is refused in words."""
    with pytest.raises(CommandError, match="at: must be seconds since the epoch"):
        instant(text)


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading_of_instants(text: str) -> None:
    """Any text is an instant within bounds or a documented refusal."""
    try:
        found = instant(text)
    except CommandError:
        return
    assert found is not None
    assert MIN_INSTANT <= found <= MAX_INSTANT


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_date_is_an_instant(moment: datetime) -> None:
    """What datetime writes is read back."""
    assert instant(moment.isoformat()) == pytest.approx(moment.timestamp())


@given(st.text(max_size=10), st.integers(-10, 10), st.integers(0, 100))
def test_integers_stay_within_bounds(text: str, low: int, span: int) -> None:
    """Whatever is written, only an integer between the bounds comes out."""
    query = Query(QueryParams({"limit": text}), ("limit",))
    try:
        found = query.integer("limit", low, low + span, 0)
    except CommandError:
        return
    assert low <= found <= low + span


def test_a_bad_item_is_named_by_its_place() -> None:
    """An item that is no string is told by its number in the array."""
    body = Body({"channels": ["a", 7]}, ("channels",))
    with pytest.raises(CommandError, match="channels: item 1 must be a string, not 7"):
        body.required("channels", texts(10))


def test_errors_quote_little() -> None:
    """A huge value is cut short where an error shows it."""
    body = Body({"channels": "x" * 100_000}, ("channels",))
    with pytest.raises(CommandError) as raised:
        body.required("channels", texts(10))
    assert len(raised.value.reason) < 200
