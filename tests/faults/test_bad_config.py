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


def check_mistakes(path: Path, code: int, out: str, err: str) -> None:
    """Each mistake has a line of its own; secrets are not among the words."""
    assert (code, out) == (2, "")
    for sentence in SENTENCES:
        assert sentence in err
    for line in err.splitlines():
        assert line.startswith(f"realtime: {path}"), line
    assert PAYLOAD not in err


def test_nothing_is_served_with_mistakes(tmp_path: Path) -> None:
    """Every mistake is named by file, line and key, on standard error."""
    path = write_config(tmp_path, MISTAKES)
    command = [sys.executable, "-m", "realtime", "serve", "--config", str(path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)

    check_mistakes(path, run.returncode, run.stdout, run.stderr)


def test_check_names_every_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the same words."""
    path = write_config(tmp_path, MISTAKES)
    code = main(["check", "--config", str(path)])

    check_mistakes(path, code, *capsys.readouterr())


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
