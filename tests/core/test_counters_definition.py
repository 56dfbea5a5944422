"""Counter definitions: read from their table, or refused by key."""

from __future__ import annotations

import pytest

from realtime.core.channels import Rule
from realtime.core.counters import CounterDefinition
from realtime.core.measures import Measure
from realtime.core.windows import Window
from realtime.errors import ConfigError


def parse(name: str = "likes", tick_s: float = 0.1, **raw: object) -> CounterDefinition:
    """Read the table with these keys."""
    return CounterDefinition.parse(name, raw, tick_s)


def test_only_the_event_is_required() -> None:
    """Everything else has a default: a count of all events for all time."""
    assert parse(event="like") == CounterDefinition(
        name="likes",
        event="like",
        measure=Measure.COUNT,
        of=None,
        by=(),
        windows=(Window.parse("total"),),
        where={},
        lateness_s=120.0,
        cadence_s=0.1,
        max_cells=10_000,
        decimals=6,
        watch=Rule.TOKEN,
    )


def test_every_key_is_read() -> None:
    """Durations, lists and choices become values."""
    definition = parse(
        event="purchase",
        measure="sum",
        of="amount",
        by=["shop", "user"],
        windows=["total", "5m", "1h/1m", "2h/1m"],
        where={"currency": "EUR", "kind": ["new", 2, True]},
        lateness="5m",
        cadence="1s",
        max_cells=50,
        decimals=2,
        watch="anyone",
    )
    assert definition.measure is Measure.SUM
    assert definition.of == "amount"
    assert definition.by == ("shop", "user")
    assert definition.where == {"currency": ("EUR",), "kind": ("new", 2, True)}
    assert (definition.lateness_s, definition.cadence_s) == (300.0, 1.0)
    assert (definition.max_cells, definition.decimals) == (50, 2)
    assert definition.watch is Rule.ANYONE
    assert definition.grains == (0, 300, 60)
    assert definition.window("1h/1m") == Window.parse("1h/1m")
    assert definition.window("7m") is None


def test_the_default_cadence_is_the_tick() -> None:
    """Values change once per tick, so that is how often they are published."""
    assert parse(event="like", tick_s=0.25).cadence_s == 0.25


@pytest.mark.parametrize("key", ["user", "device", "post"])
def test_unique_takes_a_property_or_a_subject(key: str) -> None:
    """Users, devices and values of a property can be told apart."""
    assert parse(event="view", measure="unique", of=key).of == key


@pytest.mark.parametrize(
    ("raw", "key", "problem"),
    [
        ({}, "event", "is missing"),
        ({"event": 5}, "event", "is 5; it must be a string"),
        ({"event": "1st"}, "event", "is no event's name"),
        ({"event": "a", "mesure": "sum"}, "mesure", "did you mean 'measure'"),
        ({"event": "a", "zzz": 1}, "zzz", "keys: event, where"),
        ({"event": "a", "measure": "median"}, "measure", "count, sum, min, max"),
        ({"event": "a", "measure": ["sum"]}, "measure", "must be one of"),
        ({"event": "a", "of": "x"}, "of", "is not used by"),
        ({"event": "a", "measure": "sum"}, "of", "needs a property that holds"),
        ({"event": "a", "measure": "unique"}, "of", '"user" or "device"'),
        ({"event": "a", "measure": "sum", "of": "user"}, "of", "'user' is no number"),
        ({"event": "a", "by": "post"}, "by", "must be a list of strings"),
        ({"event": "a", "by": [5]}, "by", "lists 5"),
        ({"event": "a", "by": ["a b"]}, "by", "'a b' is no dimension"),
        ({"event": "a", "by": ["window"]}, "by", "cannot be a dimension"),
        ({"event": "a", "by": ["x", "x"]}, "by", "'x' is named twice"),
        ({"event": "a", "by": list("abcdefghi")}, "by", "9 dimensions; at most 8"),
        ({"event": "a", "windows": []}, "windows", "1 to 16 windows"),
        ({"event": "a", "windows": ["5x"]}, "windows", "'5x' is not a window"),
        ({"event": "a", "windows": ["60s", "1m"]}, "windows", "are the same"),
        ({"event": "a", "windows": "5m"}, "windows", "must be a list"),
        ({"event": "a", "where": "x"}, "where", "must be a table"),
        ({"event": "a", "where": {"x": []}}, "where.x", "lists no value"),
        ({"event": "a", "where": {"x": [[1]]}}, "where.x", "string, a number"),
        ({"event": "a", "where": {"x": float("nan")}}, "where.x", "a number"),
        ({"event": "a", "lateness": "later"}, "lateness", "is not a duration"),
        ({"event": "a", "lateness": "91d"}, "lateness", "between 0s and 90d"),
        ({"event": "a", "cadence": "50ms"}, "cadence", "shorter than the tick, 100ms"),
        ({"event": "a", "cadence": True}, "cadence", "is not a duration"),
        ({"event": "a", "max_cells": 0}, "max_cells", "between 1 and 1000000"),
        ({"event": "a", "max_cells": "9"}, "max_cells", "must be a whole number"),
        ({"event": "a", "decimals": True}, "decimals", "must be a whole number"),
        ({"event": "a", "decimals": 13}, "decimals", "between 0 and 12"),
        ({"event": "a", "watch": "all"}, "watch", "one of token, user, anyone"),
    ],
)
def test_a_wrong_key_is_refused_with_what_is_right(
    raw: dict[str, object], key: str, problem: str
) -> None:
    """The error names the key by its path and says what would be right."""
    with pytest.raises(ConfigError, match=problem) as caught:
        CounterDefinition.parse("likes", raw, 0.1)
    assert caught.value.key == f"counters.likes.{key}"


@pytest.mark.parametrize("name", ["", "Likes", "1st", "a.b", "x" * 65, "a;b", "ä"])
def test_a_wrong_name_is_refused(name: str) -> None:
    """Names of counters are parts of channel names, so they are plain."""
    with pytest.raises(ConfigError, match="small letter") as caught:
        parse(name, event="like")
    assert caught.value.key == f"counters.{name}"
