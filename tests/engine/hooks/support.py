"""Nodes with hooks, and waiting for what happens in other threads."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from realtime.app import Options, running_node
from realtime.config import load
from realtime.engine.node import Node
from realtime.testing.client import MemoryClient
from realtime.testing.clock import ManualClock
from tests.engine.support import CONFIG, TICK_S

PATIENCE_S = 20.0


async def until(happened: Callable[[], Any], what: str = "it") -> Any:
    """Wait until *happened* says something, which is returned."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := happened()):
        assert time.monotonic() < deadline, f"{what} has not happened"
        await asyncio.sleep(0.002)
    return found


class Answers:
    """A client whose answers are awaited, since they come from another thread."""

    def __init__(self, node: Node) -> None:
        self.client = MemoryClient(node)
        self._heard: list[dict[str, Any]] = []

    async def say(self, type: str, **fields: Any) -> dict[str, Any]:
        """Send one message and return the first one that comes after it."""
        await self.send(type, **fields)
        return await self.hear()

    async def send(self, type: str, **fields: Any) -> None:
        """Send one message."""
        self._heard += await self.client.say(type, **fields)

    async def hear(self, clock: ManualClock | None = None) -> dict[str, Any]:
        """Return the next message; *clock* ticks until it comes."""

        async def heard() -> bool:
            if clock is not None:
                await clock.elapse(TICK_S)
            self._heard += self.client.take()
            return bool(self._heard)

        deadline = time.monotonic() + PATIENCE_S
        while not await heard():
            assert time.monotonic() < deadline, "no answer has come"
            await asyncio.sleep(0.002)
        return self._heard.pop(0)


@asynccontextmanager
async def hooked(
    folder: Path, source: str, more: str = "", config: str = CONFIG
) -> AsyncIterator[tuple[Node, ManualClock, ModuleType]]:
    """Run a node whose hooks are *source*; the last value is that module."""
    name = f"hooks_of_{folder.name}"
    (folder / f"{name}.py").write_text(source, "utf-8")
    path = folder / "realtime.toml"
    path.write_text(f'{config}\n[hooks]\nmodule = "{name}"\n{more}\n', "utf-8")
    clock = ManualClock(1_700_000_000.04, 1000.04)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        settings = load(str(path), {}, {})
        try:
            async with running_node(settings, Options(clock=clock)) as node:
                yield node, clock, sys.modules[name]
        finally:
            sys.modules.pop(name, None)
