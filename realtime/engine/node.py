"""
One process as a member of the cluster: the object graph, its background work, its
facade.

A node holds nothing that another one could not take over but its open sockets. What
HTTP, the demo and the sockets need of the engine, they ask here.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from realtime.adapters.blocks.port import Blocks
from realtime.adapters.broker.port import Broker, Placed
from realtime.adapters.ledger.port import Ledger
from realtime.adapters.presence.port import Presence
from realtime.adapters.registry.port import NodeReport, Registry
from realtime.clock import Clock
from realtime.core.access import Access
from realtime.core.counters import CounterSet
from realtime.core.events import EventRules
from realtime.core.limits import Rate
from realtime.core.live import LiveValue
from realtime.core.namespaces import NamespaceDefinition
from realtime.core.naming import LiveName
from realtime.core.tokens import ApiKeys
from realtime.engine.administration import Administration
from realtime.engine.admission import Admission
from realtime.engine.auth import Authenticator
from realtime.engine.backend import Backend, BackendBatch, TrackResult
from realtime.engine.connection import Connection
from realtime.engine.directory import Directory
from realtime.engine.drain import Drain, Rotation
from realtime.engine.gate import Gate
from realtime.engine.hooks import HookParts, Hooks
from realtime.engine.hub import Hub
from realtime.engine.ingest import Ingest
from realtime.engine.keepalive import Keepalive
from realtime.engine.keeping import ALWAYS, Keeping, Once
from realtime.engine.listing import Listing
from realtime.engine.live import Live
from realtime.engine.metrics import Metrics
from realtime.engine.orders import Orders
from realtime.engine.people import People, PeopleSettings
from realtime.engine.services import Services
from realtime.engine.stats import Reading, Stats
from realtime.engine.subscriptions import Subscriptions
from realtime.engine.tasks import Tasks
from realtime.engine.wheel import Wheel
from realtime.errors import Unavailable
from realtime.settings import (
    AuthSettings,
    DrainSettings,
    EventSettings,
    HistorySettings,
    LedgerSettings,
    LimitSettings,
    ServerSettings,
)
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
from realtime.wire.native import DIALECTS

log = structlog.get_logger(__name__)

FLUSH_S = 5.0  # how long closing waits for the last commit


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What a node is made of; the assembly builds it from the configuration."""

    id: NodeId
    server: ServerSettings
    auth: AuthSettings
    limits: LimitSettings
    drain: DrainSettings
    ledger_settings: LedgerSettings
    events: EventSettings
    probe_s: float
    counters: CounterSet
    access: Access
    authenticator: Authenticator
    api_keys: ApiKeys
    ledger: Ledger
    broker: Broker
    registry: Registry
    blocks: Blocks
    presence: Presence
    clock: Clock
    page: Mapping[str, object]
    history: HistorySettings = field(default_factory=HistorySettings)
    namespaces: Mapping[str, NamespaceDefinition] = field(default_factory=dict)
    hooks: HookParts = field(default_factory=HookParts)
    people: PeopleSettings = field(default_factory=PeopleSettings)


class Node:
    """
    See the module. ``start`` before use, ``aclose`` after; everything on one loop.
    """

    def __init__(self, parts: NodeParts) -> None:
        self.parts = parts
        self.id = parts.id
        self.server = parts.server
        self.limits = parts.limits
        self.counters = parts.counters
        self.access = parts.access
        self.api_keys = parts.api_keys
        self.page = parts.page
        self.metrics = Metrics()
        self.draining = False
        self._tasks = Tasks()
        self._connections: set[Connection] = set()
        self._health: dict[str, str] = {"broker": "not probed yet"}
        self.wheel = Wheel(parts.clock)
        self._rules = EventRules(parts.events, parts.limits)
        self.hooks = Hooks(
            parts.hooks,
            parts.clock,
            self.metrics,
            authenticator=parts.authenticator,
            access=parts.access,
            rules=self._rules,
            max_publication_bytes=parts.limits.max_publication_bytes,
            dev=parts.server.dev,
        )
        self.authenticator = self.hooks.sessions
        self._count()
        self._deliver()
        self._administer()
        self.people = People(
            parts.people,
            parts.presence,
            parts.broker,
            self.keeping,
            self.hooks.notify,
            parts.clock,
            self.metrics,
            self._tasks,
            lambda: self.draining,
        )
        self.services = self._services()
        self._doors()
        self._gauges()

    def _count(self) -> None:
        """Make what counts events, and reads what was counted."""
        parts, settings = self.parts, self.parts.ledger_settings
        self.ingest = Ingest(
            parts.ledger, parts.counters, settings, parts.clock, self.metrics
        )
        self._backend = Backend(
            parts.ledger,
            self.ingest,
            self._rules,
            self.hooks.events,
            settings,
            parts.limits,
            parts.clock,
        )
        self._listing = Listing(parts.ledger, parts.counters)

    def _deliver(self) -> None:
        """Make what brings publications and values to subscribers."""
        parts = self.parts
        self._hub = Hub(parts.clock, self.metrics.tally, self.metrics.deliveries.inc)
        self.live = Live(
            parts.ledger,
            parts.counters,
            parts.clock,
            self._deliver_latest,
            parts.ledger_settings.heal_s,
        )
        self.keeping = Keeping(parts.broker, parts.namespaces, parts.history)
        self._subscriptions = Subscriptions(
            self._hub,
            parts.broker,
            self.live,
            parts.counters,
            self.keeping,
            parts.history,
            self.metrics,
            parts.clock,
            self.wheel,
            self._tasks,
        )
        self._stats = Stats(
            parts.id,
            parts.registry,
            parts.clock,
            self._measure,
            self._deliver_latest,
            self._hub.__contains__,
        )

    def _doors(self) -> None:
        """Make what lets connections in and sends them away."""
        settings, clock = self.parts.drain, self.parts.clock
        self.admission = Admission(self.limits, settings, clock, self.metrics)
        self.drain = Drain(settings, clock, self.metrics)
        self.rotation = Rotation(
            settings, clock, self.metrics, self.services.connections
        )

    def _administer(self) -> None:
        """Make what obeys backends, here and on all nodes."""
        parts, clock, tasks = self.parts, self.parts.clock, self._tasks
        self.gate = Gate(parts.blocks, clock, self.metrics)
        self.directory = Directory(self._connections)
        orders = Orders(parts.id, self.directory, self.gate, self._hub, clock, tasks)
        self.admin = Administration(orders, parts.broker, parts.registry, self.metrics)

    def _services(self) -> Services:
        parts = self.parts
        return Services(
            node=parts.id,
            clock=parts.clock,
            limits=parts.limits,
            auth=parts.auth,
            marks_ttl_s=parts.ledger_settings.marks_ttl_s,
            access=parts.access,
            authenticator=parts.authenticator,
            gate=self.gate,
            directory=self.directory,
            connections=self._connections,
            rules=self._rules,
            hooks=self.hooks,
            people=self.people,
            notify=self.hooks.notify,
            ledger=parts.ledger,
            broker=parts.broker,
            keeping=self.keeping,
            ingest=self.ingest,
            subscriptions=self._subscriptions,
            wheel=self.wheel,
            keepalive=Keepalive(self.wheel, parts.limits),
            metrics=self.metrics,
            tasks=self._tasks,
            publish_rate=Rate.of(parts.limits.publish_rate),
        )

    def _gauges(self) -> None:
        gauge = self.metrics.gauge
        gauge("connections", "Open sockets", lambda: len(self.services.connections))
        gauge("waiting_sockets", "Said nothing yet", lambda: self.admission.waiting)
        gauge("http_connections", "Of requests", lambda: self.admission.http)
        gauge("draining", "1 when nobody should come here", lambda: self.draining)
        gauge("subscriptions", "Subscriptions here", lambda: self._hub.subscriptions)
        gauge("channels", "Channels with subscribers here", lambda: len(self._hub))
        gauge("live_channels", "Live channels watched here", lambda: len(self.live))
        gauge(
            "pending_events",
            "Events that wait for their commit",
            lambda: self.ingest.pending_events,
        )
        gauge(
            "ready",
            "1 when broker and ledger answer",
            lambda: float(self._ready),
        )

    def _measure(self) -> Reading:
        return Reading(
            connections=len(self.services.connections),
            subscriptions=self._hub.subscriptions,
            events=int(self.metrics.total(self.metrics.events_counted)),
            deliveries=int(self.metrics.total(self.metrics.deliveries)),
            ready=self._ready,
            draining=self.draining,
        )

    @property
    def _ready(self) -> bool:
        return set(self._checks().values()) == {"ok"}

    def _deliver_latest(self, channel: Channel, data: JSONText) -> int:
        return self._subscriptions.deliver_latest(channel, data)

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
        log.info("node_started", node=self.id)

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

    def open_peer(self, subprotocol: str, remote: str) -> Connection:
        """Make the peer of a socket that has agreed on *subprotocol*."""
        dialect: Dialect = DIALECTS[subprotocol]
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
        Publish *data* to whoever subscribes to *channel* on any node.

        Raises:
            CommandError: NOT_AVAILABLE for a version where no history is kept.
            BrokerUnavailable: If it may not have been handed over.
        """
        return await self.keeping.publish(Publication(channel, data, tags=tags), once)

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

    def _checks(self) -> dict[str, str]:
        ledger = "does not answer" if self.ingest.stalled else "ok"
        checks = {**self._health, "ledger": ledger}
        if self.draining:
            checks["node"] = "is shutting down"
        return checks


def new_node_id() -> NodeId:
    """Make a node's name: short, random, never reused."""
    return NodeId(secrets.token_hex(4))
