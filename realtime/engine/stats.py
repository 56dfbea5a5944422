"""
What every node says of itself, each second, and what the dashboard's channel carries.

Each node reports to the registry; a node whose own subscribers watch ``server:stats``
reads all reports and pushes them, so that nothing travels for nobody.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import orjson
import structlog

from realtime import __version__
from realtime.adapters.registry.port import NodeReport, Registry
from realtime.clock import Clock
from realtime.engine.subscriptions import STATS
from realtime.errors import Unavailable
from realtime.types import Channel, JSONText, NodeId

log = structlog.get_logger(__name__)

REPORT_S = 1.0
REPORT_TTL_S = 5.0


#: For operators, not for who may watch a channel.
_PRIVATE = ("host", "pid", "version")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a node knows of itself at one moment; totals are since its start."""

    connections: int
    subscriptions: int
    events: int
    deliveries: int
    ready: bool = True
    draining: bool = False


class Stats:
    """Reports, once a second. The readers are asked at each report."""

    def __init__(
        self,
        node: NodeId,
        registry: Registry,
        clock: Clock,
        read: Callable[[], Reading],
        push: Callable[[Channel, JSONText], int],
        watched: Callable[[Channel], bool],
    ) -> None:
        self._node = node
        self._registry = registry
        self._clock = clock
        self._read = read
        self._push = push
        self._watched = watched
        self._started_at = clock.time()
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._before = (clock.monotonic(), 0, 0, time.process_time())
        self._failing = False

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            try:
                await self.report()
            except Unavailable as exc:
                if not self._failing:
                    log.warning("registry_unavailable", error=str(exc))
                self._failing = True
            except Exception:  # a defect of ours; without reports the node looks dead
                if not self._failing:
                    log.exception("report_failed")
                self._failing = True
            else:
                self._failing = False
            await self._clock.sleep(REPORT_S)

    async def report(self) -> None:
        """
        Report once, and push to those who watch.

        Raises:
            Unavailable: If the registry does not answer.
        """
        await self._registry.report(self._measure(), REPORT_TTL_S)
        if self._watched(STATS):
            nodes = [asdict(report) for report in await self._registry.nodes()]
            for node in nodes:
                for name in _PRIVATE:
                    del node[name]
            data = orjson.dumps({"nodes": nodes, "at": self._clock.time()})
            self._push(STATS, JSONText(data))

    def _measure(self) -> NodeReport:
        read = self._read()
        now, cpu = self._clock.monotonic(), time.process_time()
        then, events, deliveries, cpu_then = self._before
        self._before = (now, read.events, read.deliveries, cpu)
        elapsed_s = max(now - then, 0.001)
        return NodeReport(
            node=self._node,
            started_at=self._started_at,
            connections=read.connections,
            subscriptions=read.subscriptions,
            events_total=read.events,
            events_per_s=round((read.events - events) / elapsed_s, 1),
            deliveries_per_s=round((read.deliveries - deliveries) / elapsed_s, 1),
            cpu=round((cpu - cpu_then) / elapsed_s, 3),
            ready=read.ready,
            draining=read.draining,
            host=self._host,
            pid=self._pid,
            version=__version__,
        )
