"""A bar for the person who waits: on standard error, and only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)


class Step:
    """One line of the display: what is being done, and how far it is."""

    def __init__(self, bars: Progress | None, what: str, total: float) -> None:
        self._bars = bars
        self._task = bars.add_task(what, total=total) if bars else None

    def __call__(self, done: float, what: str | None = None) -> None:
        """Say how much is done, and perhaps what is being done now."""
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=done)
            if what is not None:
                self._bars.update(self._task, description=what)


class Display:
    """
    Shows progress. Without a terminal, or when told to be quiet, it shows nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._bars: Progress | None = None
        self._quiet = quiet
        if not quiet and sys.stderr.isatty():
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )

    @contextmanager
    def step(self, what: str, total: float) -> Iterator[Step]:
        """Show a bar of *total* while the block runs."""
        if self._bars is not None and not self._bars.live.is_started:
            self._bars.start()
        step = Step(self._bars, what, total)
        try:
            yield step
        finally:
            if self._bars is not None and step._task is not None:
                self._bars.remove_task(step._task)

    def say(self, text: str) -> None:
        """Say a sentence, above the bars."""
        if self._bars is not None and self._bars.live.is_started:
            self._bars.console.print(text, highlight=False, markup=False)
        elif not self._quiet:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bars away."""
        if self._bars is not None:
            self._bars.stop()
