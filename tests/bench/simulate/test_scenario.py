"""The command line of the simulator."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from realtime.bench.errors import BenchError
from realtime.bench.plot import charts_of
from realtime.bench.program import main, parser_of
from realtime.bench.simulate.scenario import run

SMALL = ["--connections", "5000", "--quiet"]


def rows(*words: str) -> dict[tuple[str, str], object]:
    """Run it; return the values by play and name."""
    found = run(parser_of("simulate").parse_args([*SMALL, *words]))
    return {(str(row["play"]), str(row["what"])): row["value"] for row in found.rows}


def test_it_plays_all_and_prints_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And writes the JSON and a plot."""
    kept, plot = tmp_path / "out.json", tmp_path / "out.html"

    code = main("simulate", [*SMALL, "--json", str(kept), "--plot", str(plot)])

    assert code == 0
    table = capsys.readouterr().out
    assert all(
        f"\n{play}" in table for play in ("fleet", "day", "storm", "loss", "push")
    )
    assert orjson.loads(kept.read_bytes())["scenario"] == "simulate"
    assert "A day: what is in use" in plot.read_text("utf-8")


def test_one_play_may_be_chosen() -> None:
    """Then only that is in the table, behind what the fleet is."""
    found = rows("--play", "storm", "--fleet", "4")

    assert {play for play, _ in found} == {"fleet", "storm"}
    assert found["fleet", "nodes of a fleet"] == 4


def test_the_same_options_give_the_same_answer() -> None:
    """To the last digit; another seed, another storm."""
    words = ["--play", "storm", "--fleet", "2"]

    assert rows(*words) == rows(*words)
    assert rows(*words) != rows(*words, "--seed", "1")


def test_one_machine_cannot_be_lost() -> None:
    """Which is said, not played."""
    assert ("loss", "not played") in rows("--fleet", "2")


def test_all_charts_can_be_drawn() -> None:
    """Each has lines with points."""
    found = run(parser_of("simulate").parse_args(SMALL))

    charts = charts_of(found.series)
    assert len(charts) == 2 + 3 * 3
    assert all(line.points for lines in charts.values() for line in lines)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--fleet", "some"], "--fleet is 'some'"),
        (["--fleet", "0"], "nodes is 0"),
        (["--connections", "0"], "connections is 0"),
        (["--costs", "nowhere.toml"], "nowhere.toml cannot be read"),
        (["--target", "0.001"], "no fleet keeps the target"),
    ],
)
def test_a_wrong_option_is_named(words: list[str], told: str) -> None:
    """With its value."""
    with pytest.raises(BenchError, match=told):
        rows(*words)


@pytest.mark.parametrize("option", ["--nodes", "--url", "--processes"])
def test_options_of_a_target_are_refused(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is loaded: they would mean nothing."""
    with pytest.raises(SystemExit):
        parser_of("simulate").parse_args([option, "5"])

    assert f"unrecognized arguments: {option}" in capsys.readouterr().err
