"""What ``make`` says and does at the first step."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(*args: str) -> str:
    """What ``make`` prints."""
    done = subprocess.run(
        ["make", *args], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_help_says_how_to_choose_the_port() -> None:
    """Port 8080 is often taken: the line of ``run`` names the way out."""
    (line,) = (line for line in make("help").splitlines() if line.startswith("  run "))
    assert "PORT=" in line


def test_run_leaves_the_address_to_the_server() -> None:
    """Only the server knows when it can be opened, so only the server prints it."""
    told = make("-n", "run", "PORT=8099")
    assert "--port 8099" in told
    assert "http://" not in told
