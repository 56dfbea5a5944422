"""
Question: what does a delivery cost when messages are compressed (permessage-deflate)?

Method: 1,000 subscribers over loopback, one publication of 1,000 characters of text at
a time, with a pause in between so that no two share a write. Counted is the processor
time of the server process, user and system, per delivered frame, and the bytes that
reach each subscriber. Measured by turns in one run, each with the same readers in a
process of their own:

    plain             `realtime serve`, compression switched on, which nobody offers
    compressed        the same, everybody offers it: compressed once, sent to all
    websockets plain  the rival: `websockets.broadcast`, which nobody offers it, either
    websockets        the same, everybody offers it: compressed for each connection

The whole of `realtime serve` is in the price: reading and checking what was published.
The ratio is to `plain`. Latencies are from when a publication was due until a
subscriber has read it.

Finding (2026-11-23, two shared cores, Python 3.11, uvloop 0.23): plain 13.9 us a frame,
compressed 0.96 times that (1.02 in another run), with 419 bytes instead of 1,041;
`websockets` 21.4 us plain and 75.3 us compressed, 5.4 times ours, of 279 bytes, since
it keeps a context for each connection, which makes an idle one 46 KiB instead of 14.
Ours are 3.6 KiB each with compression and without (2,000 connections, two runs each).
To compress one publication takes 12 us, 0.01 us of each frame here; about as much as
the delivery itself where there is one subscriber. Aim: 1.5.

    python benchmarks/deflate.py [--subscribers 1000] [--size 1000] [--turns 5]
"""

from __future__ import annotations

import argparse
from array import array
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from common.program import main, new_parser
from common.readers import OurReaders, Readers, TheirReaders, read, serve_by_hand

from realtime.bench.children import Child
from realtime.bench.local import pid_of, serving
from realtime.bench.machine import cpu_us
from realtime.bench.report import Turns, number, print_table, ratio, say, spread

CONFIG = """
[server]
compression = true
"""
FLOOR = "plain"
WAYS: Mapping[str, tuple[type[Readers], bool]] = {
    FLOOR: (OurReaders, False),
    "compressed": (OurReaders, True),
    "websockets plain": (TheirReaders, False),
    "websockets": (TheirReaders, True),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """A server with its readers."""

    pid: int
    readers: Child


def measure(options: argparse.Namespace) -> None:
    """Measure by turns and print the table."""
    turns, latencies = Turns(), dict[str, "array[float]"]()
    with ExitStack() as stack:
        stages = {name: _open(stack, name, options) for name in WAYS}
        for turn in range(options.turns + 1):
            say(f"turn {turn} of {options.turns}")
            names = list(stages)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                cost, size, found = _ask(stages[name], options)
                if turn:  # the first one warms up
                    turns.add(name, us=cost, bytes=size)
                    latencies.setdefault(name, array("d")).extend(found)
    _print(turns, latencies)


def _open(stack: ExitStack, name: str, options: argparse.Namespace) -> Stage:
    kind, compressed = WAYS[name]
    if kind is OurReaders:
        [node] = stack.enter_context(serving(CONFIG))
        pid, port = pid_of(node), node.port
    else:
        server = stack.enter_context(Child(serve_by_hand))
        pid, port = server.pid, server.answer()
    readers = stack.enter_context(
        Child(read, kind, port, options.subscribers, options.size, compressed)
    )
    readers.answer()
    return Stage(pid, readers)


def _ask(
    stage: Stage, options: argparse.Namespace
) -> tuple[float, float, array[float]]:
    """Return microseconds and bytes per frame, and latencies in milliseconds."""
    before = cpu_us(stage.pid)
    frames, latencies, size = stage.readers.ask(options.rounds, options.gap)
    return (cpu_us(stage.pid) - before) / frames, size / frames, latencies


def _print(turns: Turns, latencies: Mapping[str, array[float]]) -> None:
    base = turns.medians(FLOOR)["us"]
    rows: list[tuple[str, ...]] = [
        ("way", "us/frame", "ratio", "bytes/frame", "p50 ms", "p99 ms", "p99.9 ms")
    ]
    for name in WAYS:
        found = turns.medians(name)
        tail = [number(each) for each in spread(latencies[name])]
        cost = found["us"]
        size = number(found["bytes"], 0)
        rows.append((name, number(cost), ratio(cost, base), size, *tail))
    print_table(*rows)


def _options() -> argparse.Namespace:
    parser = new_parser(__doc__ or "")
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument(
        "--size", type=int, default=1000, help="characters of a publication (1000)"
    )
    parser.add_argument(
        "--rounds", type=int, default=20, help="publications of one turn (20)"
    )
    parser.add_argument("--turns", type=int, default=5, help="turns to count (5)")
    parser.add_argument(
        "--gap", type=float, default=0.1, help="seconds between publications (0.1)"
    )
    options = parser.parse_args()
    if options.smoke:
        options.subscribers, options.rounds, options.turns = 20, 5, 1
    return options


if __name__ == "__main__":
    main(measure, _options())
