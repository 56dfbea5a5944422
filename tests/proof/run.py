"""One run of the proof, from an empty Valkey to the table."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from realtime.testing.servers import ValkeyServer
from tests.proof.check import Row, compare
from tests.proof.cluster import Chaos, Cluster
from tests.proof.data import Dataset
from tests.proof.device import Device, Habits, Tally
from tests.proof.oracle import answers


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done to the servers."""

    node_kills: int
    devices_at_once: int = 100
    shards: int = 1
    seed: int = 1
    habits: Habits = field(default_factory=Habits)


@dataclass(frozen=True, slots=True)
class Result:
    """What happened, and how every counter compares."""

    data: Dataset
    tally: Tally
    chaos: Chaos
    rows: list[Row]
    seconds: float

    @property
    def wrong(self) -> int:
        """How many cells differ from the oracle's answer."""
        return sum(row.wrong for row in self.rows)


async def prove(
    data: Dataset, plan: Plan, report: Callable[[Tally], None] | None = None
) -> Result:
    """Send *data* through a cluster that is being killed; compare every cell."""
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(Path(folder), data.counters, shards=plan.shards) as cluster,
    ):
        tally = Tally(len(data.frame))
        random = Random(plan.seed)
        chaos = Chaos(
            cluster, lambda: tally.acked / tally.total, plan.node_kills, random
        )
        devices = _devices(data, plan, cluster, random, tally)
        async with asyncio.TaskGroup() as group:
            group.create_task(chaos.run())
            group.create_task(_report(tally, report))
            for _ in range(plan.devices_at_once):
                group.create_task(_run_some(devices))
        with ValkeyServer() as reference:
            rows = await compare(cluster.nodes[0].url, list(answers(data)), reference)
    return Result(data, tally, chaos, rows, time.monotonic() - started)


def _devices(
    data: Dataset, plan: Plan, cluster: Cluster, random: Random, tally: Tally
) -> list[Device]:
    def choose() -> str:
        return random.choice(cluster.nodes).ws_url

    return [
        Device(name, events, choose, plan.habits, random, tally)
        for name, events in data.events().items()
    ]


async def _run_some(devices: list[Device]) -> None:
    while devices:
        await devices.pop().run()


async def _report(tally: Tally, report: Callable[[Tally], None] | None) -> None:
    while tally.acked < tally.total:
        if report is not None:
            report(tally)
        await asyncio.sleep(0.5)
    if report is not None:
        report(tally)
