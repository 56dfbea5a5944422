"""
Question: how many events a second are counted, and how soon are they acknowledged?

Method: devices sign in and send numbered events, single ones and in batches; the server
acknowledges what it has counted. Two ways for each size of batch:

    flood    every device sends its next batch as soon as the one before is
             acknowledged: how much goes through. With a tick (100 ms as a rule), each
             device sends some ten batches a second, so more devices send more.
    rates    events are due at fixed times, over all devices in turn, and latency
             counts from when one was due to its acknowledgement, whatever kept the
             sender from it: how long it takes at this load.

Of a server that is started here, the processor time per event is told, too, and of
Redis if there is one. A device that is told to slow down does so, and sends again.

examples:
  PROGRAM
      a server started here, its ledger in memory
  PROGRAM --redis auto --devices 2000 --batches 1,20 --no-rates
      the ledger in a Redis that is started here, only the floods
  PROGRAM --url wss://rt.example.com --secret-file hmac.secret --yes-this-is-mine \\
          --rates 1000,5000,10000 --plot ingest.html
      your own deployment; `realtime bench config` prints the counter it needs
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from realtime.bench.client import Client
from realtime.bench.costs import Costs
from realtime.bench.crowd import Crowd, clock, sum_up
from realtime.bench.devices import (
    EVENT,
    Batch,
    Device,
    Devices,
    cell,
    live_channel,
    schedule,
)
from realtime.bench.dialects.port import Event
from realtime.bench.errors import BenchError
from realtime.bench.histogram import Histogram, merged
from realtime.bench.joining import failures_of, join
from realtime.bench.program import Bench, doubts, numbers, opened, whole_numbers
from realtime.bench.result import Cell, Result, Row, lines_of

SMOKE: Mapping[str, object] = {
    "devices": 10,
    "batches": [1, 5],
    "rates": [50.0],
    "seconds": 0.5,
    "processes": 1,
}
COLUMNS = {
    "batch": "batch",
    "way": "way",
    "events_per_s": "events/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "p999_ms": "p99.9 ms",
    "max_ms": "max ms",
    "slowed": "slowed down",
    "missing": "not acknowledged",
    "server_us": "server us/event",
    "redis_us": "Redis us/event",
    "sent_late_ms": "sent late p99 ms",
    "clients": "clients' CPU",
}
PATIENCE_S = 10.0  # after the last event
WARM_S = 1.0
BURST = 32  # batches that are overdue, before what has come is read


@dataclass(frozen=True, slots=True)
class Settings:
    """What all processes are told."""

    cells: int


@dataclass(frozen=True, slots=True)
class Counted:
    """What one process has sent and seen acknowledged in one step."""

    latencies: Histogram
    late: Histogram  # of sending
    events: int
    missing: int
    slowed: int
    last_at: float
    failures: dict[str, int]


class Senders(Devices):
    """The devices of one process."""

    def begin(self, client: Client) -> int:
        # Events that nothing counts are cheap. The first one looks whether there is a
        # counter, by the value of a cell that nobody changes.
        first = client.number == 0
        channel = live_channel(self.share.label, self.share.settings.cells)
        return self.subscribe(client, channel) if first else 0

    def flood(self, start: float, seconds: float, batch: int) -> Counted:
        """Let each device send as often as it is answered."""
        self._begin(start)
        self.wait_until(start)
        self._flood_until, self._batch = start + seconds, batch
        for device in self.devices:
            self._send(device, batch, clock())
        self._settle(start + seconds)
        return self._counted()

    def paced(self, start: float, seconds: float, batch: int, rate: float) -> Counted:
        """Send *rate* events a second, over all processes, in batches."""
        self._begin(start)
        gap_s = batch / rate
        count = max(int(seconds / gap_s), 1)
        devices = {device.number: device for device in self.devices}
        ours = sorted(devices)
        left = schedule(count, gap_s, start, self.share.connections, ours)
        upcoming = next(left, None)
        while not self.stopped and upcoming is not None:
            now = clock()
            for _ in range(BURST):
                if upcoming is None or upcoming[0] > now:
                    break
                due, number = upcoming
                self._late.add(now - due)
                if number in self.inside:
                    self._send(devices[number], batch, due)
                upcoming = next(left, None)
            self.resume(now)
            self.turn(upcoming[0] if upcoming else now)
            self.progress(self._events)
        self._settle(start + seconds)
        return self._counted()

    def _begin(self, start: float) -> None:
        self._latencies, self._late = Histogram(), Histogram()
        self._events, self._last_at = 0, start
        self._flood_until, self._batch = 0.0, 0
        self.failures.clear()
        self.slowed = 0

    def _send(self, device: Device, batch: int, due: float) -> None:
        self.track(device, self._some(device, batch), due)

    def _some(self, device: Device, batch: int) -> Sequence[Event]:
        now = round(time.time(), 3)
        cells: int = self.share.settings.cells
        places = ((device.next + device.number + n) % cells for n in range(batch))
        label = self.share.label
        return [
            {"name": EVENT, "at": now, "properties": {"post": cell(label, place)}}
            for place in places
        ]

    def _settle(self, end: float) -> None:
        """Wait until all is acknowledged, but not for ever."""
        give_up = end + PATIENCE_S
        while not self.stopped and clock() < give_up:
            now = clock()
            if now >= end and self.settled():
                break
            self.resume(now)
            self.turn(now + 1)
            self.progress(self._events)

    def acknowledged(self, device: Device, batch: Batch, now: float) -> None:
        self._latencies.add(now - batch.due)
        self._events += batch.last - batch.first + 1
        self._last_at = now
        if now < self._flood_until and not self.stopped:
            self._send(device, self._batch, now)

    def _counted(self) -> Counted:
        missing = 0
        for device in self.devices:
            missing += sum(one.last - one.first + 1 for one in device.waiting)
        return Counted(
            self._latencies,
            self._late,
            self._events,
            missing,
            self.slowed,
            self._last_at,
            dict(self.failures),
        )


# -- the parent ------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    parser.add_argument(
        "--devices", type=int, default=500, metavar="N", help="how many (default 500)"
    )
    parser.add_argument(
        "--batches",
        type=whole_numbers,
        default=[1, 20],
        metavar="N,N,...",
        help="events in one message (default 1,20)",
    )
    parser.add_argument(
        "--rates",
        type=numbers,
        default=[500.0, 1000.0, 2000.0],
        metavar="R,R,...",
        help="events per second, of all devices together (default 500,1000,2000)",
    )
    parser.add_argument(
        "--no-rates", action="store_true", help="no rates: only the floods"
    )
    parser.add_argument(
        "--no-flood", action="store_true", help="no floods: only the rates"
    )
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="of each row (default 5)"
    )
    parser.add_argument(
        "--cells",
        type=int,
        default=100,
        metavar="N",
        help="combinations of dimensions that are counted into (default 100)",
    )


def run(options: argparse.Namespace) -> Result:
    """Measure."""
    if options.devices < 1 or options.cells < 1 or options.seconds <= 0:
        raise BenchError("--devices, --cells and --seconds must be above 0")
    if not options.no_rates and (not options.rates or min(options.rates) <= 0):
        raise BenchError("--rates must be above 0")
    if options.no_rates and options.no_flood:
        raise BenchError("--no-rates and --no-flood leave nothing to do")
    with opened(options, "ingest") as bench:
        return measure(bench)


def measure(bench: Bench) -> Result:
    """Send in all ways, one after the other."""
    options = bench.options
    rows: list[Row] = []
    with bench.crowd(Senders, options.devices, Settings(options.cells)) as crowd:
        warnings = join(bench, crowd, options.devices)
        warm_s = min(WARM_S, options.seconds)
        _step(bench, crowd, options.batches[0], None, warm_s)
        for batch, rate in _ways(options):
            if bench.stop:
                break
            row, doubtful = _step(bench, crowd, batch, rate, options.seconds)
            warnings += doubtful
            if row:
                rows.append(row)
    paced = [row for row in rows if row["rate"] is not None]
    series = [
        line
        for batch in options.batches
        for line in lines_of(
            [row for row in paced if row["batch"] == batch],
            "events_per_s",
            "events/s",
            _lines(batch),
        )
    ]
    return bench.result(COLUMNS, rows, series, warnings)


def _ways(options: argparse.Namespace) -> list[tuple[int, float | None]]:
    ways: list[tuple[int, float | None]] = []
    for batch in options.batches:
        if not options.no_flood:
            ways.append((batch, None))
        if not options.no_rates:
            ways += [(batch, rate) for rate in options.rates]
    return ways


def _lines(batch: int) -> tuple[tuple[str, str, str, str], ...]:
    of = f"in batches of {batch}" if batch > 1 else "single"
    chart = f"From due to acknowledged, {of}"
    return (
        (chart, "p50", "p50_ms", "ms"),
        (chart, "p99", "p99_ms", "ms"),
        (chart, "p99.9", "p999_ms", "ms"),
    )


def _step(
    bench: Bench,
    crowd: Crowd[Senders],
    batch: int,
    rate: float | None,
    seconds: float,
) -> tuple[Row, list[str]]:
    """Send in one way; return the row (empty if nothing was counted) and warnings."""
    before, start = bench.costs(), crowd.soon()
    way = "flood" if rate is None else f"{rate:g}/s"
    order: tuple[str, *tuple[object, ...]] = ("flood", start, seconds, batch)
    if rate is not None:
        order = ("paced", start, seconds, batch, rate)
    with bench.display.step(f"batches of {batch}, {way}", (rate or 0) * seconds) as bar:
        found: list[Counted] = crowd.do(*order, on_progress=bar)
    costs = bench.costs() - before
    why = sum_up([one.failures for one in found])
    warnings = failures_of(why, "failures") + doubts(crowd.busy, costs)
    if not any(one.events for one in found):
        return {}, [*warnings, f"nothing was counted ({way}, batches of {batch})"]
    row = {"batch": batch, "way": way, "rate": rate, **_row(start, found, costs)}
    return {**row, "clients": f"{crowd.busy:.0%}"}, warnings


def _row(start: float, found: Sequence[Counted], costs: Costs) -> dict[str, Cell]:
    events = sum(one.events for one in found)
    took_s = max(max(one.last_at for one in found) - start, 1e-6)
    return {
        "events": events,
        "events_per_s": events / took_s,
        **merged(one.latencies for one in found).percentiles(),
        "slowed": sum(one.slowed for one in found) or None,
        "missing": sum(one.missing for one in found) or None,
        "server_us": costs.node_us_per(events),
        "redis_us": costs.redis_us_per(events),
        "sent_late_ms": merged(one.late for one in found).quantile_ms(0.99),
    }
