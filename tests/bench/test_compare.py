"""What compare tells of servers that cannot be measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from realtime.bench import compare, program
from realtime.bench.dialects.plain import Plain
from realtime.bench.errors import BenchError
from realtime.bench.histogram import Histogram
from realtime.bench.peers.catalogue import Peer, Surroundings
from realtime.bench.peers.launch import Command, running
from realtime.bench.peers.table import Measured, ratios
from realtime.bench.result import Result
from realtime.bench.target import Target


def peer(name: str, version: str | None) -> Peer:
    """Return a peer that is there in a version, and does not start."""

    @contextmanager
    def serve(where: Surroundings) -> Iterator[Target]:
        raise BenchError("it does not listen")
        yield Target(())

    return Peer(
        name, False, lambda where: Plain(), lambda where: version, "get it", serve
    )


def run(*arguments: str) -> Result:
    """Run the scenario."""
    options = program.parser_of("compare").parse_args(["--quiet", *arguments])
    return compare.run(options)


def test_who_cannot_run_has_a_row_that_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither is left out, and neither ends the comparison."""
    broken, missing = peer("broken", "1.0"), peer("missing", None)
    monkeypatch.setattr(compare, "PEERS", (broken, missing))
    result = run("--turns", "2")
    first, second = result.rows

    assert first["server"] == "broken"
    assert first["version"] == "1.0"
    assert first["note"] == "failed, see the warning"
    assert result.warnings == ("broken failed: it does not listen",)
    assert second["note"] == "not installed: get it"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--url", "ws://127.0.0.1:1"], "starts its servers itself"),
        (["--nodes", "2"], "starts its servers itself"),
        (["--watchers", "0"], "--watchers is 0"),
        (["--watchers", "50", "--subscribers", "50"], "--watchers is 50"),
        (["--rounds", "0"], "--rounds is 0"),
    ],
)
def test_wrong_options_are_refused(arguments: list[str], words: str) -> None:
    """With the option and what would be right."""
    with pytest.raises(BenchError, match=words):
        run(*arguments)


def test_ratios_are_theirs_over_ours() -> None:
    """Where both were measured."""
    ours = {"frame_us": 10.0, "connect_us": 100.0}

    assert ratios({"frame_us": 25.0, "idle_kib": 5.0}, ours) == {"frame_ratio": 2.5}


def test_a_server_that_ends_at_once_is_an_error_with_its_last_words() -> None:
    """Nobody waits for a port on which nobody will listen."""
    words = Command(["sh", "-c", "echo no such library >&2; exit 3"])

    with (
        pytest.raises(BenchError, match="no such library"),
        running(words, 1),
    ):
        raise AssertionError("it runs")


def test_nobody_is_compared_with_ours_of_another_deployment() -> None:
    """When ours does not run with Redis, there is no ratio to ours alone."""
    options = program.parser_of("compare").parse_args(["--quiet"])
    alone, joined = peer("realtime", "1"), replace(peer("realtime", "1"), redis=True)
    theirs = replace(peer("other", "1"), redis=True)
    measured = Measured({"frame_us": 10.0}, Histogram(), Histogram(), ())
    found = {alone.title: [measured], joined.title: [], theirs.title: [measured]}
    peers = (alone, joined, theirs)
    with program.opened(options, "compare", Target(())) as bench:
        result = compare._result(
            bench,
            peers,
            {one.title: "1" for one in peers},
            found,
            {joined.title: "it does not listen"},
        )
    first, _, last = result.rows

    assert first["frame_ratio"] == 1.0
    assert "frame_ratio" not in last
