"""What the page of the demonstration is told."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from realtime.config import load
from realtime.core.naming import parse_live
from realtime.demo import CONFIG, command_name, page


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in a folder with a space, whose command is not on the PATH."""
    folder = tmp_path / "my app" / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "realtime"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path / "my app")
    return folder


def test_a_command_below_the_working_folder_is_relative(environment: Path) -> None:
    """After `make run`, the command is .venv/bin/realtime."""
    assert command_name() == ".venv/bin/realtime"


def test_a_command_on_the_path_is_its_name(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an active environment, the command is just realtime."""
    monkeypatch.setenv("PATH", str(environment))
    assert command_name() == "realtime"


def test_a_command_elsewhere_is_quoted(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another folder it is the whole path, as a shell reads it."""
    other = environment.parents[2] / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    assert shlex.split(command_name()) == [str(environment / "realtime")]


def test_without_a_script_python_runs_the_package(environment: Path) -> None:
    """Where only Python is there, it runs the module."""
    (environment / "realtime").unlink()
    words = shlex.split(command_name())
    assert words == [str(environment / "python"), "-m", "realtime"]


def test_everything_shown_is_counted() -> None:
    """Each channel and list of the page is one of the demonstration's counters."""
    counters = load(str(CONFIG), {}, {}).counters
    described = json.loads(json.dumps(page()))
    for shown in [*described["channels"], described["command"]]:
        assert parse_live(shown["channel"], counters).channel == shown["channel"]
    for shown in described["lists"]:
        counter = counters.get(shown["counter"])
        assert counter is not None
        assert counter.by == (shown["by"],)
        assert shown["window"] in [window.text for window in counter.windows]
