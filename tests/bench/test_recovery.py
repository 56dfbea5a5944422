"""Clients that are cut off and come back, against real servers."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from realtime.bench import program, recovery
from realtime.bench.cuts import Step
from realtime.bench.local import SECRET, serving
from realtime.bench.result import Result

pytestmark = pytest.mark.slow

SHORT = """
[namespaces.bench_history]
history_size = 2
history_ttl = "10m"
"""


def run(*arguments: str) -> Result:
    """Run the scenario in a small size."""
    given = ["--processes", "1", "--quiet", "--subscribers", "8", "--cuts", "1"]
    given += ["--up", "0.3", "--downs", "0.5", "--rate", "40", *arguments]
    return recovery.run(program.parser_of("recovery").parse_args(given))


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_whoever_comes_back_gets_everything(codec: str) -> None:
    """With a history that is long enough, nothing is lost, doubled or out of order."""
    [row] = run("--codec", codec).rows

    assert row["cuts"] == row["recovered"] == 8
    assert row["expected"] == row["delivered"]
    assert row["expected"] == 8 * 16  # of 40 a second for 1.6 s, 64, in 4 channels
    assert (row["doubled"], row["disordered"]) == (0, 0)
    assert (row["told_lost"], row["missing"]) == (0, 0)


def test_losses_are_told_apart() -> None:
    """With a history that is too short, the server says so, and nothing is missing."""
    with serving(SHORT) as [node]:
        result = run("--url", node.url, "--secret", SECRET, "--reset", "--together")
    [row] = result.rows

    assert row["unrecovered"] == 8
    assert isinstance(row["told_lost"], int)
    assert row["told_lost"] > 0
    assert row["missing"] == 0
    assert any("did not reach back" in warning for warning in result.warnings)


def test_a_namespace_without_history_loses_what_was_missed() -> None:
    """There is no position; the loss counts as told, for nothing was promised."""
    with serving("[namespaces.bench_history]\n") as [node]:
        [row] = run("--url", node.url, "--secret", SECRET).rows

    assert isinstance(row["told_lost"], int)
    assert row["told_lost"] > 0
    assert row["missing"] == 0


@pytest.mark.parametrize("together", [True, False])
def test_cuts_leave_time_to_come_back(together: bool) -> None:
    """Two cuts of a client are apart by a whole cycle, wherever the first one is."""
    step = Step(100.0, 10.0, 100, cuts=3, down_s=2.0, up_s=1.0, together=together)
    for number in random.Random(1).sample(range(10_000), 20):
        times = list(step.cut_times(number))

        assert [b - a for a, b in pairwise(times)] == pytest.approx([3.0, 3.0])
        assert 100.0 <= times[0] <= 103.0


def test_a_publication_is_known_by_when_it_was_due() -> None:
    """Also after the cut to microseconds; others are of another measurement."""
    step = Step(1234.56789, 30.0, 90)

    for index in range(90):
        assert step.index(int(step.due(index) * 1e6) / 1e6) == index
    assert step.index(step.due(-1)) is None
    assert step.index(step.due(90)) is None
