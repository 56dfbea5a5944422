"""
What `realtime serve --demo` shows: one week of real earthquakes, replayed in minutes.

The folder holds the events (earthquakes.csv), the counters over them (demo.toml), what
the page shows of them (page.json) and the player that sends them.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent

CONFIG = FOLDER / "demo.toml"
"""The configuration of the demonstration, in the form of any ``realtime.toml``."""

PAGE = FOLDER / "page.json"
"""What ``page`` makes the answer of ``GET /v1/page`` from."""

EVENTS = FOLDER / "earthquakes.csv"
"""The events; their source and columns are told in the folder's README.md."""


def page() -> Mapping[str, object]:
    """
    Return what ``GET /v1/page`` answers (realtime/edges/page/README.md).

    The commands in it work as they stand, in a shell where the server was started.
    """
    text = PAGE.read_text(encoding="utf-8")
    written = json.dumps(command_name())[1:-1]
    described: Mapping[str, object] = json.loads(text.replace("{realtime}", written))
    return described


def command_name() -> str:
    """Return how a shell calls the command ``realtime`` of this very environment."""
    script = Path(sys.executable).with_name("realtime")
    found = shutil.which("realtime")
    if found is not None and Path(found).resolve() == script.resolve():
        return "realtime"
    if not script.exists():
        return f"{shlex.quote(sys.executable)} -m realtime"
    folder = Path.cwd()
    if script.is_relative_to(folder):
        script = script.relative_to(folder)
    return shlex.quote(str(script))
