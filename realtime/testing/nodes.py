"""Whole nodes for tests: of a configuration given as text, on a clock of the test's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from realtime.adapters import build
from realtime.adapters.blocks.memory import MemoryBlocks, Shelf
from realtime.adapters.broker.memory import Bus, MemoryBroker
from realtime.adapters.build import Adapters
from realtime.adapters.presence import memory as presence
from realtime.adapters.registry import memory as registry
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


class SharedMemory:
    """
    What nodes in one process have in common: all but the ledger, of which each has its
    own. A test may break it: ``shelf.lose()``, ``bus.brokers``.
    """

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.bus = Bus()
        self.reports = registry.Board(clock.monotonic)
        self.rooms = presence.Board(clock.monotonic)
        self.shelf = Shelf(clock.monotonic)

    async def open(self, *arguments: Any) -> Adapters:
        """Take the place of ``open_adapters``."""
        adapters = await build.open_adapters(*arguments)
        node = arguments[3]
        return replace(
            adapters,
            broker=MemoryBroker(self.bus, self.clock),
            registry=registry.MemoryRegistry(self.reports),
            presence=presence.MemoryPresence(node, self.rooms),
            blocks=MemoryBlocks(self.shelf),
        )

    @asynccontextmanager
    async def node(self, text: str) -> AsyncIterator[Node]:
        """Run one more node."""
        with mock.patch("realtime.app.open_adapters", self.open):
            running = running_node(config_of(text), Options(clock=self.clock))
            node = await running.__aenter__()
        try:
            yield node
        finally:
            await running.__aexit__(None, None, None)


@asynccontextmanager
async def memory_nodes(
    text: str, count: int, clock: ManualClock | None = None
) -> AsyncIterator[tuple[Sequence[Node], SharedMemory]]:
    """Run several nodes of one configuration that share everything but the ledger."""
    shared = SharedMemory(clock or ManualClock())
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(shared.node(text)) for _ in range(count)
        ]
        await shared.clock.elapse(1)  # so that each has reported, and is known
        yield nodes, shared
