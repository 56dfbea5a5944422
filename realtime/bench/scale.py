"""
Question: do more servers behind one Redis do more, and what does each operation cost
then?

Method: for each number of --nodes-up-to, as many servers and one Valkey are started
here, all anew. Load grows with them: each server has --subscribers connections, spread
over channels that have 20 subscribers each on average, wherever these are connected;
each adds --publications and --events a second. First there are only publications, then
only events (each with one counter, acknowledged when it is counted), --seconds each.
Both are due at fixed times, and latencies count from then.

If it scales, deliveries and events grow as the servers do while the processor time of
each, of the servers and of Redis, and the latencies stay the same. A machine has only
so many cores, which clients, servers and Redis share here: where they are used up, the
last column says so, and rates and latencies of that row tell about this machine, not
about the servers. Processor time for each operation still does.

examples:
  PROGRAM
      one, two and three servers
  PROGRAM --nodes-up-to 8 --publications 300 --events 2000 --plot scale.html
      on a machine with many cores
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from realtime.bench.costs import Costs
from realtime.bench.crowd import Crowd
from realtime.bench.errors import BenchError
from realtime.bench.joining import failures_of
from realtime.bench.local import local_target
from realtime.bench.program import BUSY, Bench, opened
from realtime.bench.report import counted
from realtime.bench.residents import FIRST_S, Residents, Settings, Window
from realtime.bench.result import Result, Row, lines_of
from realtime.bench.target import Target

SMOKE: Mapping[str, object] = {
    "nodes_up_to": 2,
    "subscribers": 10,
    "publications": 20.0,
    "events": 20.0,
    "seconds": 1.0,
    "processes": 1,
}
COLUMNS = {
    "nodes": "servers",
    "deliveries_per_s": "deliveries/s",
    "delivery_us": "server us each",
    "publish_redis_us": "Redis us/publication",
    "publish_p50_ms": "p50 ms",
    "publish_p99_ms": "p99 ms",
    "events_per_s": "events/s",
    "event_us": "server us each",
    "event_redis_us": "Redis us/event",
    "ack_p50_ms": "p50 ms",
    "ack_p99_ms": "p99 ms",
    "redis_cpu": "Redis CPU",
    "machine": "machine busy",
    "limit": "limit",
}
LINES = (
    ("Rates", "deliveries", "deliveries_per_s", "per second"),
    ("Rates", "events", "events_per_s", "per second"),
    ("Processor time", "server, a delivery", "delivery_us", "us"),
    ("Processor time", "server, an event", "event_us", "us"),
    ("Processor time", "Redis, an event", "event_redis_us", "us"),
    ("Latencies", "publish, p99", "publish_p99_ms", "ms"),
    ("Latencies", "acknowledgement, p99", "ack_p99_ms", "ms"),
)
PER_CHANNEL = 20
FULL = 0.9  # of the machine: beyond, everybody waits for a core
KEPT_UP = 0.97  # of what was due
FOR_EVER_S = 1e6
WARM_S = 1.0
DRAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Phase:
    """What was seen of publications alone, or of events alone."""

    window: Window
    costs: Costs

    @property
    def redis_share(self) -> float:
        """The share of a core that Redis used."""
        return (self.costs.redis_us or 0.0) / 1e6 / self.costs.wall_s

    @property
    def machine_share(self) -> float:
        """The share of the machine that everybody used."""
        return self.costs.machine_busy or 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    for name, kind, default, what in (
        ("nodes-up-to", int, 3, "servers in the last row; the first has one"),
        ("subscribers", int, 200, "connections of each server"),
        ("publications", float, 50.0, "publications a second that each adds"),
        ("events", float, 300.0, "events a second that each adds"),
        ("seconds", float, 5.0, "of publications, and then of events"),
        ("size", int, 100, "characters of a publication's data"),
    ):
        parser.add_argument(
            f"--{name}", type=kind, default=default, help=f"{what} ({default:g})"
        )


def run(options: argparse.Namespace) -> Result:
    """Measure."""
    if options.url or options.nodes != 1 or options.redis:
        raise BenchError("scale starts its servers itself: no --url, --nodes, --redis")
    for name in ("nodes_up_to", "subscribers", "publications", "events", "seconds"):
        if getattr(options, name) <= 0:
            raise BenchError(f"--{name.replace('_', '-')} must be above 0")
    rows: list[Row] = []
    warnings: list[str] = []
    with opened(options, "scale", Target(())) as bench:
        for nodes in range(1, options.nodes_up_to + 1):
            if bench.stop:
                break
            with local_target(nodes, "auto") as target:
                row, doubtful = _measure(replace(bench, target=target), nodes)
            rows.append(row)
            warnings += doubtful
        series = lines_of(rows, "nodes", "servers", LINES)
        return bench.result(COLUMNS, rows, series, [*warnings, *_limited(rows)])


def _measure(bench: Bench, nodes: int) -> tuple[Row, list[str]]:
    options = bench.options
    connections = options.subscribers * nodes
    channels = max(connections // PER_CHANNEL, 1)
    settings = Settings(
        0.0, 0.0, FOR_EVER_S, channels, options.size, "bench", watch=False
    )
    with (
        bench.crowd(Residents, connections, settings) as crowd,
        bench.display.step(counted(nodes, "servers"), 2) as step,
    ):
        begin = crowd.soon()
        crowd.do("settle_in", begin)
        crowd.do("live", begin + FIRST_S + WARM_S)
        published = _phase(bench, crowd, options.publications * nodes, 0.0)
        busy = crowd.busy
        step(1)
        tracked = _phase(bench, crowd, 0.0, options.events * nodes)
        busy = max(busy, crowd.busy)
    errors = published.window.errors + tracked.window.errors
    row = _row(bench, nodes, published, tracked, busy)
    return row, failures_of(dict(errors), "times")


def _phase(
    bench: Bench, crowd: Crowd[Residents], publications: float, events: float
) -> Phase:
    """Load for a while, after a warm-up; what is under way then still counts."""
    start = crowd.soon()
    crowd.do("change", start, publications, events)
    crowd.do("live", start + WARM_S)
    before = bench.costs()
    windows: list[Window] = crowd.do("live", start + WARM_S + bench.options.seconds)
    costs = bench.costs() - before
    crowd.do("change", start, 0.0, 0.0)
    crowd.do("live", crowd.soon() + DRAIN_S)
    whole = Window()
    for window in windows:
        whole.merge(window)
    return Phase(whole, costs)


def _row(
    bench: Bench, nodes: int, published: Phase, tracked: Phase, busy: float
) -> Row:
    options, seconds = bench.options, published.costs.wall_s
    deliveries, events = published.window.published, tracked.window.acked
    publications = options.publications * nodes * seconds
    machine = max(published.machine_share, tracked.machine_share)
    kept_up = events.count / tracked.costs.wall_s / (options.events * nodes)
    return {
        "nodes": nodes,
        "deliveries_per_s": deliveries.count / seconds,
        "delivery_us": published.costs.node_us_per(deliveries.count),
        "publish_redis_us": published.costs.redis_us_per(publications),
        "publish_p50_ms": deliveries.quantile_ms(0.5),
        "publish_p99_ms": deliveries.quantile_ms(0.99),
        "events_per_s": events.count / tracked.costs.wall_s,
        "event_us": tracked.costs.node_us_per(events.count),
        "event_redis_us": tracked.costs.redis_us_per(events.count),
        "ack_p50_ms": events.quantile_ms(0.5),
        "ack_p99_ms": events.quantile_ms(0.99),
        "redis_cpu": f"{max(published.redis_share, tracked.redis_share):.0%}",
        "machine": f"{machine:.0%}",
        "limit": "" if bench.stop else _limit(machine, busy, kept_up),
    }


def _limit(machine: float, busy: float, kept_up: float) -> str:
    if machine > FULL:
        return "the machine's cores"
    if busy > BUSY:
        return "the clients"
    return "" if kept_up > KEPT_UP else "the servers"


def _limited(rows: Sequence[Row]) -> Iterator[str]:
    """Say plainly what the numbers do not tell."""
    full = [str(row["nodes"]) for row in rows if row["limit"] == "the machine's cores"]
    if full:
        yield (
            f"with {', '.join(full)} servers this machine's cores were used up by "
            "clients, servers and Redis together: rates and latencies of these rows "
            "are the machine's limit; processor time for each operation still compares"
        )
