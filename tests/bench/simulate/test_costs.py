"""The prices, and the files that they come from."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from realtime.bench.errors import BenchError
from realtime.bench.result import Result
from realtime.bench.simulate.costs import CostError, Costs, costs_of_result
from realtime.bench.simulate.files import read_costs
from tests.bench.simulate.support import COSTS


def test_frames_are_priced_by_how_many_leave_together() -> None:
    """One costs what a lone one did when measured, eight what eight did."""
    assert COSTS.frame_us(1) == pytest.approx(COSTS.frame_lone_us)
    assert COSTS.frame_us(8) == pytest.approx(COSTS.frame_joined_us)
    assert COSTS.frame_us(4) > COSTS.frame_us(8)


def test_events_are_priced_by_their_batch() -> None:
    """One costs what a single one did, twenty and more what twenty did."""
    assert COSTS.event_us(1) == pytest.approx(COSTS.event_single_us)
    assert COSTS.event_us(20) == pytest.approx(COSTS.event_batched_us)
    assert COSTS.event_us(100) == COSTS.event_us(20)


def test_every_cost_of_the_project_says_where_it_comes_from() -> None:
    """A source that can be looked up, and a date."""
    package = files("realtime.bench.simulate")
    table = tomllib.loads(package.joinpath("costs.toml").read_text("utf-8"))

    for name, given in table.items():
        assert given["source"], name
        assert given["date"].year >= 2026, name


def test_later_costs_win() -> None:
    """A file of one's own need only name what differs."""
    base = dict.fromkeys(Costs.__slots__, 1.0)

    found = Costs.of(base, {"connect_us": {"value": 7, "source": "here"}})

    assert (found.connect_us, found.ping_us) == (7.0, 1.0)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"conect_us": 1}, "conect_us is not a cost"),
        ({"connect_us": "much"}, "a number"),
        ({"connect_us": True}, "a number"),
        ({"connect_us": -1}, "0 or more"),
        ({"connect_us": float("nan")}, "0 or more"),
        ({"connect_us": 1}, "there is no"),
    ],
)
def test_a_mistake_is_named(given: dict[str, object], told: str) -> None:
    """With the key, the value, and what would be right."""
    with pytest.raises(CostError, match=told):
        Costs.of(given)


def test_results_of_other_benchmarks_tell_costs() -> None:
    """The median over their rows; rows of something else tell nothing."""
    rows = [
        {"batch": 1, "server_us": 60.0},
        {"batch": 1, "server_us": 62.0},
        {"batch": 20, "server_us": 15.0},
        {"batch": 7, "server_us": 30.0},
        {"batch": 20, "server_us": None},
    ]

    assert costs_of_result("ingest", rows) == {
        "event_single_us": 61.0,
        "event_batched_us": 15.0,
    }


def test_a_file_of_a_result_is_read(tmp_path: Path) -> None:
    """As it was written by ``--json``."""
    path = tmp_path / "connect.json"
    rows = [{"connections": 1000, "server_us": 321.0, "each_kib": 4.5}]
    Result("connect", {"server_us": "us"}, rows).write(str(path))

    found = read_costs([str(path)])

    assert (found.connect_us, found.connection_kib) == (321.0, 4.5)


@pytest.mark.parametrize("text", ["", "connect_us = ", '{"scenario": "soak"}', "[1]"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    """Broken, of another kind, or not there."""
    path = tmp_path / ("costs.json" if text[:1] in "{[" else "costs.toml")
    if text:
        path.write_text(text)

    with pytest.raises(BenchError):
        read_costs([str(path)])
