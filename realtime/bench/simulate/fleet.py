"""What serves them: nodes, Redis, the limits that are set."""

from __future__ import annotations

from dataclasses import dataclass
from math import expm1, log1p


@dataclass(frozen=True, slots=True)
class Fleet:
    """
    Nodes that are alike, and the masters of a Redis Cluster (or one Redis).

    A node is one process and has *cores* of a core for itself, *memory_gib*, and its
    part of the machine's network. *uneven* is by how much the node with most
    connections is above the mean.
    """

    nodes: int
    masters: int = 1
    shards: int = 1
    cores: float = 1.0
    nodes_per_machine: int = 4
    memory_gib: float = 2.0
    node_mbit: float = 2_500.0
    redis_mbit: float = 10_000.0
    uneven: float = 1.1
    tick_s: float = 0.1
    connect_rate: float = 1_000.0  # 0: no limit
    max_connections: int = 50_000
    accept_queue: int = 4_096  # net.core.somaxconn
    turn: int = 512  # subscribers of a large channel that are served at a time
    heal_s: float = 15.0
    check_s: float = 10.0

    def __post_init__(self) -> None:
        for name in ("nodes", "masters", "shards", "nodes_per_machine", "turn"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: one or more")
        for name in ("cores", "memory_gib", "node_mbit", "redis_mbit", "tick_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: above 0")
        if self.uneven < 1:
            raise ValueError(f"uneven is {self.uneven}: 1 or more")
        if self.connect_rate < 0:
            raise ValueError(f"connect_rate is {self.connect_rate}: 0 or more")

    def reached(self, members: float) -> float:
        """
        Return how many nodes have one of *members* connections that are spread at
        random: how many copies of a message Redis sends.
        """
        if self.nodes == 1:
            return min(members, 1.0)
        return -self.nodes * expm1(members * log1p(-1 / self.nodes))
