"""Several nodes in memory, with users on them, for tests of orders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import jwt

from realtime.engine.administration import Administration, Target
from realtime.engine.node import Node
from realtime.testing.client import MemoryClient
from realtime.testing.clock import ManualClock
from realtime.testing.nodes import SharedMemory, memory_nodes
from realtime.types import ConnectionId, UserId
from tests.engine.support import CONFIG, SECRET

ANN = Target(user=UserId("ann"))


def one(client: MemoryClient) -> Target:
    """The target that is only this connection."""
    return Target(connection=ConnectionId(client.peer.id))


def token(
    clock: ManualClock, user: str | None = "ann", age_s: float | None = 0, **more: Any
) -> str:
    """A token of *user* that was issued so long ago; None: it does not say when."""
    claims = {"exp": int(clock.time() + 600), **more}
    if user is not None:
        claims["sub"] = user
    if age_s is not None:
        claims["iat"] = clock.time() - age_s
    return jwt.encode(claims, SECRET, "HS256")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes, what they share, and the first one's administration."""

    nodes: list[Node]
    shared: SharedMemory

    @property
    def clock(self) -> ManualClock:
        return self.shared.clock

    @property
    def admin(self) -> Administration:
        return self.nodes[0].admin

    async def connect(
        self, node: int = 0, user: str | None = "ann", **more: Any
    ) -> MemoryClient:
        """A client of *user* on one of the nodes, after its hello."""
        client = MemoryClient(self.nodes[node])
        fields = {} if user is None else {"token": token(self.clock, user, **more)}
        await client.hello(keepalive_s=1800, **fields)
        return client

    async def everywhere(self, user: str = "ann") -> list[MemoryClient]:
        """A client of *user* on each node."""
        return [await self.connect(place, user) for place in range(len(self.nodes))]


@asynccontextmanager
async def cluster(count: int = 3) -> AsyncIterator[Cluster]:
    """Nodes that have reported to each other."""
    async with memory_nodes(CONFIG, count) as (nodes, shared):
        yield Cluster(list(nodes), shared)
