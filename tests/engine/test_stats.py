"""What a node reports of itself, and to whom."""

from __future__ import annotations

import asyncio
import os
import socket

import orjson
import pytest
from structlog.testing import capture_logs

from realtime.adapters.registry.memory import MemoryRegistry
from realtime.adapters.registry.port import NodeReport
from realtime.engine.stats import Reading, Stats
from realtime.errors import Unavailable
from realtime.testing.clock import ManualClock, settle
from realtime.types import NodeId

pytestmark = pytest.mark.anyio


class Failing(MemoryRegistry):
    """A registry that raises what it is told to."""

    error: Exception | None = None

    async def report(self, report: NodeReport, ttl_s: float) -> None:
        """Raise, or keep the report."""
        if self.error is not None:
            raise self.error
        await super().report(report, ttl_s)


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (Unavailable("down"), "registry_unavailable"),
        (ZeroDivisionError("a mistake"), "report_failed"),
    ],
)
async def test_a_report_that_fails_is_made_again(error: Exception, event: str) -> None:
    """The failure is logged once; a node that stopped reporting would look dead."""
    clock, registry = ManualClock(), Failing()
    stats = Stats(
        NodeId("n1"),
        registry,
        clock,
        lambda: Reading(1, 2, 3, 4),
        lambda channel, data: 0,
        lambda channel: False,
    )
    task = asyncio.create_task(stats.run())
    registry.error = error
    with capture_logs() as logs:
        await clock.elapse(3)
    assert [log["event"] for log in logs] == [event]

    registry.error = None
    await clock.elapse(1)
    assert [report.node for report in await registry.nodes()] == ["n1"]
    task.cancel()


async def test_a_node_is_known_as_soon_as_it_runs() -> None:
    """With its load, and with which process it is: workers share a port, not these."""
    clock, registry = ManualClock(), MemoryRegistry()
    reading = Reading(1, 2, 30, 40, ready=False, draining=True)
    stats = Stats(
        NodeId("n1"),
        registry,
        clock,
        lambda: reading,
        lambda channel, data: 0,
        lambda channel: False,
    )
    task = asyncio.create_task(stats.run())
    await settle()
    [report] = await registry.nodes()

    assert (report.connections, report.ready, report.draining) == (1, False, True)
    assert (report.pid, report.host) == (os.getpid(), socket.gethostname())
    assert report.cpu >= 0
    task.cancel()


async def test_who_watches_is_not_told_which_machines_there_are() -> None:
    """The channel of statistics has numbers only."""
    pushed: list[bytes] = []
    stats = Stats(
        NodeId("n1"),
        MemoryRegistry(),
        ManualClock(),
        lambda: Reading(1, 2, 3, 4),
        lambda channel, data: pushed.append(data) or 0,
        lambda channel: True,
    )
    await stats.report()

    [node] = orjson.loads(pushed[0])["nodes"]
    assert node["connections"] == 1
    assert not {"host", "pid", "version"} & node.keys()
