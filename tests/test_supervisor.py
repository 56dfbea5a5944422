"""What a supervisor does with workers that do not do what they are told."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence

import pytest
from structlog.testing import capture_logs

from realtime.workers import Supervisor

DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("serving", flush=True)
time.sleep(60)
"""

SLOW = """
import signal, sys, time
asked = []
def ask(*_):
    asked.append(1)
    if len(asked) == 2:
        sys.exit(0)
signal.signal(signal.SIGTERM, ask)
print("serving", flush=True)
while True:
    time.sleep(0.01)
"""

USUAL = """
import signal, sys
print("serving", flush=True)
signal.sigwait([signal.SIGTERM])
"""


def command(script: str) -> Callable[[int], Sequence[str]]:
    """Start every worker with this script."""
    return lambda index: ("-c", script)


def supervise(
    script: str, signals: Sequence[float], stop_s: float
) -> tuple[int, float]:
    """
    Run one worker and stop it; return the exit code and how long stopping took.

    *signals* are the delays after the start at which SIGTERM comes.
    """
    begun: list[float] = []

    async def run() -> int:
        loop = asyncio.get_running_loop()

        def started() -> None:
            begun.append(time.monotonic())
            for delay_s in signals:
                loop.call_later(delay_s, os.kill, os.getpid(), signal.SIGTERM)

        return await Supervisor(command(script), 1, started, stop_s).run()

    code = asyncio.run(run())
    return code, time.monotonic() - begun[0]


def test_a_worker_that_does_not_stop_is_killed() -> None:
    """After the time it was given, and the log says so."""
    with capture_logs() as logs:
        code, took_s = supervise(DEAF, [0.0], stop_s=0.3)

    assert code == 0
    assert 0.3 <= took_s < 10
    assert "workers_killed" in [line["event"] for line in logs]


@pytest.mark.parametrize("script", [SLOW, USUAL])
def test_a_second_signal_is_passed_on(script: str) -> None:
    """Who takes his time is told that there is a hurry; others have gone by then."""
    code, took_s = supervise(script, [0.0, 0.3], stop_s=30)

    assert code == 0
    assert took_s < 10
