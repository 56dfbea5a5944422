"""Whole nodes for tests: of a configuration given as text, on a clock of the test's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from realtime.app import Options, running_node
from realtime.config import Config, load
from realtime.engine.node import Node
from realtime.testing.clock import ManualClock


def config_of(text: str, overrides: Mapping[str, object] | None = None) -> Config:
    """
    Load a configuration that is given as the text of a ``realtime.toml``.

    Raises:
        ConfigErrors: If it is wrong.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "realtime.toml"
        path.write_text(text, "utf-8")
        return load(str(path), {}, overrides or {})


@asynccontextmanager
async def memory_node(
    text: str, clock: ManualClock | None = None
) -> AsyncIterator[tuple[Node, ManualClock]]:
    """Run a node in memory; its time passes only when the test moves the clock."""
    manual = clock or ManualClock()
    async with running_node(config_of(text), Options(clock=manual)) as node:
        yield node, manual
