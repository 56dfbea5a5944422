"""
The contract of a registry: which nodes are alive. Proved by the suite in
realtime/testing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from realtime.types import NodeId


@dataclass(frozen=True, slots=True)
class NodeReport:
    """
    What a node says of itself every few seconds. A node is a process: each worker of a
    supervisor is one. What has a default was added later; a neighbour of an older
    version does not report it.
    """

    node: NodeId
    started_at: float  # wall clock
    connections: int
    subscriptions: int
    events_total: int  # counted since the node started
    events_per_s: float
    deliveries_per_s: float
    cpu: float = 0.0  # of one core, over the last second: 1.0 is all of it
    ready: bool = True  # what its readiness says
    draining: bool = False  # it is shutting down: its connections are moved elsewhere
    host: str = ""  # the machine's name
    pid: int = 0
    version: str = ""


class Registry(ABC):
    """
    Reports expire by themselves: a node that stops reporting is gone after *ttl_s*.
    """

    @abstractmethod
    async def report(self, report: NodeReport, ttl_s: float) -> None:
        """Replace this node's report. Raises Unavailable."""

    @abstractmethod
    async def nodes(self) -> list[NodeReport]:
        """The reports that have not expired, sorted by node. Raises Unavailable."""

    @abstractmethod
    async def remove(self, node: NodeId) -> None:
        """Forget this node now (it is shutting down). Raises Unavailable."""

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of connections. Closing twice is harmless."""
