"""How rows become numbered events."""

from __future__ import annotations

import argparse
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from realtime.cli.remote import RemoteError
from realtime.cli.replay.plan import Plan, Speed, moment_of, plain

FAST = Speed(None)


def plan(folder: Path, content: str = "a,b\n", **changed: Any) -> Plan:
    """The plan of a command line."""
    path = folder / "rows.csv"
    path.write_text(content)
    given: dict[str, Any] = {
        "file": path,
        "event": None,
        "name": "like",
        "time": None,
        "user": None,
        "properties": None,
        "speed": FAST,
        "keep_time": False,
        "limit": None,
        "lanes": 4,
        "batch": 500,
        "again": "",
    }
    return Plan.of(argparse.Namespace(**{**given, **changed}))


@pytest.mark.parametrize(
    ("text", "factor"),
    [("max", None), ("real", 1.0), ("60", 60.0), ("0.5", 0.5), ("10x", 10.0)],
)
def test_a_speed_is_a_factor(text: str, factor: float | None) -> None:
    """Or as fast as it goes."""
    assert Speed.parse(text) == Speed(factor)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "fast", "", "x"])
def test_another_speed_is_refused(text: str) -> None:
    """In words that argparse shows."""
    with pytest.raises(argparse.ArgumentTypeError, match="must be max, real, or"):
        Speed.parse(text)


@pytest.mark.parametrize(
    "value",
    [
        1_700_000_000,
        1_700_000_000.0,
        "2023-11-14T22:13:20Z",
        "2023-11-14 22:13:20",
        "2023-11-14T23:13:20+01:00",
        datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        datetime(2023, 11, 14, 22, 13, 20),
        datetime(2023, 11, 15, 0, 13, 20, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_a_moment_is_seconds_or_iso(value: object) -> None:
    """UTC where nothing else is said."""
    assert moment_of(value, "at") == 1_700_000_000.0


def test_a_day_is_its_beginning() -> None:
    """In UTC."""
    assert moment_of(date(1970, 1, 2), "at") == moment_of("1970-01-02", "at") == 86_400


@pytest.mark.parametrize("value", [None, True, "yesterday", "", [], b"1"])
def test_what_is_no_time_is_named(value: object) -> None:
    """By its column and its value."""
    with pytest.raises(RemoteError, match=r"at: .* is no time") as caught:
        moment_of(value, "at")

    assert value is True or repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x", "x"),
        (7, 7),
        (True, True),
        (1.5, 1.5),
        (Decimal("1.25"), 1.25),
        (date(2023, 1, 2), "2023-01-02"),
        (datetime(2023, 1, 2, 3, 4), "2023-01-02T03:04:00"),
        (time(3, 4), "03:04:00"),
        ([1, {"a": None}], '[1,{"a":null}]'),
        (b"abc", "abc"),
    ],
)
def test_a_property_is_a_scalar(value: object, shown: object) -> None:
    """Whatever a file can hold."""
    assert plain(value) == shown


def test_columns_without_a_part_become_properties(tmp_path: Path) -> None:
    """Missing values are left out."""
    made = plan(tmp_path, event="kind", name=None, time="at", user="who")
    row = {"kind": "like", "at": 5, "who": 7, "post": 42, "note": None}

    assert made.encode(row, 5.0) == {
        "name": "like",
        "at": 5.0,
        "user": "7",
        "properties": {"post": 42},
    }


def test_named_columns_alone_become_properties(tmp_path: Path) -> None:
    """In the order given."""
    made = plan(tmp_path, properties="b,missing")

    assert made.encode({"a": 1, "b": 2}, None) == {
        "name": "like",
        "properties": {"b": 2},
    }


def test_a_row_without_a_name_is_left_to_be_rejected(tmp_path: Path) -> None:
    """It is not made up: the server says which row had none."""
    made = plan(tmp_path, event="kind", name=None)

    assert made.encode({"kind": None}, None)["name"] == ""


def test_rows_are_dealt_evenly(tmp_path: Path) -> None:
    """One after the other."""
    made = plan(tmp_path, lanes=3)

    assert [made.lane({}, number) for number in range(6)] == [0, 1, 2, 0, 1, 2]


def test_the_rows_of_a_user_stay_in_one_lane(tmp_path: Path) -> None:
    """So that they are counted in their order, now and when it is run again."""
    made = plan(tmp_path, user="who", lanes=16)
    lanes = {made.lane({"who": "ann"}, number) for number in range(100)}
    others = {made.lane({"who": str(number)}, 0) for number in range(100)}

    assert len(lanes) == 1
    assert len(others) > 8


@pytest.mark.parametrize(
    "changed",
    [
        {"content": "a,b\n1,2\n"},
        {"name": "view"},
        {"name": None, "event": "a"},
        {"time": "a"},
        {"user": "a"},
        {"properties": "a"},
        {"lanes": 5},
        {"again": "once more"},
    ],
)
def test_whatever_changes_the_events_is_another_replay(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    """Its devices have other names, so nothing is taken for sent."""
    assert plan(tmp_path, **changed).device(0) != plan(tmp_path).device(0)


@pytest.mark.parametrize("changed", [{"limit": 5}, {"batch": 7}, {"speed": Speed(1.0)}])
def test_how_it_is_sent_does_not_matter(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    """The same rows have the same numbers, however fast and however many at once."""
    assert plan(tmp_path, **changed).device(3) == plan(tmp_path).device(3)


def test_a_column_that_is_missing_is_named(tmp_path: Path) -> None:
    """With those that there are."""
    with pytest.raises(RemoteError, match="no column 'at'; there are a, b"):
        plan(tmp_path, time="at").check(["a", "b"])


def test_columns_that_nobody_knows_are_not_checked(tmp_path: Path) -> None:
    """Every line of JSON may have its own."""
    plan(tmp_path, time="at").check(None)
