"""The progress bar, and what is said at the end."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from realtime.cli.replay.rows import Rows

MAX_REASONS = 5


class Progress:
    """Counts what becomes of rows; draws a bar where there is a terminal."""

    def __init__(self, name: str, rows: Rows) -> None:
        self._rows = rows
        self._started = time.monotonic()
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(name, total=rows.total, text="")
        self.counted = 0
        self.skipped = 0
        self.rejected = 0
        self.retries = 0
        self.reasons: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def skip(self) -> None:
        """One row had been counted by an earlier run."""
        self.skipped += 1

    def count(self, counted: int, reasons: list[str]) -> None:
        """A batch was committed; *reasons* says why some of it were rejected."""
        self.counted += counted
        self.rejected += len(reasons)
        for reason in reasons:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        self._bar.update(
            self._task, completed=self._rows.done, text=f"{self._rate():,.0f} events/s"
        )

    def _rate(self) -> float:
        return self.counted / max(time.monotonic() - self._started, 0.001)

    def summary(self) -> str:
        """Say what happened, in a few lines."""
        lines = [f"counted {self.counted:,} events, {self._rate():,.0f} a second"]
        if self.skipped:
            lines.append(f"skipped {self.skipped:,} that were counted before")
        if self.rejected:
            lines.append(f"rejected {self.rejected:,}:")
            worst = sorted(self.reasons.items(), key=lambda item: -item[1])
            lines += [f"  {count:,} x {why}" for why, count in worst[:MAX_REASONS]]
        return "\n".join(lines)
