"""
What `realtime serve --demo` shows: one week of real earthquakes, replayed in minutes.

The folder holds the events (earthquakes.csv), the counters over them (demo.toml), what
the page shows of them (page.json) and the player that sends them.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent

CONFIG = FOLDER / "demo.toml"
"""The configuration of the demonstration, in the form of any ``realtime.toml``."""

PAGE = FOLDER / "page.json"
"""What ``GET /v1/page`` answers (realtime/edges/page/README.md)."""

EVENTS = FOLDER / "earthquakes.csv"
"""The events; their source and columns are told in the folder's README.md."""
