"""
Question: how long after something happens on one device does another device see it?

Method: 200 devices track an event ten times a second each, 2,000 a second in all; every
device's events have a counter of their own (one counter, by post), watched by two of
400 watchers on other sockets. So the value that comes tells exactly which events are in
it. Latency counts from when an event was due, whatever kept the sender from it
(coordinated omission), until a watcher has read the value with it in, and is told in
ticks of 100 ms. By turns, in one run, JSON, tokens checked, exact counting:

    ideal            what the tick alone costs: events wait from none to all of one
    C echo           the floor: the same frames, each answered at once by floor.c; what
                     is not zero here is the kernel's, the client's and the machine's
    memory           one node
    Redis, one node  one node with Valkey
    Redis, two nodes devices on one node, watchers on the other

Finding (2026-11-23, two shared cores, half of their time others'; p50, p99, p99.9 in
ticks): memory 0.77, 1.29, 1.73; Redis with one node 0.88, 1.50, 1.67, with two nodes
0.90, 2.43, 3.16; C echo 0.01, 0.07, 0.21. The 200 acknowledgements and 400 pushes of a
tick take the node some 20 ms, which is what p50 has over the ideal. With little to do
(10 devices, 20 watchers, 100 events a second) it is 0.53, 1.00, 1.01 in memory and
0.60, 1.02, 1.02 with two nodes.

    python benchmarks/latency.py [--devices 200] [--watchers 400] [--rate 2000]

With --url, your own server is loaded instead, without floors: what follows is then that
of `realtime bench latency` (see its --help).
"""

from __future__ import annotations

import argparse
from array import array
from collections.abc import Mapping
from contextlib import ExitStack

from common.devices import ECHO_BYTES, FRAME_BYTES, EchoDevices, track
from common.floor import floor
from common.program import main, new_parser
from common.screens import COUNTER, EVENT, show

from realtime.bench.children import Child
from realtime.bench.local import serving
from realtime.bench.program import hand_over
from realtime.bench.report import number, percentile, print_table, say, spread
from realtime.testing.servers import ValkeyServer

TICK_MS = 100.0

CONFIG = f"""
[ledger]
tick = "{TICK_MS:g}ms"

[counters.{COUNTER}]
event = "{EVENT}"
by = ["post"]
"""

ECHO = "C echo"


def measure(options: argparse.Namespace) -> None:
    """Measure by turns and print the table."""
    latencies: dict[str, array[float]] = {}
    with ExitStack() as stack:
        stages = _open(stack, options)
        for turn in range(options.turns + 1):
            say(f"turn {turn} of {options.turns}")
            names = list(stages)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                found = stages[name].ask("paced", options.rate, options.seconds)
                if turn:  # the first one warms up
                    latencies.setdefault(name, array("d")).extend(found)
    _print(latencies, list(stages))


def _open(stack: ExitStack, options: argparse.Namespace) -> Mapping[str, Child]:
    """Start everything that is compared."""
    stages = {}
    bare = stack.enter_context(floor("echo", FRAME_BYTES, ECHO_BYTES))
    if bare is not None:
        child = Child(track, EchoDevices, bare.port, options.devices, 1)
        stages[ECHO] = stack.enter_context(child)
    for name, nodes in (("memory", 1), ("Redis, one node", 1), ("Redis, two nodes", 2)):
        url = None
        if name != "memory":
            url = stack.enter_context(ValkeyServer()).url
        ports = [node.port for node in stack.enter_context(serving(CONFIG, nodes, url))]
        screens = Child(show, ports[0], ports[-1], options.devices, options.watchers)
        stages[name] = stack.enter_context(screens)
    for child in stages.values():
        child.answer()
    return stages


def _print(latencies: Mapping[str, array[float]], names: list[str]) -> None:
    rows: list[tuple[str, ...]] = [
        ("way", "samples", "p50 ticks", "p99 ticks", "p99.9 ticks", "max ticks")
    ]
    rows.append(("ideal", "-", "0.50", "0.99", "1.00", "1.00"))
    for name in names:
        found = latencies[name]
        ticks = [each / TICK_MS for each in spread(found)]
        ticks.append(percentile(sorted(found), 1.0) / TICK_MS)
        rows.append((name, str(len(found)), *map(number, ticks)))
    print_table(*rows)


def _options() -> argparse.Namespace:
    parser = new_parser(__doc__ or "")
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--watchers", type=int, default=400)
    parser.add_argument(
        "--rate", type=float, default=2000, help="events a second in all (2000)"
    )
    parser.add_argument("--seconds", type=float, default=5, help="of a turn (5)")
    parser.add_argument("--turns", type=int, default=4, help="turns to count (4)")
    options = parser.parse_args()
    if options.smoke:
        options.devices, options.watchers, options.turns = 10, 20, 1
        options.rate, options.seconds = 100, 1
    return options


if __name__ == "__main__":
    hand_over("latency")
    main(measure, _options())
