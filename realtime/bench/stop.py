"""
An end in good order: at Ctrl-C, at SIGTERM, when the terminal is gone or the time over.

The first of them asks everybody to finish, so that what has been measured is still
shown; a second Ctrl-C ends at once (KeyboardInterrupt).
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from types import FrameType

_spawn = multiprocessing.get_context("spawn")

_REASONS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "told to end",
    signal.SIGHUP: "the terminal is gone",
    signal.SIGALRM: "the time is over (--limit)",
}


class Stop:
    """Whether to finish, and why. ``event`` may be handed to other processes."""

    def __init__(self) -> None:
        self.event: Event = _spawn.Event()
        self.reason = ""

    def __bool__(self) -> bool:
        return self.event.is_set()

    def ask(self, reason: str) -> None:
        """Ask everybody to finish."""
        self.reason = self.reason or reason
        self.event.set()

    def wait(self, seconds: float) -> bool:
        """Wait for so long, or until asked to finish; return whether that was so."""
        return self.event.wait(max(seconds, 0.0))


@contextmanager
def stopping(limit_s: int) -> Iterator[Stop]:
    """Turn signals, and an alarm after *limit_s* (0: none), into a ``Stop``."""
    stop = Stop()

    def heed(number: int, frame: FrameType | None) -> None:
        if stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.ask(_REASONS[signal.Signals(number)])

    # With nohup, nobody cares for the terminal.
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    heeded = [one for one in _REASONS if one != signal.SIGHUP or not ignored]
    before = {number: signal.signal(number, heed) for number in heeded}
    signal.alarm(limit_s)
    try:
        yield stop
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)
