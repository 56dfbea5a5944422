"""A configuration that is wrong: one sentence for each mistake, and exit code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from realtime.cli import main
from tests.faults.support import PATIENCE_S, PAYLOAD, write_config

MISTAKES = f"""
[server]
prot = 8080
host = 7

[limits]
max_frame = "much"
max_errors = -1

[auth]
hmac_secret = "{PAYLOAD}"
hmac_secret_file = "also"

[counters.likes]
evnt = "like"
measure = "count"

[counters.sales]
event = "sale"
measure = "average"

[conters.views]
event = "view"
"""

SENTENCES = (
    "line 3: server.prot: there is no such setting; did you mean port?",
    "line 4: server.host: ",
    "line 7: limits.max_frame: ",
    "line 8: limits.max_errors: ",
    "counters.likes.evnt: there is no such key; did you mean 'event'?",
    "counters.sales.measure: ",
    "conters: ",
)


def realtime(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "realtime", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


@pytest.mark.parametrize("command", ["check", "serve"])
def test_every_mistake_is_named_by_file_line_and_key(
    tmp_path: Path, command: str
) -> None:
    """All of them at once, on standard error, and nothing is started."""
    path = write_config(tmp_path, MISTAKES)
    run = realtime(command, "--config", path)

    assert run.returncode == 2
    assert run.stdout == ""
    for sentence in SENTENCES:
        assert sentence in run.stderr
    for line in run.stderr.splitlines():
        assert line.startswith(f"realtime: {path}"), line
    assert PAYLOAD not in run.stderr


@pytest.mark.parametrize(
    ("text", "line"),
    [("[server\nport = 1", 1), ("[server]\nport = 1\nport = 2", 3), ("\x00\xff", 1)],
)
def test_what_is_no_toml_is_named_by_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, line: int
) -> None:
    """A file that cannot be read at all is told where it is wrong."""
    path = write_config(tmp_path, text)

    assert main(["check", "--config", str(path)]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"realtime: {path}, line {line}: not valid TOML: ")
    assert said.out == ""


def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A path that was given must lead somewhere."""
    path = tmp_path / "nowhere.toml"

    assert main(["serve", "--config", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"realtime: {path}: cannot be read: ")
