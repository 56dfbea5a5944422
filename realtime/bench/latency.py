"""
Question: how long after something happens on one device does another device see it?

Method: two ways, each over a series of loads.

    counter        devices track events; every device's events have a cell of their own,
                   whose live channel some of the watchers show. The value that comes
                   tells exactly which events are in it.
    publication    the same devices publish on channels of their own, which the same
                   watchers are subscribed to.

Latency counts from when something was *due*, whatever kept the sender from it, until a
watcher has read it. A counter is pushed once per tick (100 ms unless configured
otherwise), so even an ideal server takes half a tick at p50 and a whole one at p99; of
a server that is started here, latencies are told in ticks, too. With several servers
(--nodes, or --url several times), devices are at the first and watchers at the last.

examples:
  PROGRAM
      a server started here, 100 to 2,000 events a second
  PROGRAM --nodes 2 --rates 500,1000,2000,4000 --plot latency.html
      from one server to another through Redis, as a picture
  PROGRAM --url wss://rt.example.com --secret-file hmac.secret --yes-this-is-mine
      your own deployment; `realtime bench config` prints what it needs
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from realtime.bench.client import Client
from realtime.bench.crowd import Crowd, clock, sum_up
from realtime.bench.devices import (
    EVENT,
    Device,
    Devices,
    cell,
    live_channel,
    schedule,
)
from realtime.bench.dialects.port import (
    Delivery,
    Said,
    Subscribed,
    Value,
    due_of,
    stamped,
)
from realtime.bench.errors import BenchError
from realtime.bench.histogram import Histogram, merged
from realtime.bench.joining import failures_of, join
from realtime.bench.program import Bench, doubts, numbers, opened
from realtime.bench.result import Result, Row, Series, lines_of

SMOKE: Mapping[str, object] = {
    "devices": 5,
    "watchers": 10,
    "rates": [50.0],
    "seconds": 0.5,
    "processes": 1,
}
COLUMNS = {
    "way": "way",
    "rate": "sent/s",
    "samples": "samples",
    "lost": "lost",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "p999_ms": "p99.9 ms",
    "max_ms": "max ms",
    "p50_ticks": "p50 ticks",
    "p99_ticks": "p99 ticks",
    "server_us": "server us/sample",
    "sent_late_ms": "sent late p99 ms",
    "clients": "clients' CPU",
}
WAYS = ("counter", "publication")
PATIENCE_S = 10.0  # after the last one
BURST = 32  # that are overdue, before what has come is read
WARM_S = 1.0
SIZE = 100  # of a publication's data


@dataclass(frozen=True, slots=True)
class Settings:
    """What all processes are told. Connections below *devices* are devices."""

    devices: int


@dataclass(frozen=True, slots=True)
class Load:
    """
    One step: *count* messages, *rate* a second from *start* on, from devices in turn;
    each of *batch* events.
    """

    way: str
    start: float
    rate: float
    count: int
    devices: int
    batch: int = 1

    @property
    def end(self) -> float:
        """When the last one is due."""
        return self.start + self.count / self.rate

    def owed(self, device: int) -> int:
        """Return how many are of a device."""
        full, rest = divmod(self.count, self.devices)
        return full + (device < rest)

    def due(self, device: int, place: int) -> float:
        """Return when the one at *place* (from 0) of a device is to be sent."""
        return self.start + (place * self.devices + device) / self.rate


@dataclass(frozen=True, slots=True)
class Seen:
    """What one process has seen in one step."""

    latencies: Histogram
    late: Histogram  # of sending
    expected: int
    failures: dict[str, int]


class Watcher(Client):
    """
    A screen. ``shown`` is the value of its counter, ``base`` that before a step, once
    everything of earlier steps is counted, and ``owed`` that after it.
    """

    __slots__ = ("base", "owed", "shown")

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.base = 0
        self.owed = 0
        self.shown = 0


class Screens(Devices):
    """Devices and watchers of one process."""

    def is_device(self, number: int) -> bool:
        settings: Settings = self.share.settings
        return number < settings.devices

    def make(self, number: int) -> Client:
        endpoints = self.share.target.endpoints
        client: Client
        if self.is_device(number):
            client = super().make(number)
            client.endpoint = endpoints[0]
        else:
            client = Watcher(number)
            self.share.sign_in(client, device=False)
            client.endpoint = endpoints[-1]
        return client

    def begin(self, client: Client) -> int:
        if not isinstance(client, Watcher):
            return 0
        label, device = self.share.label, self._watched(client)
        return self.subscribe(client, live_channel(label, device)) + self.subscribe(
            client, self._channel(device)
        )

    def _watched(self, watcher: Client) -> int:
        settings: Settings = self.share.settings
        return (watcher.number - settings.devices) % settings.devices

    def _channel(self, device: int) -> str:
        return f"bench:{self.share.label}-{device}"

    def _watchers(self) -> Iterator[Watcher]:
        return (one for one in self.inside.values() if isinstance(one, Watcher))

    def measure(self, load: Load) -> Seen:
        """Send what is ours to send, and watch."""
        self._load = load
        self._latencies, self._late = Histogram(), Histogram()
        self.failures.clear()
        expected = sum(load.owed(self._watched(one)) for one in self._watchers())
        for one in self._watchers():
            # What a server that is behind has still to count is none of this step's.
            one.base = max(one.shown, one.owed)
            if load.way == "counter":
                owed = load.owed(self._watched(one))
                one.owed = one.base + owed * load.batch
        devices = {device.number: device for device in self.devices}
        left = schedule(
            load.count, 1 / load.rate, load.start, load.devices, sorted(devices)
        )
        upcoming = next(left, None)
        while not self.stopped:
            now = clock()
            for _ in range(BURST):
                if upcoming is None or upcoming[0] > now:
                    break
                self._send(devices[upcoming[1]], upcoming[0], now)
                upcoming = next(left, None)
            if upcoming is None and self._latencies.count >= expected:
                break
            if now > load.end + PATIENCE_S:
                break
            self.resume(now)
            self.turn(upcoming[0] if upcoming else now + 1)
            self.progress(self._latencies.count)
        return Seen(self._latencies, self._late, expected, dict(self.failures))

    def _send(self, device: Device, due: float, now: float) -> None:
        self._late.add(now - due)
        if device.number not in self.inside:
            return
        if self._load.way == "counter":
            post = cell(self.share.label, device.number)
            event = {"name": EVENT, "properties": {"post": post}}
            self.track(device, [event] * self._load.batch, due)
        else:
            data = stamped(self.share.run, due, SIZE)
            channel = self._channel(device.number)
            self.clients.send(device, self.share.dialect.publish(channel, data))

    # -- Listener ------------------------------------------------------------------

    def said(self, client: Client, said: Said, now: float) -> None:
        if isinstance(client, Watcher):
            if isinstance(said, Value):
                self._show(client, int(said.value), now)
                return
            if isinstance(said, Delivery):
                self._take(said, now)
                return
            if isinstance(said, Subscribed) and said.value is not None:
                client.shown = int(said.value)
        super().said(client, said, now)

    def _show(self, watcher: Watcher, value: int, now: float) -> None:
        """Every batch that makes the value what it is now has been seen now."""
        if value <= watcher.shown:
            return
        device, batch = self._watched(watcher), self._load.batch
        seen = max(watcher.shown - watcher.base, 0)
        sees = value - watcher.base
        for place in range(seen // batch, sees // batch):
            self._latencies.add(now - self._load.due(device, place))
        watcher.shown = value

    def _take(self, said: Delivery, now: float) -> None:
        due = due_of(said.stamp, self.share.run)
        # A stamp is cut to microseconds; what is older is of the step before.
        if due is not None and due > self._load.start - 1e-5:
            self._latencies.add(now - due)


# -- the parent ------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    parser.add_argument(
        "--way",
        choices=(*WAYS, "both"),
        default="both",
        help="what is measured (default both)",
    )
    parser.add_argument(
        "--devices",
        type=int,
        default=100,
        metavar="N",
        help="who send, each to a counter cell and a channel of its own (default 100)",
    )
    parser.add_argument(
        "--watchers",
        type=int,
        default=200,
        metavar="N",
        help="who watch, spread over the devices (default 200)",
    )
    parser.add_argument(
        "--rates",
        type=numbers,
        default=[100.0, 500.0, 1000.0, 2000.0],
        metavar="R,R,...",
        help="events or publications per second, of all devices together "
        "(default 100,500,1000,2000)",
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=1,
        metavar="N",
        help="events in one message, which make one sample (default 1)",
    )
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="of each rate and way (default 5)"
    )


def run(options: argparse.Namespace) -> Result:
    """Measure."""
    if min(options.devices, options.watchers, options.batch) < 1:
        raise BenchError("--devices, --watchers and --batch must be 1 or more")
    if not options.rates or min(options.rates) <= 0 or options.seconds <= 0:
        raise BenchError("--rates and --seconds must be above 0")
    with opened(options, "latency") as bench:
        return measure(bench)


def measure(bench: Bench) -> Result:
    """Send in both ways at one rate after the other."""
    options = bench.options
    ways = WAYS if options.way == "both" else (options.way,)
    connections = options.devices + options.watchers
    rows: list[Row] = []
    with bench.crowd(Screens, connections, Settings(options.devices)) as crowd:
        warnings = join(bench, crowd, connections)
        for way in ways:
            _step(bench, crowd, way, options.rates[0], min(WARM_S, options.seconds))
            for rate in options.rates:
                if bench.stop:
                    break
                row, doubtful = _step(bench, crowd, way, rate, options.seconds)
                warnings += doubtful
                if row:
                    rows.append(row)
    series = [line for way in ways for line in _series(rows, way)]
    return bench.result(COLUMNS, rows, series, warnings)


def _series(rows: Sequence[Row], way: str) -> list[Series]:
    chart = {
        "counter": "From an event to another's screen, as a counter",
        "publication": "From publishing to another's screen",
    }[way]
    lines = (
        (chart, "p50", "p50_ms", "ms"),
        (chart, "p99", "p99_ms", "ms"),
        (chart, "p99.9", "p999_ms", "ms"),
    )
    return lines_of([row for row in rows if row["way"] == way], "rate", "sent/s", lines)


def _step(
    bench: Bench, crowd: Crowd[Screens], way: str, rate: float, seconds: float
) -> tuple[Row, list[str]]:
    """Send at one rate; return the row (empty if nothing came) and warnings."""
    load = _load(bench, way, crowd.soon(), rate, seconds)
    before, watchers = bench.costs(), range(bench.options.watchers)
    total = sum(load.owed(number % load.devices) for number in watchers)
    with bench.display.step(f"{way}, {rate:g}/s", total) as step:
        seen: list[Seen] = crowd.do("measure", load, on_progress=step)
    costs = bench.costs() - before
    why = sum_up([one.failures for one in seen])
    warnings = failures_of(why, "failures") + doubts(crowd.busy, costs)
    latencies = merged(one.latencies for one in seen)
    if not latencies.count:
        return {}, [*warnings, f"nothing came ({way}, {rate:g}/s)"]
    lost = sum(one.expected for one in seen) - latencies.count
    return {
        "way": way,
        "rate": rate,
        "samples": latencies.count,
        "lost": 0 if bench.stop else lost,
        **latencies.percentiles(),
        **_in_ticks(bench, way, latencies),
        "server_us": costs.node_us_per(latencies.count),
        "sent_late_ms": merged(one.late for one in seen).quantile_ms(0.99),
        "clients": f"{crowd.busy:.0%}",
    }, warnings


def _load(bench: Bench, way: str, start: float, rate: float, seconds: float) -> Load:
    batch = bench.options.batch if way == "counter" else 1
    count = max(int(rate * seconds) // batch, 1)
    return Load(way, start, rate / batch, count, bench.options.devices, batch)


def _in_ticks(bench: Bench, way: str, latencies: Histogram) -> dict[str, float | None]:
    tick_s = bench.target.tick_s
    if tick_s is None or way != "counter":
        return {"p50_ticks": None, "p99_ticks": None}
    return {
        "p50_ticks": latencies.quantile_ms(0.5) / (tick_s * 1e3),
        "p99_ticks": latencies.quantile_ms(0.99) / (tick_s * 1e3),
    }
