"""
Question: how fast do clients come in, and how much memory does an idle one take?

Method: connections are opened in steps until all are there; each signs in and
subscribes to a channel, and stays. A step tells how many came in, how many a second,
how long each took from the moment at which it was *due* (so a client that the load
generator could not open in time counts as late), and, of a server that is started here,
the processor time for each connect and the private memory for each connection that is
open and quiet. --rate 0 is a storm: all connections of a step are due at once, as after
a deploy; with --retries, those that are turned away come back when they were told to.

examples:
  PROGRAM
      a server started here, 1,000 connections in five steps
  PROGRAM --connections 15000 --rate 1000 --plot memory.html
      memory over the number of connections, as a picture
  PROGRAM --url wss://rt.example.com --secret-file hmac.secret --yes-this-is-mine \\
          --connections 10000 --rate 0 --retries 5
      a storm on your own deployment
"""

from __future__ import annotations

import argparse
import random
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from realtime.bench.client import Client, End
from realtime.bench.costs import Costs, memory_kib
from realtime.bench.crowd import Crowd, Worker, clock, sum_up
from realtime.bench.dialects.port import Refused, Said, Subscribed
from realtime.bench.errors import BenchError
from realtime.bench.histogram import Histogram, merged
from realtime.bench.joining import failures_of
from realtime.bench.program import Bench, doubts, opened
from realtime.bench.result import Result, Row, lines_of

SMOKE: Mapping[str, object] = {
    "connections": 40,
    "steps": 2,
    "rate": 200.0,
    "quiet_s": 0.1,
    "processes": 1,
}
COLUMNS = {
    "connections": "connections",
    "failed": "failed",
    "per_s": "connects/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "p999_ms": "p99.9 ms",
    "max_ms": "max ms",
    "server_us": "server us/connect",
    "each_kib": "KiB each",
    "server_mib": "server MiB",
    "clients": "clients' CPU",
}
CHANNELS = ("own", "one", "none")
AT_ONCE = 512  # handshakes under way in one process
WARM = 100  # connections before memory counts: code and caches are nobody's
PATIENCE_S = 30.0  # without anybody coming in
JITTER = 0.5  # of the time after which somebody was told to come back


@dataclass(frozen=True, slots=True)
class Settings:
    """What all processes are told."""

    channels: str
    retries: int


@dataclass(frozen=True, slots=True)
class Came:
    """How one step went in one process."""

    latencies: Histogram
    last_at: float
    failures: dict[str, int]
    lost: int


class Guest(Client):
    """A connection that may have to come back."""

    __slots__ = ("inside", "retry_at", "tries")

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.inside = False
        self.tries = 0
        self.retry_at = 0.0


class Guests(Worker):
    """All connections of one process."""

    def prepare(self) -> None:
        """Begin with nobody."""
        self._inside = 0
        self._under_way: set[Guest] = set()
        self._again: list[Guest] = []
        self._heard_at = 0.0
        self._forget(0.0)

    def _forget(self, start: float) -> None:
        self._latencies = Histogram()
        self._failures: Counter[str] = Counter()
        self._last_at, self._lost = start, 0

    def enter(self, start: float, first: int, end: int, rate: float) -> Came:
        """
        Open connections *first* to *end* (exclusive), of which *rate* a second are due
        in all processes together, or all at once if it is 0.
        """
        self._forget(start)
        due = deque(self._guests(start, first, end, rate))
        self._heard_at = start
        while not self.stopped and (due or self._under_way or self._again):
            now = clock()
            while due and due[0].due <= now and len(self._under_way) < AT_ONCE:
                self._knock(due.popleft())
            self._come_back(now)
            if now > self._heard_at + PATIENCE_S:
                self._give_up()
                break
            self.turn(due[0].due if due and len(self._under_way) < AT_ONCE else now + 1)
            self.progress(self._inside)
        return Came(self._latencies, self._last_at, dict(self._failures), self._lost)

    def stay(self, seconds: float) -> int:
        """Be quiet for a while; return how many are inside afterwards."""
        self.wait_until(clock() + seconds)
        return self._inside

    def _guests(
        self, start: float, first: int, end: int, rate: float
    ) -> Iterator[Guest]:
        for number in self.share.numbers:
            if first <= number < end:
                guest = Guest(number)
                guest.due = start + ((number - first) / rate if rate else 0.0)
                yield guest

    def _knock(self, guest: Guest) -> None:
        self.share.sign_in(guest, device=False)
        self._under_way.add(guest)
        self.clients.open(guest, guest.due)
        self._heard_at = max(self._heard_at, guest.due)

    def _come_back(self, now: float) -> None:
        ready = [guest for guest in self._again if guest.retry_at <= now]
        if ready:
            self._again = [guest for guest in self._again if guest.retry_at > now]
            for guest in ready:
                self._knock(guest)
        if self._again:
            self._heard_at = now  # they wait because they were told to

    def _give_up(self) -> None:
        for guest in list(self._under_way):
            self._fail(guest, f"not in within {PATIENCE_S:g} s")

    def _fail(self, guest: Guest, why: str) -> None:
        self._under_way.discard(guest)
        self._failures[why] += 1
        self.clients.cut(guest)

    def _enter(self, guest: Guest, now: float) -> None:
        self._under_way.discard(guest)
        guest.inside = True
        self._inside += 1
        self._latencies.add(now - guest.due)
        self._heard_at = self._last_at = now

    # -- Listener ------------------------------------------------------------------

    def ready(self, client: Client, now: float) -> None:
        settings: Settings = self.share.settings
        if settings.channels == "none":
            self._enter(_guest(client), now)
            return
        own = f"{self.share.label}-{client.number}"
        channel = f"bench:{own if settings.channels == 'own' else 'all'}"
        for payload in self.share.dialect.subscribe(channel):
            self.clients.send(client, payload)
        if not self.share.dialect.answers:
            self._enter(_guest(client), now)

    def said(self, client: Client, said: Said, now: float) -> None:
        guest = _guest(client)
        if guest.inside:
            return
        if isinstance(said, Subscribed):
            self._enter(guest, now)
        elif isinstance(said, Refused):
            self._fail(guest, said.sentence)

    def ended(self, client: Client, end: End, now: float) -> None:
        guest = _guest(client)
        if guest.inside:
            guest.inside = False
            self._inside -= 1
            self._lost += 1
            self._failures[f"lost afterwards: {end.sentence}"] += 1
        elif guest in self._under_way:
            settings: Settings = self.share.settings
            if end.retry_after_s is not None and guest.tries < settings.retries:
                self._under_way.discard(guest)
                guest.tries += 1
                late = end.retry_after_s * random.uniform(1.0, 1.0 + JITTER)
                guest.retry_at = now + late
                self._again.append(guest)
            else:
                self._fail(guest, _grouped(end))


def _guest(client: Client) -> Guest:
    assert isinstance(client, Guest)
    return client


def _grouped(end: End) -> str:
    """Return the sentence without what differs from one to the other."""
    return end.sentence.partition(" Retry in ")[0]


# -- the parent ------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    parser.add_argument(
        "--connections",
        type=int,
        default=1000,
        metavar="N",
        help="how many are there in the end (default 1000)",
    )
    parser.add_argument(
        "--steps", type=int, default=5, help="rows of the table (default 5)"
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=500.0,
        metavar="R",
        help="connections due per second, over all processes; 0: a storm, all at once "
        "(default 500)",
    )
    parser.add_argument(
        "--channels",
        choices=CHANNELS,
        default="own",
        help="what each subscribes to: a channel of its own (the default), one that "
        "all share, or none",
    )
    parser.add_argument(
        "--retries",
        type=int,
        default=0,
        metavar="N",
        help="how often who is turned away comes back after the time it was told "
        "(default 0: it has failed)",
    )
    parser.add_argument(
        "--quiet-s",
        type=float,
        default=2.0,
        metavar="S",
        help="seconds of silence before memory is read (default 2)",
    )


def run(options: argparse.Namespace) -> Result:
    """Measure."""
    if options.connections < 1 or options.steps < 1:
        raise BenchError("--connections and --steps must be 1 or more")
    if not options.rate >= 0 or not options.quiet_s >= 0:
        raise BenchError("--rate and --quiet-s must be 0 or more")
    with opened(options, "connect") as bench:
        return measure(bench)


def measure(bench: Bench) -> Result:
    """Fill the server step by step."""
    options = bench.options
    count: int = options.connections
    settings = Settings(options.channels, options.retries)
    with bench.crowd(Guests, count, settings) as crowd:
        crowd.do("prepare")
        party = _Party(bench, crowd)
        warm = min(WARM, count // (2 * options.steps))
        if warm:
            party.enter(warm)
            party.begin()
        for step in range(1, options.steps + 1):
            if bench.stop:
                break
            party.step(count * step // options.steps)
    series = lines_of(party.rows, "connections", "connections", LINES)
    return bench.result(COLUMNS, party.rows, series, party.warnings())


class _Party:
    """The steps so far."""

    def __init__(self, bench: Bench, crowd: Crowd[Guests]) -> None:
        self.rows: list[Row] = []
        self._doubts: list[str] = []
        self._failures: Counter[str] = Counter()
        self._bench = bench
        self._crowd = crowd
        self._asked = 0  # connections that were to come in
        self._came = 0  # those that ever did
        self._base: tuple[int, int] | None = None  # inside, KiB

    def warnings(self) -> list[str]:
        """Return why connections failed, and what makes the numbers doubtful."""
        return failures_of(self._failures, "connections failed") + self._doubts

    def enter(self, until: int) -> tuple[list[Came], float, Costs]:
        """Let more come in; return how it went, when it began, and what it cost."""
        bench, first = self._bench, self._asked
        self._asked = until
        before, start = bench.costs(), self._crowd.soon()
        with bench.display.step("connecting", until) as step:
            came: list[Came] = self._crowd.do(
                "enter", start, first, until, bench.options.rate, on_progress=step
            )
        costs = bench.costs() - before
        self._failures.update(sum_up([one.failures for one in came]))
        self._came += sum(one.latencies.count for one in came)
        if not self._came and not bench.stop:
            raise BenchError("; ".join(self.warnings()) or "nobody came in")
        self._doubts += doubts(self._crowd.busy, costs)
        return came, start, costs

    def begin(self) -> None:
        """Take the memory of now for what the server needs without clients."""
        inside = self._settle()
        kib = memory_kib(self._bench.target)
        self._base = None if kib is None else (inside, kib)

    def step(self, until: int) -> None:
        """Let more come in; add a row."""
        came, start, costs = self.enter(until)
        busy = self._crowd.busy
        latencies = merged(one.latencies for one in came)
        if not latencies.count and self._bench.stop:
            return
        took_s = max(max(one.last_at for one in came) - start, 1e-6)
        inside = self._settle()
        kib = memory_kib(self._bench.target)
        self.rows.append(
            {
                "connections": inside,
                "failed": self._asked - inside,
                "per_s": latencies.count / took_s,
                **latencies.percentiles(),
                "server_us": costs.node_us_per(latencies.count),
                "each_kib": self._each_kib(inside, kib),
                "server_mib": None if kib is None else kib / 1024,
                "clients": f"{busy:.0%}",
            }
        )

    def _settle(self) -> int:
        return sum(self._crowd.do("stay", self._bench.options.quiet_s))

    def _each_kib(self, inside: int, kib: int | None) -> float | None:
        if kib is None or self._base is None or inside <= self._base[0]:
            return None
        return (kib - self._base[1]) / (inside - self._base[0])


LINES = (
    ("Memory", "server", "server_mib", "MiB"),
    ("Memory of one", "each", "each_kib", "KiB"),
    ("From due to subscribed", "p50", "p50_ms", "ms"),
    ("From due to subscribed", "p99", "p99_ms", "ms"),
    ("From due to subscribed", "p99.9", "p999_ms", "ms"),
)
