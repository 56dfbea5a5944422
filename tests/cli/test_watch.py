"""What ``realtime watch`` draws on a terminal."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from realtime.cli import watch


def test_the_age_of_a_value_grows_while_nothing_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Drawn again, the same value is older; the terminal is drawn every second."""
    now = 100.0
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: now))
    console = Console(file=io.StringIO(), width=80)
    live = watch._live(console, {"live:likes": ({"value": 7}, 100.0, 1)})

    def drawn() -> str:
        with console.capture() as capture:
            console.print(live.get_renderable())
        return capture.get()

    first = drawn()
    now = 105.0

    assert "0s ago" in first
    assert "5s ago" in drawn()
    assert (live.auto_refresh, live.refresh_per_second) == (True, 1)


def test_nothing_is_drawn_before_the_first_value() -> None:
    """A server that cannot be reached leaves its one line of error, and no table."""
    assert watch._live(Console(file=io.StringIO()), {}).get_renderable() == ""
