"""Whole runs of the kit's scenarios, and how they end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from realtime.bench import connect, fanout, ingest, latency
from realtime.bench.dialects.native import Native
from realtime.bench.errors import BenchError
from realtime.bench.joining import failures_of
from realtime.bench.local import SECRET, serving
from realtime.bench.program import (
    EXIT_STOPPED,
    Bench,
    finish,
    main,
    opened,
    parameters_of,
    parser_of,
)
from realtime.bench.progress import Display
from realtime.bench.result import Result
from realtime.bench.scenarios import SCENARIOS
from realtime.bench.target import Target

pytestmark = pytest.mark.slow

OURS: Mapping[str, Any] = {
    "connect": connect,
    "fanout": fanout,
    "ingest": ingest,
    "latency": latency,
}


def bench_of(name: str, target: Target, *arguments: str, codec: str = "json") -> Any:
    """A run of a scenario in its smallest size, against *target*."""
    options = parser_of(name).parse_args([*arguments, "--codec", codec])
    vars(options).update(OURS[name].SMOKE)
    return opened(options, name, target, Native(codec))


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("name", OURS)
def test_every_scenario_measures_something(
    name: str, codec: str, target: Target
) -> None:
    """Its rows have latencies and costs, and nothing is lost."""
    with bench_of(name, target, codec=codec) as bench:
        result: Result = OURS[name].measure(bench)

    assert result.rows
    assert result.series
    for row in result.rows:
        assert 0 < row["p50_ms"] <= row["p999_ms"] <= row["max_ms"]  # type: ignore[operator]
        assert row["server_us"] > 0  # type: ignore[operator]
        assert not row.get("lost")
        assert not row.get("failed")
        assert not row.get("missing")
    assert not [one for one in result.warnings if "fail" in one]


@pytest.mark.parametrize("name", ["fanout", "ingest", "latency"])
def test_several_processes_find_what_one_finds(name: str, target: Target) -> None:
    """Their parts add up: nothing is sent twice, and nothing is waited for in vain."""
    found = []
    for processes in (1, 3):
        with bench_of(name, target) as bench:
            bench.options.processes = processes
            bench.options.no_flood = True  # how often it floods depends on speed
            result: Result = OURS[name].measure(bench)
        key = {"fanout": "deliveries", "ingest": "events", "latency": "samples"}[name]
        found.append([row[key] for row in result.rows])

    assert found[0] == found[1]


def test_a_label_can_be_used_again(target: Target) -> None:
    """Devices go on with their numbers, counters with their values."""
    for _ in range(2):
        with bench_of("latency", target, "--label", "again") as bench:
            result = latency.measure(bench)
        assert [row["lost"] for row in result.rows] == [0, 0]


class _StopLater(Display):
    """Stops the run when a certain step has begun."""

    def __init__(self, bench: Bench, step: str) -> None:
        super().__init__(quiet=True)
        self._bench, self._step = bench, step

    def step(self, what: str, total: float) -> Any:
        if what == self._step:
            self._bench.stop.ask("interrupted")
        return super().step(what, total)


def test_who_is_stopped_shows_what_there_is(
    target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rows before, and an exit code that says so."""
    with bench_of("fanout", target) as bench:
        stopper = _StopLater(bench, "20 publications/s")
        object.__setattr__(bench, "display", stopper)
        result = fanout.measure(bench)
        code = finish(result, bench.options)

    assert [row["rate"] for row in result.rows][:1] == [10.0]
    assert result.stopped == "interrupted"
    assert code == EXIT_STOPPED
    said = capsys.readouterr()
    assert "publications/s" in said.out
    assert "stopped: interrupted" in said.err


def test_who_is_stopped_before_anything_says_so(target: Target) -> None:
    """There is no table to show."""
    with bench_of("fanout", target) as bench:
        bench.stop.ask("interrupted")

        with pytest.raises(BenchError, match="nothing was measured: interrupted"):
            fanout.measure(bench)


def test_files_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A whole run from its command line: table, JSON and plot."""
    kept, plot = tmp_path / "result.json", tmp_path / "plot.html"
    given = ["--smoke", "--json", str(kept), "--plot", str(plot), "--quiet"]

    assert main("connect", given) == 0

    result = Result.from_json(kept.read_bytes())
    assert result.scenario == "connect"
    assert result.parameters["connections"] == 40
    assert "<svg" in plot.read_text()
    assert "connects/s" in capsys.readouterr().out


def test_what_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    """Not after an hour of measuring."""
    with pytest.raises(BenchError, match="there is no such folder"):
        main("connect", ["--json", str(tmp_path / "nowhere" / "x.json")])


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("connect", ["--connections", "0"], "--connections"),
        ("fanout", ["--size", "3"], "--size must be 25 or more"),
        ("fanout", ["--rates", "0"], "--rates"),
        ("ingest", ["--no-rates", "--no-flood"], "nothing to do"),
        ("latency", ["--devices", "0"], "--devices"),
        ("connect", ["--rate", "-1"], "--rate"),
        ("connect", ["--rate", "nan"], "--rate is nan"),
        ("fanout", ["--seconds", "inf"], "--seconds is inf"),
        ("fanout", ["--limit", "-1"], "--limit is -1"),
        ("soak", ["--publications", "-1"], "--publications"),
        ("connect", ["--processes", "0"], "--processes"),
        ("connect", ["--connections", "9000000", "--processes", "1"], "open files"),
        ("connect", ["--nodes", "0"], "--nodes"),
        ("connect", ["--url", "nonsense"], "--url is 'nonsense'"),
        ("nonsense", [], "there are connect, fanout"),
    ],
)
def test_wrong_options_are_named(name: str, arguments: list[str], words: str) -> None:
    """With what would be right."""
    with pytest.raises(BenchError, match=words):
        main(name, arguments)


@pytest.mark.parametrize("name", SCENARIOS)
def test_help_teaches(name: str) -> None:
    """It begins with the question, and has examples."""
    text = parser_of(name).format_help()

    assert "Question:" in text
    assert "examples:" in text
    assert f"realtime bench {name}" in text
    assert "PROGRAM" not in text


def test_it_is_a_command() -> None:
    """And prints the configuration that a server needs."""
    command = [sys.executable, "-m", "realtime", "bench", "config"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "[counters.bench]" in done.stdout
    assert "[namespaces.bench]" in done.stdout


@pytest.mark.parametrize("rates", ["nan", "inf", "1,inf"])
def test_rates_are_numbers(rates: str, capsys: pytest.CaptureFixture[str]) -> None:
    """There is no schedule for others."""
    with pytest.raises(SystemExit):
        parser_of("fanout").parse_args(["--rates", rates])

    assert "no number" in capsys.readouterr().err


def test_secrets_are_not_kept() -> None:
    """Neither as parameters nor under an abbreviation of their names."""
    given = ["--token", "T", "--api-key", "K", "--redis", "redis://u:P@host:1/0"]
    kept = parameters_of(parser_of("soak").parse_args(given))

    assert kept["token"] == kept["api_key"] == "..."
    assert kept["redis"] == "redis://...@host:1/0"
    with pytest.raises(SystemExit):
        parser_of("soak").parse_args(["--api", "K"])


def test_a_server_without_the_counter_is_told() -> None:
    """Events that nothing counts cost less."""
    with serving("") as [node]:
        given = ["--url", node.url, "--secret", SECRET, "--quiet", "--devices", "3"]
        given += ["--seconds", "0.2", "--no-flood", "--rates", "50"]
        given += ["--batches", "1", "--processes", "1"]
        result = ingest.run(parser_of("ingest").parse_args(given))

    assert any("there is no counter 'bench'" in one for one in result.warnings)


def test_a_soak_that_nobody_joins_ends() -> None:
    """Not after eight hours."""
    with pytest.raises(BenchError, match="Connection refused"):
        main("soak", ["--url", "ws://127.0.0.1:1", "--quiet", "--processes", "1"])


def test_few_reasons_are_told() -> None:
    """The most frequent ones; the others are counted."""
    why = {f"gap: {letter}": times for times, letter in enumerate("abcdefghijkl", 1)}
    said = failures_of(why, "failures")

    assert said[0] == "12 failures: gap: l"
    assert said[-1] == "10 failures, for 4 other reasons"
    assert len(said) == 9


def test_reasons_that_differ_in_names_are_one() -> None:
    """One example stands for all channels; codes are kept apart."""
    why = {f"unknown_channel: no namespace bench:a-{at}": 1 for at in range(30)}
    why |= {"closed with 4990: full": 2, "closed with 4991: full": 1}
    said = failures_of(why, "connections failed")

    assert said[0].startswith(
        "30 connections failed, such as: unknown_channel: no namespace bench:a-0 ["
    )
    assert said[1:] == [
        "2 connections failed: closed with 4990: full",
        "1 connection failed: closed with 4991: full",
    ]
