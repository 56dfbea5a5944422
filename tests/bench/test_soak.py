"""What soak makes of its samples."""

from __future__ import annotations

import pytest

from realtime.bench.gauges import Costs, costs_of, parse
from realtime.bench.residents import Window
from realtime.bench.soak import Sample, _doubts, _rows, _trends

PAGE = """\
# HELP realtime_connections Open WebSockets.
# TYPE realtime_connections gauge
realtime_connections 12.0
# HELP realtime_errors_total Errors.
# TYPE realtime_errors_total counter
realtime_errors_total{name="internal"} 3.0
# HELP process_resident_memory_bytes Memory.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1.048576e+08
"""


def sampled(kib: list[int], errors: int = 0) -> list[Sample]:
    """Return samples of memory, one a second."""
    samples = []
    for at, value in enumerate(kib):
        window = Window(came=2, inside=10)
        window.errors.update({"slow_down: too much": errors} if errors else {})
        costs = Costs(value, value + 1000, 30, at * 50_000.0)
        gauges = {"realtime_connections": 10.0}
        samples.append(Sample(float(at), window, 1.0, 0.1, costs, gauges))
    return samples


def test_gauges_are_read_from_metrics() -> None:
    """Those that are watched, and nothing else."""
    assert parse(PAGE) == {
        "realtime_connections": 12.0,
        "process_resident_memory_bytes": 104857600.0,
    }


def test_what_is_no_page_of_metrics_is_refused() -> None:
    """For instance the answer of a proxy that wants a password."""
    with pytest.raises(ValueError, match=r".*"):
        parse("<html>please sign in</html> {")


def test_processes_that_are_not_there_have_no_costs() -> None:
    """Neither a target elsewhere nor one that has ended."""
    assert costs_of([]) is None
    assert costs_of([2**22 + 1]) is None


def test_there_is_a_row_for_each_tenth() -> None:
    """Rates are of the seconds between, and processor time is a share of a core."""
    rows = list(_rows(sampled([50_000] * 100)))

    assert len(rows) == 10
    assert rows[-1]["until"] == "0:01:39"
    assert rows[-1]["came_per_s"] == pytest.approx(2.0)
    assert rows[-1]["cpu"] == "5%"
    assert rows[-1]["private_mib"] == pytest.approx(50_000 / 1024)


def test_steady_memory_is_told_in_words() -> None:
    """There is a trend for each thing that may leak, and no warning."""
    samples = sampled([50_000] * 100)
    rows = list(_trends(samples, 30.0))
    named = {row["until"]: row["verdict"] for row in rows}

    assert named["memory"] == "no leak is seen, +0 KiB/hour (95 %: +0 to +0)"
    assert "open files" in named
    assert "realtime_connections" in named
    assert _doubts(samples, rows) == []


def test_a_leak_is_a_warning() -> None:
    """With the kibibytes an hour."""
    samples = sampled([50_000 + 100 * at for at in range(100)])
    rows = list(_trends(samples, 30.0))
    [warning] = _doubts(samples, rows)

    assert warning == (
        "memory: a leak is likely; it grows and does not stop, +360,000 KiB/hour "
        "(95 %: +360,000 to +360,000)"
    )


def test_errors_are_added_up() -> None:
    """By their reasons, with what to do about them."""
    samples = sampled([50_000] * 20, errors=1)

    assert _doubts(samples, [])[0].startswith("20 times: slow_down: too much")
