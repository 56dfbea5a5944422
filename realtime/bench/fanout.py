"""
Question: how late do publications reach many subscribers, and what does each delivery
cost the server?

Method: subscribers sign in and stay; publishers publish at fixed times, for some
seconds at each of a series of rates. Every publication says when it was *due*, and
latency counts from then until a subscriber has read it, whoever kept it waiting: the
publisher, the server or the reader. So a server that falls behind cannot hide it. Of a
server that is started here, the processor time per delivery is told, too (of all its
nodes together). What has not come some seconds after the last publication is *lost*.

With --channels C, publications go to C channels by turns, and each has its share of
the subscribers.

examples:
  PROGRAM
      a server started here, 1,000 subscribers of one channel
  PROGRAM --subscribers 5000 --channels 50 --rates 10,100,500 --plot fanout.html
      more, and a picture of the latencies over the load
  PROGRAM --nodes 2 --subscribers 2000
      two servers joined by Redis
  PROGRAM --url wss://rt.example.com --token-file tokens.txt --yes-this-is-mine
      your own deployment; the tokens must grant bench:* to subscribe and to publish
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from realtime.bench.client import Client, End
from realtime.bench.costs import Costs
from realtime.bench.crowd import Crowd, clock, sum_up
from realtime.bench.dialects.port import (
    STAMP_CHARACTERS,
    Delivery,
    Refused,
    Said,
    due_of,
    stamped,
)
from realtime.bench.errors import BenchError
from realtime.bench.histogram import Histogram, merged
from realtime.bench.joining import Joining, failures_of, join
from realtime.bench.program import Bench, doubts, numbers, opened
from realtime.bench.result import Cell, Result, Row, lines_of

SMOKE: Mapping[str, object] = {
    "subscribers": 20,
    "rates": [10.0, 20.0],
    "seconds": 0.5,
    "processes": 1,
}
COLUMNS = {
    "rate": "publications/s",
    "deliveries_per_s": "deliveries/s",
    "lost": "lost",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "p999_ms": "p99.9 ms",
    "max_ms": "max ms",
    "server_us": "server us/delivery",
    "redis_us": "Redis us/delivery",
    "sent_late_ms": "sent late p99 ms",
    "clients": "clients' CPU",
}
PER_PUBLISHER = 50.0  # publications a second; servers allow 100 unless told otherwise
BURST = 32  # publications that are overdue, before what has come is read
WARM_S = 1.0
MIN_SIZE = STAMP_CHARACTERS + 1


@dataclass(frozen=True, slots=True)
class Settings:
    """What all processes are told. Connections below *publishers* publish."""

    publishers: int
    channels: int
    size: int
    patience_s: float


@dataclass(frozen=True, slots=True)
class Load:
    """One step: *count* publications, *rate* a second from *start* on."""

    start: float
    rate: float
    count: int

    def due(self, number: int) -> float:
        """When publication *number* is to be sent."""
        return self.start + number / self.rate

    @property
    def end(self) -> float:
        """When the last one is due."""
        return self.due(self.count)


@dataclass(frozen=True, slots=True)
class Heard:
    """What one process has read in one step."""

    latencies: Histogram
    late: Histogram  # of sending
    expected: int
    last_at: float
    failures: dict[str, int]


class Audience(Joining):
    """Subscribers and publishers of one process."""

    def channel(self, number: int) -> str:
        """Return the name of channel *number*."""
        return f"bench:{self.share.label}-{number}"

    def begin(self, client: Client) -> int:
        settings: Settings = self.share.settings
        if client.number < settings.publishers:
            return 0
        place = (client.number - settings.publishers) % settings.channels
        return self.subscribe(client, self.channel(place))

    def measure(self, load: Load) -> Heard:
        """Publish what is ours to publish, and read."""
        settings: Settings = self.share.settings
        self._load = load
        self._latencies, self._late = Histogram(), Histogram()
        self._failures: Counter[str] = Counter()
        self._last_at = load.start
        expected = self._expected(load)
        left = iter(self._ours(load))
        upcoming = next(left, None)
        while not self.stopped:
            now = clock()
            for _ in range(BURST):
                if upcoming is None or load.due(upcoming) > now:
                    break
                self._publish(upcoming, settings, now)
                upcoming = next(left, None)
            if upcoming is None and self._latencies.count >= expected:
                break
            if now > load.end + settings.patience_s:
                break
            self.turn(load.due(upcoming) if upcoming is not None else now + 1)
            self.progress(self._latencies.count)
        return Heard(
            self._latencies, self._late, expected, self._last_at, dict(self._failures)
        )

    def _expected(self, load: Load) -> int:
        """Return how many deliveries the subscribers here are owed."""
        settings: Settings = self.share.settings
        full, rest = divmod(load.count, settings.channels)
        return sum(
            full + ((client.number - settings.publishers) % settings.channels < rest)
            for client in self.inside.values()
            if client.number >= settings.publishers
        )

    def _ours(self, load: Load) -> Iterator[int]:
        settings: Settings = self.share.settings
        ours = [n for n in self.share.numbers if n < settings.publishers]
        for first in range(0, load.count, settings.publishers):
            yield from (first + one for one in ours if first + one < load.count)

    def _publish(self, number: int, settings: Settings, now: float) -> None:
        due = self._load.due(number)
        self._late.add(now - due)
        channel = self.channel(number % settings.channels)
        data = stamped(self.share.run, due, settings.size)
        client = self.inside.get(number % settings.publishers)
        if client is None:
            self._failures["not published: the publisher is gone"] += 1
        else:
            self.clients.send(client, self.share.dialect.publish(channel, data))

    # -- Listener ------------------------------------------------------------------

    def said(self, client: Client, said: Said, now: float) -> None:
        if isinstance(said, Delivery):
            due = due_of(said.stamp, self.share.run)
            # A stamp is cut to microseconds; what is older is of the step before.
            if due is not None and due > self._load.start - 1e-5:
                self._latencies.add(now - due)
                self._last_at = now
        elif isinstance(said, Refused) and client.number in self.inside:
            self._failures[said.sentence] += 1
        else:
            super().said(client, said, now)

    def lost(self, client: Client, end: End) -> None:
        self._failures[f"lost a connection: {end.sentence}"] += 1


# -- the parent ------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    parser.add_argument(
        "--subscribers",
        type=int,
        default=1000,
        metavar="N",
        help="of all channels together (default 1000)",
    )
    parser.add_argument(
        "--channels", type=int, default=1, metavar="C", help="how many (default 1)"
    )
    parser.add_argument(
        "--rates",
        type=numbers,
        default=[1.0, 5.0, 10.0, 20.0],
        metavar="R,R,...",
        help="publications per second, over all channels (default 1,5,10,20); times "
        "the subscribers of a channel, these are the deliveries",
    )
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="of each rate (default 5)"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=5.0,
        metavar="S",
        help="seconds after the last publication of a rate until what has not come is "
        "lost (default 5)",
    )
    parser.add_argument(
        "--size",
        type=int,
        default=100,
        metavar="BYTES",
        help=f"of the data of a publication (default 100, at least {MIN_SIZE})",
    )
    parser.add_argument(
        "--publishers",
        type=int,
        metavar="N",
        help="connections that publish (default: as many as the highest rate needs at "
        f"{PER_PUBLISHER:g} publications a second each)",
    )


def check(options: argparse.Namespace) -> None:
    """
    Check the options.

    Raises:
        BenchError: Naming the one that is wrong.
    """
    for name, least in (("subscribers", 1), ("channels", 1), ("size", MIN_SIZE)):
        if getattr(options, name) < least:
            raise BenchError(f"--{name} must be {least} or more")
    if not options.rates or min(options.rates) <= 0 or options.seconds <= 0:
        raise BenchError("--rates and --seconds must be above 0")
    if options.publishers is not None and options.publishers < 1:
        raise BenchError("--publishers must be 1 or more")


def run(options: argparse.Namespace) -> Result:
    """Measure."""
    check(options)
    with opened(options, "fanout") as bench:
        return measure(bench)


def measure(bench: Bench) -> Result:
    """Publish at one rate after the other."""
    options = bench.options
    publishers = options.publishers or max(
        int(max(options.rates) / PER_PUBLISHER + 0.999), 1
    )
    settings = Settings(publishers, options.channels, options.size, options.patience)
    connections = publishers + options.subscribers
    rows: list[Row] = []
    with bench.crowd(Audience, connections, settings) as crowd:
        warnings = join(bench, crowd, connections)
        _step(bench, crowd, options.rates[0], min(WARM_S, options.seconds))
        for rate in options.rates:
            if bench.stop:
                break
            row, doubtful = _step(bench, crowd, rate, options.seconds)
            warnings += doubtful
            if row:
                rows.append(row)
    series = lines_of(rows, "deliveries_per_s", "deliveries/s", LINES)
    return bench.result(COLUMNS, rows, series, warnings)


LINES = (
    ("From due to read", "p50", "p50_ms", "ms"),
    ("From due to read", "p99", "p99_ms", "ms"),
    ("From due to read", "p99.9", "p999_ms", "ms"),
    ("Server", "processor time of a delivery", "server_us", "us"),
)


def _step(
    bench: Bench, crowd: Crowd[Audience], rate: float, seconds: float
) -> tuple[Row, list[str]]:
    """Publish at one rate; return the row (empty if nothing came) and warnings."""
    before = bench.costs()
    load = Load(crowd.soon(), rate, max(int(rate * seconds), 1))
    what, total = f"{rate:g} publications/s", load.count * bench.options.subscribers
    with bench.display.step(what, total) as step:
        heard: list[Heard] = crowd.do("measure", load, on_progress=step)
    costs = bench.costs() - before
    why = sum_up([one.failures for one in heard])
    warnings = failures_of(why, "failures") + doubts(crowd.busy, costs)
    if not any(one.latencies.count for one in heard):
        return {}, [*warnings, f"nothing came at {what}"]
    row = _row(load, heard, costs, stopped=bool(bench.stop))
    return {**row, "clients": f"{crowd.busy:.0%}"}, warnings


def _row(
    load: Load, heard: Sequence[Heard], costs: Costs, *, stopped: bool
) -> dict[str, Cell]:
    latencies = merged(one.latencies for one in heard)
    late = merged(one.late for one in heard)
    took_s = max(one.last_at for one in heard) - load.start
    least_s = 1e-6 if stopped else load.end - load.start
    lost = sum(one.expected for one in heard) - latencies.count
    return {
        "rate": load.rate,
        "deliveries": latencies.count,
        "deliveries_per_s": latencies.count / max(took_s, least_s),
        "lost": 0 if stopped else lost,
        **latencies.percentiles(),
        "server_us": costs.node_us_per(latencies.count),
        "redis_us": costs.redis_us_per(latencies.count),
        "sent_late_ms": late.quantile_ms(0.99),
    }
