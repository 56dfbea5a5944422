"""
The object graph of a node: which components there are, and who is given whom.

Nothing here does anything; node.py starts, stops and uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from realtime.adapters.blocks.port import Blocks
from realtime.adapters.broker.port import Broker
from realtime.adapters.ledger.port import Ledger
from realtime.adapters.presence.port import Presence
from realtime.adapters.registry.port import Registry
from realtime.clock import Clock, call_soon
from realtime.core.access import Access
from realtime.core.counters import CounterSet
from realtime.core.counting import Counting
from realtime.core.events import EventRules
from realtime.core.limits import Rate
from realtime.core.namespaces import NamespaceDefinition
from realtime.core.tokens import ApiKeys
from realtime.engine.acks import Acks
from realtime.engine.administration import Administration
from realtime.engine.admission import Admission
from realtime.engine.auth import Authenticator
from realtime.engine.backend import Backend
from realtime.engine.connection import Connection
from realtime.engine.directory import Directory
from realtime.engine.drain import Drain, Rotation
from realtime.engine.gate import Gate
from realtime.engine.hooks import HookParts, Hooks
from realtime.engine.hub import Hub
from realtime.engine.ingest import Ingest
from realtime.engine.keepalive import Keepalive
from realtime.engine.keeping import Keeping
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
    JSONText,
    NodeId,
)


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


class Graph:
    """A node's components, made and joined; ``engine.node.Node`` brings it to life."""

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
        counting = self._counting = Counting(self._rules, parts.counters)
        self.ingest = Ingest(
            parts.ledger, counting, settings, parts.clock, self.metrics
        )
        self._backend = Backend(
            parts.ledger,
            self.ingest,
            counting,
            self.hooks.events,
            settings,
            parts.limits,
            parts.clock,
        )
        self._listing = Listing(parts.ledger, parts.counters)

    def _deliver(self) -> None:
        """Make what brings publications and values to subscribers."""
        parts = self.parts
        metrics = self.metrics
        self._hub = Hub(parts.clock, metrics.tally, metrics.deliveries.inc, call_soon)
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
        acks = Acks(self._subscriptions.turn)
        self.ingest.settled = acks.flush
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
            counting=self._counting,
            hooks=self.hooks,
            people=self.people,
            notify=self.hooks.notify,
            ledger=parts.ledger,
            broker=parts.broker,
            keeping=self.keeping,
            ingest=self.ingest,
            acks=acks,
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
        gauge("http_connections", "Of requests", lambda: self.admission.requesting)
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

    def _checks(self) -> dict[str, str]:
        ledger = "does not answer" if self.ingest.stalled else "ok"
        checks = {**self._health, "ledger": ledger}
        if self.draining:
            checks["node"] = "is shutting down"
        return checks
