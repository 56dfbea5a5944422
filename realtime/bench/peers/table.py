"""What was measured of one server, as a row of the table and as curves of the plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from realtime.bench.histogram import Histogram, merged
from realtime.bench.peers.catalogue import Peer
from realtime.bench.report import Turns
from realtime.bench.result import Row, Series

COLUMNS = {
    "server": "server",
    "version": "version",
    "connect_us": "connect us",
    "connect_ratio": "ratio",
    "idle_kib": "idle KiB",
    "idle_kib_ratio": "ratio",
    "idle_us": "idle us/s",
    "frame_us": "frame us",
    "frame_ratio": "ratio",
    "redis_us": "Redis us",
    "fanout_p50_ms": "fan-out p50 ms",
    "fanout_p99_ms": "p99 ms",
    "latency_p50_ms": "publish p50 ms",
    "latency_p99_ms": "p99 ms",
    "note": "note",
}
"""Redis' time is for each publication, not for each frame."""
RATIOS = {
    "connect_us": "connect_ratio",
    "idle_kib": "idle_kib_ratio",
    "frame_us": "frame_ratio",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One server in one turn: figures by name, latencies, sentences about doubts."""

    figures: Mapping[str, float]
    fanout: Histogram
    latency: Histogram
    warnings: Sequence[str]


def row_of(peer: Peer, version: str | None, measured: Sequence[Measured]) -> Row:
    """Return the medians of the turns, and the latencies of all of them."""
    turns = Turns()
    for one in measured:
        turns.add(peer.title, **one.figures)
    fanout = merged(one.fanout for one in measured)
    latency = merged(one.latency for one in measured)
    return {
        "server": peer.title,
        "version": version,
        "deployment": "Redis" if peer.redis else "alone",
        **turns.medians(peer.title),
        **{f"fanout_{name}": value for name, value in fanout.percentiles().items()},
        **{f"latency_{name}": value for name, value in latency.percentiles().items()},
    }


def ratios(row: Row, ours: Row) -> Row:
    """Return how many times ours it needs, by the names of columns."""
    found: dict[str, float] = {}
    for name, ratio in RATIOS.items():
        theirs, base = row.get(name), ours.get(name)
        if isinstance(theirs, float) and isinstance(base, float) and base > 0:
            found[ratio] = theirs / base
    return found


def curves(peer: Peer, measured: Sequence[Measured]) -> list[Series]:
    """Return its latencies: which share of all is below how many milliseconds."""
    both = (
        ("Fan-out", merged(one.fanout for one in measured)),
        ("Publish to receive", merged(one.latency for one in measured)),
    )
    return [
        Series(
            chart,
            peer.title,
            "share of all, %",
            "ms",
            tuple((share * 100, ms) for share, ms in latencies.curve()),
            log=True,
        )
        for chart, latencies in both
    ]
