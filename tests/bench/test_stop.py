"""An end in good order: the whole program, with real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from realtime.bench.program import EXIT_STOPPED
from realtime.bench.stop import stopping

DEADLINE_S = 60.0


def test_an_alarm_asks_to_finish() -> None:
    """With the reason."""
    with stopping(0) as stop:
        os.kill(os.getpid(), signal.SIGALRM)

        assert stop.wait(DEADLINE_S)
        assert stop.reason == "the time is over (--limit)"


def test_the_first_interrupt_asks_and_the_second_ends() -> None:
    """Who presses twice means it."""
    with stopping(0) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(DEADLINE_S)

        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)

    assert stop.reason == "interrupted"


def test_signals_are_given_back() -> None:
    """What follows is not ours to catch."""
    before = signal.getsignal(signal.SIGTERM)
    with stopping(0):
        assert signal.getsignal(signal.SIGTERM) is not before

    assert signal.getsignal(signal.SIGTERM) is before


def test_a_terminal_that_is_gone_asks_to_finish() -> None:
    """Servers in groups of their own would be left behind."""
    with stopping(0) as stop:
        os.kill(os.getpid(), signal.SIGHUP)

        assert stop.wait(DEADLINE_S)
        assert stop.reason == "the terminal is gone"


def test_nohup_is_heeded() -> None:
    """Who ignores the terminal goes on ignoring it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping(0) as stop:
            os.kill(os.getpid(), signal.SIGHUP)

            assert not stop
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_who_is_interrupted_still_prints_what_there_is(tmp_path: Path) -> None:
    """Ctrl-C reaches the whole group: clients and server end, too, in good order."""
    file = tmp_path / "result.json"
    command = [sys.executable, "-m", "realtime", "bench", "connect", "--rate", "20"]
    command += ["--connections", "4000", "--steps", "400", "--processes", "2"]
    process = subprocess.Popen(
        [*command, "--quiet-s", "0", "--json", str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _await_clients(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.wait()

    assert process.returncode == EXIT_STOPPED, err
    assert "stopped: interrupted" in err
    assert "Traceback" not in err
    rows = orjson.loads(file.read_bytes())["rows"]
    assert rows
    assert len(out.splitlines()) == len(rows) + 1


def _await_clients(pid: int) -> None:
    """Wait until the server (one of the children) has some connections."""
    give_up = time.monotonic() + DEADLINE_S
    while time.monotonic() < give_up:
        if _open_sockets(pid) > 60:
            return
        time.sleep(0.05)
    raise AssertionError("no clients")


def _open_sockets(pid: int) -> int:
    """Return how many sockets the children of *pid* have open."""
    found = 0
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in children:
        for file in Path(f"/proc/{child}/fd").glob("*"):
            try:
                found += os.readlink(file).startswith("socket:")
            except OSError:
                continue
    return found
