"""Three nodes on one Valkey that forgets nothing, and the hand that kills them."""

from __future__ import annotations

import asyncio
import threading
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from realtime.testing.processes import NodeProcess
from realtime.testing.servers import ValkeyServer

CONFIG = """
[auth]
anonymous = true

[events]
track = "anyone"
max_age = "90d"

[limits]
hello_timeout = "30s"

[ledger]
tick = "50ms"
shards = {shards}

[logs]
level = "warning"
"""


class Cluster:
    """``nodes`` serve the counters given; ``valkey`` fsyncs every write."""

    def __init__(
        self,
        folder: Path,
        counters: dict[str, dict[str, Any]],
        nodes: int = 3,
        shards: int = 1,
    ) -> None:
        self.valkey = ValkeyServer(appendonly=True, fsync="always")
        self.config = folder / "realtime.toml"
        text = CONFIG.format(shards=shards)
        text += "".join(_section(name, rest) for name, rest in counters.items())
        tomllib.loads(text)
        self.config.write_text(text, "utf-8")
        self._folder = folder
        self._count = nodes
        self.nodes: list[NodeProcess] = []

    def __enter__(self) -> Self:
        self.valkey.start()
        arguments = ["--config", str(self.config), "--redis", self.valkey.url]
        for index in range(self._count):
            log = self._folder / f"node-{index}.log"
            self.nodes.append(NodeProcess(arguments, log).start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for node in self.nodes:
            node.kill()
        self.valkey.close()


def _section(name: str, counter: dict[str, Any]) -> str:
    lines = [f"\n[counters.{name}]"]
    for key, value in counter.items():
        if isinstance(value, dict):
            pairs = ", ".join(f"{k} = {v}" for k, v in value.items())
            lines.append(f"{key} = {{ {pairs} }}")
        else:
            lines.append(f"{key} = {value!r}".replace("'", '"'))
    return "\n".join(lines) + "\n"


@dataclass(slots=True)
class Chaos:
    """
    Kills as the work gets on: a node each time another share of the events is done,
    and Valkey once, in the middle. ``progress`` says how much is done, from 0 to 1.
    """

    cluster: Cluster
    progress: Callable[[], float]
    node_kills: int
    random: Random
    killed_nodes: int = 0
    killed_valkey: int = 0
    _busy: threading.Lock = field(default_factory=threading.Lock)

    async def run(self) -> None:
        """Kill until everything planned has been killed."""
        for number in range(self.node_kills):
            await self._until((number + 1) / (self.node_kills + 2))
            if number == self.node_kills // 2:
                await asyncio.to_thread(self._kill_valkey)
            await asyncio.to_thread(self._kill_node)

    async def _until(self, share: float) -> None:
        while self.progress() < share:
            await asyncio.sleep(0.02)

    def _kill_node(self) -> None:
        node = self.random.choice(self.cluster.nodes)
        node.kill()
        node.start()
        self.killed_nodes += 1

    def _kill_valkey(self) -> None:
        self.cluster.valkey.kill()
        self.cluster.valkey.restart()
        self.killed_valkey += 1
