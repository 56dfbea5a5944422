"""The command line as a whole: help that teaches, one-line errors, exit codes."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import pytest

from realtime import __version__, cli
from realtime.errors import ConfigError, RealtimeError


def run(*args: str, **kwargs) -> subprocess.CompletedProcess[str]:
    """Run ``python -m realtime`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "realtime", *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **kwargs,
    )


def test_the_version_is_told():
    """On standard output, with exit code 0."""
    told = run("--version")
    assert (told.returncode, told.stdout) == (0, f"realtime {__version__}\n")


def test_help_names_every_command_and_shows_examples(capsys):
    """Whoever knows nothing finds the first step."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    for name in cli.COMMANDS:
        assert f"\n    {name} " in text


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_teaches_by_examples(name, capsys):
    """Its help ends with command lines that can be copied."""
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"realtime {name}" in text.partition("examples:")[2]


def test_a_command_is_told_alike_by_itself_and_among_all(capsys):
    """What `realtime --help` knows without its module is what the module says."""
    told = cli.new_parser(()).format_help()
    assert told == cli.new_parser().format_help()
    assert all(f" {summary}" in told for summary in cli.COMMANDS.values())


@pytest.mark.parametrize(
    "words", [["--help"], ["token", "--help"], ["nodes", "--help"]]
)
def test_only_the_command_that_is_run_is_imported(words):
    """Most of the server's modules take a second together."""
    script = (
        "import sys; from realtime import cli\n"
        f"try: cli.main({words!r})\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    imported = set(told.stderr.split())
    assert not imported & {"realtime.app", "realtime.cli.serve", "uvicorn"}


def test_wrong_arguments_end_with_code_2(capsys):
    """And a line that says what is wrong."""
    for arguments in ([], ["srve"], ["check", "--nonsense"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 2
        assert "realtime" in capsys.readouterr().err


@pytest.mark.parametrize(
    "raised, code, told",
    [
        (ConfigError("a.b", "is wrong", 3), 2, "realtime: line 3: a.b: is wrong\n"),
        (
            RealtimeError("no answer\nat all"),
            1,
            "realtime: no answer\nrealtime: at all\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_goes_wrong_is_a_line_and_an_exit_code(
    raised, code, told, monkeypatch, capsys
):
    """No traceback: a sentence on standard error."""

    class Failing:
        """A command that fails."""

        @staticmethod
        def add_parser(subparsers) -> None:
            subparsers.add_parser("fail").set_defaults(run=Failing.run)

        @staticmethod
        def run(args: argparse.Namespace) -> int:
            raise raised

    monkeypatch.setattr(cli, "COMMANDS", {"fail": ""})
    monkeypatch.setitem(sys.modules, "realtime.cli.fail", Failing)
    assert cli.main(["fail"]) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", told)


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    """As in `realtime check | head -1`: nothing is said about the closed pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        told = subprocess.run(
            [sys.executable, "-m", "realtime", "check"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "REALTIME_AUTH__ANONYMOUS": "true"},
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert told.stderr == ""
    assert told.returncode == 1
