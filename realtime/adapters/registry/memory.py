"""
The registry of one process.

Several on one ``Board`` behave like nodes that share a Redis.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from realtime.adapters.registry.port import NodeReport, Registry
from realtime.types import NodeId


class Board:
    """What memory registries share."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self.reports: dict[NodeId, tuple[float, NodeReport]] = {}


class MemoryRegistry(Registry):
    """See ``Registry``."""

    def __init__(self, board: Board | None = None) -> None:
        self._board = board or Board()

    async def report(self, report: NodeReport, ttl_s: float) -> None:
        board = self._board
        board.reports[report.node] = (board.monotonic() + ttl_s, report)

    async def nodes(self) -> list[NodeReport]:
        now, reports = self._board.monotonic(), self._board.reports
        for node in [node for node, (until, _) in reports.items() if until <= now]:
            del reports[node]
        return [reports[node][1] for node in sorted(reports)]

    async def remove(self, node: NodeId) -> None:
        self._board.reports.pop(node, None)

    async def aclose(self) -> None:
        """Nothing to let go of."""
