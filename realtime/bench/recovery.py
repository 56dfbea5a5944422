"""
Question: does a client that loses its connection get what it has missed: all of it,
once, in order, and soon?

Method: subscribers of channels with a history, and publications at fixed times. Each
subscriber's connection is cut --cuts times: its socket is closed (or reset) without a
word, it is away for a while (each of --downs is a row), connects again and subscribes
since its position, as a phone after a tunnel does. In the end every publication that
the server has taken is looked for at every subscriber:

    doubled, out of order   came again, or after a later one
    told lost               the server has said so (recovered: false, or gap)
    missing                 neither came nor was told lost: this must be 0

The time to catch up counts from when the client wanted its connection back until it has
everything and is subscribed, with refusals and pauses in between. Of a server that is
started here, the processor time is told, too: what the cuts cost is what was used
beyond the same publications without cuts, which come first.

Servers may be restarted or moved meanwhile: whoever loses its connection to that comes
back in the same way, and is counted as dropped.

examples:
  PROGRAM
      a server started here, 200 subscribers, away for 1 s and for 3 s
  PROGRAM --together --subscribers 2000 --downs 1,5,20
      everybody is cut at the same time
  PROGRAM --url wss://rt.example.com --token-file tokens.txt --yes-this-is-mine
      your own deployment; it needs the namespace bench_history, with a history that is
      longer than the clients are away
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace

from realtime.bench.costs import Costs
from realtime.bench.crowd import Crowd, sum_up
from realtime.bench.cuts import Settings, Step, Travelled
from realtime.bench.dialects.native import Native
from realtime.bench.dialects.port import STAMP_CHARACTERS
from realtime.bench.errors import BenchError
from realtime.bench.histogram import merged
from realtime.bench.joining import failures_of, join
from realtime.bench.journal import Account
from realtime.bench.program import Bench, doubts, numbers, opened
from realtime.bench.result import Result, Row, lines_of
from realtime.bench.returning import Travellers

SMOKE: Mapping[str, object] = {
    "subscribers": 10,
    "cuts": 1,
    "downs": [0.3],
    "up": 0.3,
    "processes": 1,
}
COLUMNS = {
    "down_s": "away s",
    "cuts": "cuts",
    "dropped": "dropped",
    "expected": "expected",
    "delivered": "delivered",
    "doubled": "doubled",
    "disordered": "out of order",
    "told_lost": "told lost",
    "missing": "missing",
    "p50_ms": "catch up p50 ms",
    "p99_ms": "p99 ms",
    "p999_ms": "p99.9 ms",
    "recovery_us": "server us/recovery",
    "per_cpu_s": "recoveries/CPU s",
    "clients": "clients' CPU",
}
LINES = (
    ("Time to catch up", "p50", "p50_ms", "ms"),
    ("Time to catch up", "p99", "p99_ms", "ms"),
    ("Time to catch up", "p99.9", "p999_ms", "ms"),
    ("Server", "processor time of a recovery", "recovery_us", "us"),
)
PER_PUBLISHER = 50.0  # publications a second; servers allow 100 unless told otherwise
CALM_S = 5.0  # without cuts, at most
MIN_SIZE = STAMP_CHARACTERS + 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    parser.add_argument(
        "--subscribers",
        type=int,
        default=200,
        metavar="N",
        help="of all channels together (default 200)",
    )
    parser.add_argument(
        "--channels", type=int, default=4, metavar="C", help="how many (default 4)"
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=40.0,
        metavar="R",
        help="publications per second, over all channels (default 40)",
    )
    parser.add_argument(
        "--size",
        type=int,
        default=100,
        metavar="BYTES",
        help=f"of the data of a publication (default 100, at least {MIN_SIZE})",
    )
    _add_cuts(parser)


def _add_cuts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cuts", type=int, default=3, metavar="K", help="of each (default 3)"
    )
    parser.add_argument(
        "--downs",
        type=numbers,
        default=[1.0, 3.0],
        metavar="S,S,...",
        help="seconds away after each cut, one row each (default 1,3)",
    )
    parser.add_argument(
        "--up",
        type=float,
        default=2.0,
        metavar="S",
        help="seconds with a connection between two cuts (default 2)",
    )
    parser.add_argument(
        "--together",
        action="store_true",
        help="cut everybody at the same time (default: anywhere in the cycle)",
    )
    parser.add_argument(
        "--reset",
        action="store_true",
        help="cut with a RST (default: with a FIN, but without closing the WebSocket)",
    )


def run(options: argparse.Namespace) -> Result:
    """Measure."""
    _check(options)
    with opened(options, "recovery") as bench:
        dialect = Native(options.codec, offsets=True)
        return measure(replace(bench, dialect=dialect))


def _check(options: argparse.Namespace) -> None:
    least = {"subscribers": 1, "channels": 1, "cuts": 1, "size": MIN_SIZE}
    for name, value in least.items():
        if getattr(options, name) < value:
            given = getattr(options, name)
            raise BenchError(f"--{name} is {given}; it must be {value} or more")
    if not options.downs or options.up <= 0 or options.rate <= 0:
        raise BenchError("--downs must not be empty, --up and --rate be above 0")


def measure(bench: Bench) -> Result:
    """Cut for one time after the other."""
    options = bench.options
    publishers = max(int(options.rate / PER_PUBLISHER + 0.999), 1)
    settings = Settings(publishers, options.channels, options.size)
    connections = publishers + options.subscribers
    rows: list[Row] = []
    with bench.crowd(Travellers, connections, settings) as crowd:
        journeys = _Journeys(bench, crowd)
        journeys.warnings += join(bench, crowd, connections)
        journeys.be_calm()
        for down_s in options.downs:
            if bench.stop:
                break
            if row := journeys.cut(down_s):
                rows.append(row)
    series = lines_of(rows, "down_s", "seconds away", LINES)
    return bench.result(COLUMNS, rows, series, journeys.warnings)


class _Journeys:
    """The rows so far, and what a second without cuts costs the server."""

    def __init__(self, bench: Bench, crowd: Crowd[Travellers]) -> None:
        self.warnings: list[str] = []
        self._bench = bench
        self._crowd = crowd
        self._calm_us: float | None = None  # a second of publications

    def be_calm(self) -> None:
        """
        Publish without cuts: what that costs is not the cuts' doing.

        Raises:
            BenchError: If nobody subscribes, or nothing may be published.
        """
        options = self._bench.options
        seconds = min(CALM_S, options.up + max(options.downs))
        step = Step(0.0, options.rate, max(int(options.rate * seconds), 1))
        found, costs = self._travel(step, "publishing without cuts")
        unpublished = set[int]().union(*(one.unpublished for one in found))
        account = sum(self._crowd.do("account", unpublished), Account())
        if not account.expected and not self._bench.stop:
            why = failures_of(sum_up([one.failures for one in found]), "times")
            reasons = "; ".join([*self.warnings, *why])
            raise BenchError(f"nothing was measured: {reasons or 'nobody came in'}")
        if costs.nodes_us is not None:
            self._calm_us = costs.nodes_us / costs.wall_s

    def cut(self, down_s: float) -> Row:
        """Cut everybody so many times; return the row."""
        options = self._bench.options
        seconds = options.cuts * (options.up + down_s) + down_s + options.up
        step = Step(
            0.0,
            options.rate,
            max(int(options.rate * seconds), 1),
            options.cuts,
            down_s,
            options.up,
            options.together,
            options.reset,
        )
        found, costs = self._travel(step, f"cutting for {down_s:g} s")
        busy = self._crowd.busy
        unpublished = set[int]().union(*(one.unpublished for one in found))
        account = sum(self._crowd.do("account", unpublished), Account())
        self._doubt(found, account, unpublished, doubts(busy, costs))
        row = self._row(down_s, found, account, costs)
        return {**row, "clients": f"{busy:.0%}"} if row else row

    def _travel(self, step: Step, what: str) -> tuple[list[Travelled], Costs]:
        bench, before = self._bench, self._bench.costs()
        step = replace(step, start=self._crowd.soon())
        seconds = step.count / step.rate
        with bench.display.step(what, seconds) as shown:
            found: list[Travelled] = self._crowd.do("travel", step, on_progress=shown)
        return found, bench.costs() - before

    def _row(
        self, down_s: float, found: Sequence[Travelled], sums: Account, costs: Costs
    ) -> Row:
        caught_up = merged(one.caught_up for one in found)
        if not sums.expected and not caught_up.count:
            return {}  # nobody was there, or nothing was published
        recovery_us = self._recovery_us(caught_up.count, costs)
        return {
            "down_s": down_s,
            "cuts": sum(one.cuts for one in found),
            "dropped": sum(one.dropped for one in found),
            "retries": sum(one.retries for one in found),
            "recovered": sum(one.recovered for one in found),
            "unrecovered": sum(one.unrecovered for one in found),
            "expected": sums.expected,
            "delivered": sums.delivered,
            "doubled": sums.doubled,
            "disordered": sums.disordered,
            "told_lost": sums.admitted,
            "missing": None if self._bench.stop else sums.missing,
            **caught_up.percentiles(),
            "recovery_us": recovery_us,
            "per_cpu_s": 1e6 / recovery_us if recovery_us else None,
        }

    def _recovery_us(self, count: int, costs: Costs) -> float | None:
        if costs.nodes_us is None or self._calm_us is None or not count:
            return None
        beyond = costs.nodes_us - self._calm_us * costs.wall_s
        return beyond / count if beyond > 0 else None

    def _doubt(
        self,
        found: Sequence[Travelled],
        sums: Account,
        unpublished: set[int],
        doubtful: Sequence[str],
    ) -> None:
        why = sum_up([one.failures for one in found])
        self.warnings += [*failures_of(why, "times"), *doubtful]
        if sums.missing and not self._bench.stop:
            self.warnings.append(
                f"{sums.missing} publications are missing at their subscribers, and "
                "nobody was told so: that is a defect of the server"
            )
        if absent := sum(one.absent for one in found):
            self.warnings.append(
                f"{absent} clients have not come back; what they miss is not counted"
            )
        if unpublished:
            self.warnings.append(
                f"{len(unpublished)} publications were refused or never answered; "
                "nobody is expected to have them"
            )
        if sum(one.unrecovered for one in found):
            self.warnings.append(
                "the history did not reach back for everybody: it is off, too short "
                "(history_size) or too brief (history_ttl)"
            )
