"""
Question: does a server stay as it is under a load that goes on for hours?

Method: a steady mixed load. Every connection is a device that subscribes to one of
--channels channels and watches a counter, stays for --stay seconds on average, leaves
(seven times of ten in good order, otherwise without a word) and comes back at once,
elsewhere. Meanwhile publications and events are due at fixed times; latencies count
from then until a subscriber has read them, and until they are acknowledged.

Every --sample seconds: of servers that are started here, private memory, resident
memory, open files and processor time; of any server, the gauges of /metrics that must
stay where they are (--metrics URL, with --api-key if a proxy asks for it). What is told
in the end is a row for each tenth of the time, and for each thing that may leak its
trend after --warm-up: the median of the slopes between all pairs of samples (Theil and
Sen), between which slopes it is with 95 %, and what to think of it. Growth of less than
512 KiB or 0.5 % over the whole time is not called a leak. A minute is long enough to
see that it works, not to see a leak: run for hours.

examples:
  PROGRAM
      a server started here, for a minute
  PROGRAM --duration 8h --connections 5000 --plot soak.html
      over night
  PROGRAM --url wss://rt.example.com --token-file tokens.txt --yes-this-is-mine \\
          --metrics https://rt-1.example.com/metrics --duration 24h
      your own deployment; the tokens are of so many users, since each device belongs
      to one
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from realtime.bench.crowd import Crowd, clock
from realtime.bench.errors import BenchError
from realtime.bench.gauges import MEMORY, METRICS, Costs, Metrics, costs_of
from realtime.bench.joining import failures_of
from realtime.bench.leak import Point, Verdict, trend
from realtime.bench.program import BUSY, Bench, opened
from realtime.bench.residents import FIRST_S, Residents, Settings, Window
from realtime.bench.result import Result, Row, Series
from realtime.units import parse_duration_s

SMOKE: Mapping[str, object] = {
    "connections": 20,
    "duration": 6.0,
    "warm_up": 3.0,
    "sample": 0.25,
    "stay": 1.0,
    "processes": 1,
}
COLUMNS = {
    "until": "until",
    "inside": "connections",
    "came_per_s": "connects/s",
    "deliveries_per_s": "deliveries/s",
    "acked_per_s": "events/s",
    "publish_p50_ms": "publish p50 ms",
    "publish_p99_ms": "p99 ms",
    "ack_p50_ms": "ack p50 ms",
    "ack_p99_ms": "p99 ms",
    "errors": "errors",
    "cpu": "server CPU",
    "private_mib": "private MiB",
    "rss_mib": "RSS MiB",
    "files": "files",
    "verdict": "trend",
}
PERIODS = 10
LEAST_KIB, SHARE = 512.0, 0.005
LEAST_COUNT = 10.0  # of files, channels and so on
LATENCIES = (("Publish to receive", "published"), ("Track to counted", "acked"))
CURVES = (("Memory", "private_mib", "MiB"), ("Memory", "rss_mib", "MiB"))


@dataclass(frozen=True, slots=True)
class Sample:
    """What there was at a moment, in seconds since the load began."""

    at: float
    window: Window
    seconds: float
    busy: float
    costs: Costs | None
    gauges: Mapping[str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    for name, kind, default, what in (
        ("connections", int, 300, "devices, most of them connected at any time"),
        ("publications", float, 20.0, "publications a second, over all channels"),
        ("events", float, 100.0, "events a second, over all devices"),
        ("stay", float, 20.0, "seconds for which one stays, on average"),
        ("channels", int, 20, "over which subscriptions and publications are spread"),
        ("size", int, 100, "characters of a publication's data"),
        ("sample", float, 1.0, "seconds between two samples"),
    ):
        parser.add_argument(
            f"--{name}", type=kind, default=default, help=f"{what} ({default:g})"
        )
    parser.add_argument(
        "--duration",
        type=_seconds,
        default=60.0,
        metavar="T",
        help="how long: 90s, 30m, 8h (60s); --limit is extended to it",
    )
    parser.add_argument(
        "--warm-up",
        type=_seconds,
        metavar="T",
        help="before trends are looked for (a third of the duration, at most 10m)",
    )
    parser.add_argument(
        "--history",
        action="store_true",
        help="publish on channels with a history: memory grows until it is full",
    )
    parser.add_argument(
        "--metrics",
        action="append",
        default=[],
        metavar="URL",
        help="of each process that serves --url: its /metrics",
    )
    parser.add_argument("--api-key", metavar="KEY", help="for --metrics, if needed")


def _seconds(text: str) -> float:
    try:
        return parse_duration_s(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def run(options: argparse.Namespace) -> Result:
    """Measure."""
    for name in ("connections", "channels", "stay", "sample", "duration"):
        if getattr(options, name) <= 0:
            raise BenchError(
                f"--{name} is {getattr(options, name)}; it must be above 0"
            )
    if options.publications < 0 or options.events < 0:
        raise BenchError("--publications and --events must be 0 or more")
    if options.limit:
        options.limit = max(options.limit, int(options.duration * 1.1) + 60)
    with opened(options, "soak") as bench, ExitStack() as stack:
        urls = options.metrics
        if bench.target.is_local:
            urls = [f"http://{one.authority}/metrics" for one in bench.target.endpoints]
        metrics = Metrics(urls, options.api_key, not options.insecure)
        stack.callback(metrics.close)
        metrics.check()
        return measure(bench, metrics)


def measure(bench: Bench, metrics: Metrics) -> Result:
    """Keep up the load and take samples."""
    options = bench.options
    namespace = "bench_history" if options.history else "bench"
    settings = Settings(
        options.publications,
        options.events,
        options.stay,
        options.channels,
        options.size,
        namespace,
    )
    with bench.crowd(Residents, options.connections, settings) as crowd:
        samples = list(_samples(bench, crowd, metrics))
    warm_up_s = options.warm_up
    if warm_up_s is None:
        warm_up_s = min(options.duration / 3, 600.0)
    rows: list[Row] = []
    if any(one.window.came or one.window.inside for one in samples):
        rows = [*_rows(samples), *_trends(samples, warm_up_s)]
    warnings = _doubts(samples, rows)
    return bench.result(COLUMNS, rows, list(_series(samples)), warnings)


def _samples(
    bench: Bench, crowd: Crowd[Residents], metrics: Metrics
) -> Iterator[Sample]:
    options, target = bench.options, bench.target
    begin = crowd.soon()
    crowd.do("settle_in", begin)
    start = before = begin + FIRST_S
    first = Window()
    for window in crowd.do("live", start):
        first.merge(window)
    if not first.came and first.errors and not bench.stop:
        raise BenchError("; ".join(failures_of(first.errors, "times")))
    with bench.display.step("soaking", options.duration) as step:
        while before < start + options.duration and not bench.stop:
            whole = Window()
            for window in crowd.do("live", before + options.sample):
                whole.merge(window)
            now = clock()
            costs = costs_of(target.nodes)
            at, took = now - start, now - before
            yield Sample(at, whole, took, crowd.busy, costs, metrics.read())
            before = now
            step(at)


# -- telling ---------------------------------------------------------------------------


def _rows(samples: Sequence[Sample]) -> Iterator[Row]:
    """Yield a row for each tenth of the time."""
    size = max(-(-len(samples) // PERIODS), 1)
    for first in range(0, len(samples), size):
        part = samples[first : first + size]
        before = samples[first - 1] if first else None
        yield _row(part, before)


def _row(part: Sequence[Sample], before: Sample | None) -> Row:
    whole, last = Window(), part[-1]
    for one in part:
        whole.merge(one.window)
    seconds = sum(one.seconds for one in part)
    row: dict[str, str | int | float | None] = {
        "until": _time(last.at),
        "inside": last.window.inside,
        "came_per_s": whole.came / seconds,
        "deliveries_per_s": whole.published.count / seconds,
        "values_per_s": whole.values / seconds,
        "acked_per_s": whole.acked.count / seconds,
        "publish_p50_ms": whole.published.quantile_ms(0.5),
        "publish_p99_ms": whole.published.quantile_ms(0.99),
        "ack_p50_ms": whole.acked.quantile_ms(0.5),
        "ack_p99_ms": whole.acked.quantile_ms(0.99),
        "errors": whole.errors.total(),
        **{name: last.gauges.get(name) for name in METRICS},
    }
    costs, earlier = last.costs, before.costs if before else part[0].costs
    if costs is not None and earlier is not None:
        since = before.at if before else part[0].at
        used_us = costs.cpu_us - earlier.cpu_us
        share = used_us / 1e6 / (last.at - since) if last.at > since else None
        row |= {
            "cpu": None if share is None else f"{share:.0%}",
            "private_mib": costs.private_kib / 1024,
            "rss_mib": costs.rss_kib / 1024,
            "files": costs.files,
        }
    return row


def _time(seconds: float) -> str:
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}"


def _watched(samples: Sequence[Sample]) -> Iterator[tuple[str, str, list[Point]]]:
    """Yield what may leak: its name, its unit, and its samples."""
    here = [(one.at, one.costs) for one in samples if one.costs is not None]
    yield "memory", "KiB", [(at, float(costs.private_kib)) for at, costs in here]
    yield "open files", "files", [(at, float(costs.files)) for at, costs in here]
    for name in MEMORY:
        found = [(one.at, one.gauges.get(name)) for one in samples]
        points = [(at, value / 1024) for at, value in found if value is not None]
        yield name, "KiB", points
    for name in METRICS:
        found = [(one.at, one.gauges.get(name)) for one in samples]
        unit = name.removeprefix("realtime_").replace("_", " ")
        yield name, unit, [(at, value) for at, value in found if value is not None]


def _trends(samples: Sequence[Sample], warm_up_s: float) -> Iterator[Row]:
    for name, unit, points in _watched(samples):
        if not points:
            continue
        least, share = (LEAST_KIB, SHARE) if unit == "KiB" else (LEAST_COUNT, 0.05)
        found = trend(points, unit, warm_up_s, least, share)
        yield {
            "until": name,
            "verdict": found.sentence,
            "leak": found.verdict is Verdict.LEAK,
            "per_hour": found.per_hour,
            "low": found.low,
            "high": found.high,
        }


def _doubts(samples: Sequence[Sample], rows: Sequence[Row]) -> list[str]:
    errors: Counter[str] = Counter()
    for one in samples:
        errors.update(one.window.errors)
    warnings = failures_of(dict(errors), "times")
    busy = max((one.busy for one in samples), default=0.0)
    if busy > BUSY:
        warnings.append(f"a process of clients used {busy:.0%} of a core at times")
    warnings += [
        f"{row['until']}: a leak is likely; {row['verdict']}"
        for row in rows
        if row.get("leak")
    ]
    return warnings


def _series(samples: Sequence[Sample]) -> Iterator[Series]:
    x = "minutes"
    for chart, key, unit in CURVES:
        name = key.removesuffix("_mib")
        found = [(one.at, getattr(one.costs, f"{name}_kib", None)) for one in samples]
        points = [(at / 60, kib / 1024) for at, kib in found if kib is not None]
        if points:
            yield Series(chart, name, x, unit, tuple(points))
    for chart, kind in LATENCIES:
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            late = [(one.at, getattr(one.window, kind)) for one in samples]
            points = [
                (at / 60, one.quantile_ms(share)) for at, one in late if one.count
            ]
            if points:
                yield Series(chart, name, x, "ms", tuple(points), log=True)
