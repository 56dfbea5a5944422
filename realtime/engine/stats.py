"""
What every node says of itself, each second, and what the dashboard's channel carries.

Each node reports to the registry; a node whose own subscribers watch ``server:stats``
reads all reports and pushes them, so that nothing travels for nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import orjson
import structlog

from realtime.adapters.registry.port import NodeReport, Registry
from realtime.clock import Clock
from realtime.engine.subscriptions import STATS
from realtime.errors import Unavailable
from realtime.types import Channel, JSONText, NodeId

log = structlog.get_logger(__name__)

REPORT_S = 1.0
REPORT_TTL_S = 5.0


class Stats:
    """Reports, once a second. The readers are asked at each report."""

    def __init__(
        self,
        node: NodeId,
        registry: Registry,
        clock: Clock,
        read: Callable[[], tuple[int, int, int, int]],
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
        self._before = (clock.monotonic(), 0, 0)
        self._failing = False

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await self._clock.sleep(REPORT_S)
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

    async def report(self) -> None:
        """
        Report once, and push to those who watch.

        Raises:
            Unavailable: If the registry does not answer.
        """
        await self._registry.report(self._measure(), REPORT_TTL_S)
        if self._watched(STATS):
            nodes = [asdict(report) for report in await self._registry.nodes()]
            data = orjson.dumps({"nodes": nodes, "at": self._clock.time()})
            self._push(STATS, JSONText(data))

    def _measure(self) -> NodeReport:
        connections, subscriptions, events, deliveries = self._read()
        now = self._clock.monotonic()
        then, events_then, deliveries_then = self._before
        self._before = (now, events, deliveries)
        elapsed_s = max(now - then, 0.001)
        return NodeReport(
            node=self._node,
            started_at=self._started_at,
            connections=connections,
            subscriptions=subscriptions,
            events_total=events,
            events_per_s=round((events - events_then) / elapsed_s, 1),
            deliveries_per_s=round((deliveries - deliveries_then) / elapsed_s, 1),
        )
