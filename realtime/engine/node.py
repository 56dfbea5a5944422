"""
One process as a member of the cluster: its life, its background work, its facade.

A node holds nothing that another one could not take over but its open sockets. What
HTTP, the demo and the sockets need of the engine, they ask here.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from realtime import native
from realtime.adapters.broker.port import Placed
from realtime.adapters.registry.port import NodeReport
from realtime.core.live import LiveValue
from realtime.core.naming import LiveName
from realtime.engine.backend import BackendBatch, TrackResult
from realtime.engine.connection import Connection
from realtime.engine.graph import Graph
from realtime.engine.keeping import ALWAYS, Once
from realtime.engine.subscriptions import Subscriptions
from realtime.errors import Unavailable
from realtime.types import (
    Channel,
    ConnectionId,
    DeviceId,
    JSONText,
    NodeId,
    Publication,
    UserId,
)
from realtime.wire.dialect import Dialect
from realtime.wire.native import DEFLATING, DIALECTS

log = structlog.get_logger(__name__)

FLUSH_S = 5.0  # how long closing waits for the last commit


class Node(Graph):
    """
    See the module. ``start`` before use, ``aclose`` after; everything on one loop.
    """

    # -- life --------------------------------------------------------------------

    async def start(self) -> None:
        """
        Connect and begin the background work.

        Raises:
            Unavailable: If the ledger, the broker or the blocks cannot be reached.
        """
        await self.parts.ledger.start()
        await self.parts.broker.start()
        await self._probe()
        # Orders are heard before the copy is made: none falls between the two.
        await self.admin.start(self._subscriptions.listen)
        await self.gate.sync()
        self._tasks.spawn(self.gate.run())
        self._tasks.spawn(self.ingest.run())
        self._tasks.spawn(self.live.run())
        self._tasks.spawn(self._subscriptions.streams.run())
        self._tasks.spawn(self._stats.run())
        self._tasks.spawn(self.rotation.run())
        self.people.start()
        self._tasks.spawn(self._every(self.parts.probe_s, self._probe))
        log.info("node_started", node=self.id, native=native.used())

    def play(self, play: Callable[[], Awaitable[None]]) -> None:
        """Run something of the assembly's (the demo) until the node closes."""

        async def run() -> None:
            await play()

        self._tasks.spawn(run())

    def missed(self) -> None:
        """Changes may not have been heard: read in full what is watched here."""
        self._tasks.spawn(self.live.heal())
        self._tasks.spawn(self._subscriptions.streams.catch_up())
        self._tasks.spawn(self.gate.catch_up())
        self.people.attendance.reconnected()

    async def _every(self, period_s: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self.parts.clock.sleep(period_s)
            await act()

    async def _probe(self) -> None:
        try:
            alive = await self.parts.broker.probe()
        except Exception:  # a defect of ours, after which nothing is proved any more
            log.exception("probe_failed")
            alive = False
        before = self._health["broker"]
        self._health["broker"] = "ok" if alive else "a probe through pub/sub was lost"
        if before != self._health["broker"]:
            log.info("broker_probed", ok=alive)

    async def aclose(self) -> None:
        """Commit what waits, say goodbye to the cluster, let go of everything."""
        self.draining = True
        try:
            async with asyncio.timeout(FLUSH_S):
                await self.ingest.flush()
        except TimeoutError:
            log.warning("events_not_committed", events=self.ingest.pending_events)
        await self.people.aclose()
        await self.live.aclose()
        self.admin.stop()
        await self._tasks.aclose()
        self._hub.stop()
        self.wheel.stop()
        try:
            await self.parts.registry.remove(self.id)
        except Unavailable as exc:
            log.warning("registry_unavailable", error=str(exc))
        log.info("node_stopped", node=self.id)

    # -- sockets -----------------------------------------------------------------

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """What a client may offer in the handshake."""
        return tuple(DIALECTS)

    def open_peer(
        self, subprotocol: str, remote: str, window_bits: int = 0
    ) -> Connection:
        """
        Make the peer of a socket that has agreed on *subprotocol*, and, unless
        *window_bits* is 0, on compression with this window.
        """
        dialect: Dialect = DEFLATING.get(window_bits, DIALECTS)[subprotocol]
        return Connection(
            self.services, ConnectionId(secrets.token_hex(8)), dialect, remote
        )

    # -- requests ----------------------------------------------------------------

    async def publish(
        self,
        channel: Channel,
        data: JSONText,
        *,
        tags: Mapping[str, str] | None = None,
        once: Once = ALWAYS,
    ) -> Placed:
        """
        Publish *data* to whoever subscribes to *channel* on any node; on this one
        alone (``local``) while the broker cannot be reached and it is not to be kept.

        Raises:
            CommandError: NOT_AVAILABLE for a version where no history is kept.
            BrokerUnavailable: If it may not have been handed over.
        """
        publication = Publication(channel, data, tags=tags)
        return await self.keeping.publish(publication, once, local=True)

    async def track(
        self,
        device: DeviceId,
        proofs: Sequence[str],
        first: int,
        events: Sequence[object],
        *,
        may_track: Callable[[str], bool],
        lost: int = 0,
        sent_at: float | None = None,
        user: UserId | None = None,
        acked: int = 0,
        mark_ttl_s: float | None = None,
        names_users: bool = False,
        hooked: bool = False,
    ) -> TrackResult:
        """Count numbered events; return after the commit. See ``Backend.track``."""
        batch = BackendBatch(
            device,
            proofs,
            first,
            events,
            may_track,
            lost,
            sent_at,
            user,
            acked,
            mark_ttl_s,
            names_users,
            hooked,
        )
        return await self._backend.track(batch)

    async def mark(self, device: DeviceId, proofs: Sequence[str]) -> int:
        """Return how far *device* has been counted. See ``Backend.mark``."""
        return await self._backend.mark(device, proofs)

    async def read_live(self, name: LiveName, at: float | None) -> LiveValue:
        """
        Return the value of a live channel now, or for the instance containing *at*.

        Raises:
            LedgerUnavailable: If it cannot be read.
        """
        now = self.parts.clock.time()
        return await self._listing.value(name, now if at is None else at, now)

    async def list_cells(
        self, counter: str, window: str, at: float | None, limit: int
    ) -> list[tuple[dict[str, str], int | float | None]]:
        """
        Return at most *limit* cells of a counter: dimension values and value.

        *counter* and *window* must be declared.

        Raises:
            LedgerUnavailable: If they cannot be read.
        """
        when = self.parts.clock.time() if at is None else at
        definition = self.counters.get(counter)
        assert definition is not None, f"{counter} is not declared"
        return await self._listing.cells(definition, window, when, limit)

    @property
    def subscriptions(self) -> Subscriptions:
        """For who subscribes without being a connection."""
        return self._subscriptions

    async def cluster(self) -> list[NodeReport]:
        """
        Return what the living nodes report.

        Raises:
            Unavailable: If the registry does not answer.
        """
        return await self.parts.registry.nodes()

    async def readiness(self) -> dict[str, str]:
        """Say for each thing that delivery needs "ok" or what is wrong with it."""
        return self._checks()


def new_node_id() -> NodeId:
    """Make a node's name: short, random, never reused."""
    return NodeId(secrets.token_hex(4))
