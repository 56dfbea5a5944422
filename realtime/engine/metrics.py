"""
What is measured, for Prometheus. Labels are bounded: never a channel, user or device.

One object per node, given to the components; nothing here is global.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from realtime.engine.subscriber import FlowTally

COMMIT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The node's measurements. Names begin with ``realtime_``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.tally = FlowTally()  # of flows and outboxes, read when rendered
        self.registry.register(_TallyCollector(self.tally))
        self._count_events()
        self._count_sockets()
        self._count_messages()
        self._count_presence()
        self._count_hooks()
        self._count_orders()
        self.http_requests = self._counter(
            "http_requests", "HTTP requests answered", "route", "method", "status"
        )
        self.http_seconds = Histogram(
            "realtime_http_seconds",
            "Time to answer an HTTP request",
            ("route",),
            registry=self.registry,
        )

    def _count_events(self) -> None:
        self.events_counted = self._counter("events_counted", "Events counted")
        self.events_duplicate = self._counter(
            "events_duplicate", "Events that had been counted before"
        )
        self.events_rejected = self._counter(
            "events_rejected", "Events rejected, by reason", "reason"
        )
        self.events_lost = self._counter(
            "events_lost", "Event numbers that devices declared lost"
        )
        self.events_late = self._counter(
            "events_late_dropped", "Windows not updated: the event came too late"
        )
        self.gaps = self._counter(
            "gaps", "Batches refused: numbers before them missing"
        )
        self.slow_downs = self._counter("slow_downs", "Batches refused: node too busy")
        self.commit_seconds = Histogram(
            "realtime_commit_seconds",
            "Time of one commit to the ledger",
            buckets=COMMIT_BUCKETS_S,
            registry=self.registry,
        )
        self.commit_failures = self._counter(
            "commit_failures", "Commits whose outcome was unknown; they were repeated"
        )

    def _count_sockets(self) -> None:
        self.connections_opened = self._counter("connections_opened", "Sockets opened")
        self.connections_closed = self._counter(
            "connections_closed", "Sockets closed, by close code", "code"
        )
        self.connections_refused = self._counter(
            "connections_refused", "Sockets turned away, by reason", "reason"
        )
        self.goodbyes = self._counter(
            "goodbyes", "Connections asked to come back elsewhere, by reason", "reason"
        )
        self.errors = self._counter(
            "errors", "Commands answered with an error, by name", "name"
        )

    def _count_messages(self) -> None:
        self.publications = self._counter("publications", "Publications delivered here")
        self.deliveries = self._counter("deliveries", "Frames handed to subscribers")
        self.live_values = self._counter(
            "live_values", "Values of live channels pushed"
        )
        self._count_histories()

    def _count_histories(self) -> None:
        self.recoveries = self._counter(
            "recoveries", "Answers to who came back with a position", "outcome"
        )
        self.publication_gaps = self._counter(
            "publication_gaps", "Losses on the way to this node", "outcome"
        )
        self.position_checks = self._counter(
            "position_checks", "Positions compared with the broker's"
        )
        self.history_reads = self._counter(
            "history_reads", "Reads of histories, by reason", "reason"
        )

    def _count_presence(self) -> None:
        self.presence_notices = self._counter(
            "presence_notices", "Comings and goings told, by kind", "kind"
        )
        self.presence_notices_lost = self._counter(
            "presence_notices_lost", "Comings and goings not told: too many waited"
        )
        self.presence_restored = self._counter(
            "presence_restored", "Members entered again after the store had lost them"
        )

    def _count_hooks(self) -> None:
        self.hook_calls = self._counter(
            "hook_calls", "Questions to hooks, by what came of them", "point", "outcome"
        )
        self.hook_seconds = Histogram(
            "realtime_hook_seconds",
            "Time until a hook answered or was given up",
            ("point",),
            registry=self.registry,
        )
        self.notices = self._counter(
            "webhook_notices", "Notices to webhooks, by what came of them", "outcome"
        )
        self.notice_failures = self._counter(
            "webhook_failures", "Deliveries of notices that failed; they are repeated"
        )

    def _count_orders(self) -> None:
        self.orders = self._counter(
            "orders", "Orders given here, by what came of them", "order", "outcome"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"realtime_{name}", text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge whose value is asked for when metrics are rendered."""
        Gauge(f"realtime_{name}", text, registry=self.registry).set_function(read)

    @staticmethod
    def total(counter: Counter) -> float:
        """Return what *counter*, which has no labels, has counted so far."""
        return float(next(iter(counter.collect())).samples[0].value)

    def render(self) -> tuple[bytes, str]:
        """Return the exposition text and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


_TALLIED = {
    "filtered": "Deliveries saved: a subscriber's filter did not match",
    "conflated": "Deliveries saved: a newer publication came within the interval",
    "coalesced": "Deliveries saved: a newer one came while the reader was too slow",
    "dropped": "Publications dropped: the reader was too slow, and was told",
    "gaps_told": "Gaps told to slow readers for what was dropped",
    "deflated": "Deliveries of compressed frames",
    "deflate_saved_bytes": "Bytes by which those frames are shorter than plain ones",
}


class _TallyCollector(Collector):
    """Plain integers as counters: they are counted where each call would be felt."""

    def __init__(self, tally: FlowTally) -> None:
        self._tally = tally

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Read all of them."""
        for name, text in _TALLIED.items():
            value = getattr(self._tally, name)
            yield CounterMetricFamily(f"realtime_{name}", text, value=value)
