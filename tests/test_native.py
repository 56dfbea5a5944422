"""The parts in C are chosen by what was built and by the environment, and told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from realtime import native


def used(**environment: str) -> str:
    """Ask a new process whether it uses the native parts."""
    program = "from realtime import native; print(native.used())"
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_every_part_has_a_source_and_every_source_is_a_part() -> None:
    """What is built is what is looked for."""
    folder = Path(native.__file__).parent
    assert sorted(path.stem for path in folder.glob("*.c")) == list(native.PARTS)


def test_the_environment_leaves_them_out() -> None:
    """With REALTIME_PURE=1, the twins in Python do the work."""
    assert used(REALTIME_PURE="1") == "False"
    everything = all(native.built(part, "__name__") for part in native.PARTS)
    assert used(REALTIME_PURE="") == str(everything)


def test_a_part_that_was_not_built_is_none() -> None:
    """Nobody need know why."""
    assert native.built("nothing", "like_it") is None
    assert native.find("nothing", "like_it") is None


def test_what_is_pure_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was built is not used then."""
    monkeypatch.setattr(native, "PURE", True)
    assert native.find("usual", "count") is None
    assert not native.used()
