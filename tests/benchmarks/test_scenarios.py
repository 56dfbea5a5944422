"""The scenarios of the kit that are programs here, too, in a small size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from realtime.bench.result import Result

ROOT = Path(__file__).parents[2]
LIMIT_S = 180
NAMES = ["recovery", "scale", "soak"]

pytestmark = pytest.mark.slow


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, which is not far."""
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_small_run_has_a_table_a_result_and_a_plot(name: str, tmp_path: Path) -> None:
    """It ends well and writes what it was asked for."""
    file, plot = tmp_path / "result.json", tmp_path / "plot.html"
    done = run(name, "--smoke", "--json", str(file), "--plot", str(plot))

    assert done.returncode == 0, done.stderr
    result = Result.from_json(file.read_bytes())
    assert result.scenario == name
    assert result.rows
    assert done.stdout.startswith(result.table()[0][0])
    assert "<svg" in plot.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_its_help_teaches(name: str) -> None:
    """Help tells the question, the method and examples that can be copied."""
    text = run(name, "--help").stdout

    assert "Question:" in text
    assert "Method:" in text
    assert f"python benchmarks/{name}.py" in text
