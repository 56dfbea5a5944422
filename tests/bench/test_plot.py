"""Plots are written, and have in them what was measured."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from realtime.bench.errors import BenchError
from realtime.bench.plot import about, check_format, draw
from realtime.bench.result import Result, Series

POINTS = ((10.0, 1.5), (100.0, 4.0), (1000.0, 80.0))
LATENCY = [
    Series("Latency", "p50", "publications/s", "ms", POINTS, log=True),
    Series("Latency", "p99 <b>", "publications/s", "ms", POINTS, log=True),
    Series("Memory", "server", "connections", "MiB", POINTS),
]


def result(series: Sequence[Series]) -> Result:
    """One with these lines."""
    rows = [{"rate": 10.0}]
    return Result("fanout", {"rate": "rate"}, rows, series, warnings=["beware"])


def test_a_page_has_everything_in_it(tmp_path: Path) -> None:
    """Table, warnings, and a plot for each chart; it loads nothing from elsewhere."""
    path = tmp_path / "plot.html"
    draw(result(LATENCY), str(path))
    page = path.read_text()

    assert page.count("<svg") == 2
    assert page.count("<polyline") == 3
    assert "<td>10.0</td>" in page
    assert "beware" in page
    assert "p99 &lt;b&gt;" in page
    assert not re.search(r"(src|href)=", page)


def test_points_are_inside_the_picture(tmp_path: Path) -> None:
    """Whatever their size."""
    path = tmp_path / "plot.html"
    far = [Series("Far", "a", "x", "ms", ((0.0, 1e-3), (1e9, 1e7)), log=True)]
    draw(result([*LATENCY, *far]), str(path))

    circles = re.findall(r'cx="([\d.-]+)" cy="([\d.-]+)"', path.read_text())

    assert len(circles) == 11
    assert all(0 <= float(x) <= 760 and 0 <= float(y) <= 380 for x, y in circles)


def test_one_point_is_enough(tmp_path: Path) -> None:
    """A run that was stopped early may have no more, and all zero at that."""
    path = tmp_path / "plot.html"
    draw(result([Series("Memory", "server", "x", "MiB", ((0.0, 0.0),))]), str(path))

    assert path.read_text().count("<circle") == 1


@pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="needs the extra bench"
)
def test_a_picture_is_drawn(tmp_path: Path) -> None:
    """It is a PNG, and not an empty one."""
    path = tmp_path / "plot.png"
    draw(result(LATENCY), str(path))
    data = path.read_bytes()

    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(data) > 10_000


def test_a_title_tells_what_was_run() -> None:
    """The main parameters, and nothing that is secret."""
    given = {"connections": 500, "rates": [10.0, 2.5], "secret": "...", "limit": 9}
    title = about(replace(result(LATENCY), parameters=given))

    assert title.endswith(": connections 500, rates 10/2.5")
    assert about(replace(result(LATENCY), scenario="x", parameters={})) == "x"


def test_pictures_without_matplotlib_name_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the way out, before anything is measured."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(BenchError, match=r"'\.\[bench\]'.*FILE.html needs nothing"):
        check_format("plot.png")


def test_other_formats_are_refused() -> None:
    """With those that there are."""
    with pytest.raises(BenchError, match=r"must end in \.html or \.png"):
        check_format("plot.pdf")


def test_nothing_cannot_be_drawn(tmp_path: Path) -> None:
    """Of values that are not there, no picture is made."""
    empty = [Series("Latency", "p50", "x", "ms", ((1.0, float("nan")),))]

    with pytest.raises(BenchError, match="too little to draw"):
        draw(result(empty), str(tmp_path / "plot.html"))


def test_a_picture_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """With the option."""
    with pytest.raises(BenchError, match=r"--plot .* cannot be written"):
        draw(result(LATENCY), str(tmp_path / "nowhere" / "plot.html"))
