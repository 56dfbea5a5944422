"""
Question: how long after something happens on one device does another device see it?

Method: 200 devices track 20,000 events a second in all, in batches of 20, on a fixed
schedule; 2,000 watchers on other sockets show the counters. A device's events have a
post of their own (one counter, by post), which ten of the watchers show; so the value
that comes tells exactly which events are in it. Latency counts from when a batch was
due, whatever kept the sender from it (coordinated omission), until a watcher has read
the value with it in, and is told in ticks of 100 ms. By turns, in one run, JSON, tokens
checked, exact counting:

    ideal                what the tick alone costs: events wait from none to all of one
    C echo               the floor: as many frames, each answered at once by floor.c;
                         what is not zero here is the kernel's, the client's and the
                         machine's
    memory               one node
    Redis, one node      one node with Valkey
    Redis, two nodes     half of the devices and watchers on each of two nodes; who
                         watches a post is on the other node than its device
    two nodes, shared    the same, but every post is shared by a device of either node:
                         in each tick its value changes twice

All devices and watchers are one process in Python, which shares the cores with the
servers: reading the values of a tick takes it about as long as the nodes need to write
them, and that is part of the latencies. The last columns are the shares of a core that
the processes take.

Finding (2026-11-23, two cores with nothing else to do; p50, p99, p99.9 in ticks):
memory 0.72, 1.22, 1.47; Redis with one node 0.76, 1.28, 1.65, with two nodes 0.72,
1.18, 1.33; C echo 0.01, 0.13, 0.27. The nodes took 0.29 to 0.37 of a core, Redis 0.02,
the client 0.22: of a tick that is 35 ms for servers and 20 ms for the client, on two
cores, which is what p50 has over the ideal. Aims: 0.75 and 1.5. Shared posts: 0.93,
3.29, 7.18, with 0.76 of a core; the sums that they need are added event by event.

    python benchmarks/latency.py [--devices 200] [--watchers 2000] [--rate 20000]

With --url, your own server is loaded instead, without floors: what follows is then that
of `realtime bench latency` (see its --help).
"""

from __future__ import annotations

import argparse
import time
from array import array
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from common.devices import ECHO_BYTES, FRAME_BYTES, EchoDevices, track
from common.floor import floor
from common.program import main, new_parser
from common.screens import COUNTER, EVENT, SUM, show

from realtime.bench.children import Child
from realtime.bench.local import pid_of, serving
from realtime.bench.machine import cpu_us
from realtime.bench.program import hand_over
from realtime.bench.report import (
    Turns,
    number,
    percentile,
    print_table,
    say,
    spread,
)
from realtime.testing.servers import ValkeyServer

TICK_MS = 100.0

CONFIG = f"""
[ledger]
tick = "{TICK_MS:g}ms"

[counters.{COUNTER}]
event = "{EVENT}"
by = ["post"]
"""

SHARED = f"""{CONFIG}
[counters.{SUM}]
event = "{EVENT}"
measure = "sum"
of = "weight"
decimals = 0
by = ["post"]
"""

ECHO = "C echo"


@dataclass(frozen=True, slots=True)
class Way:
    """How it is served: by how many nodes, and whether these change the same posts."""

    nodes: int
    redis: bool = True
    shared: bool = False


WAYS: Mapping[str, Way] = {
    "memory": Way(1, redis=False),
    "Redis, one node": Way(1),
    "Redis, two nodes": Way(2),
    "two nodes, shared": Way(2, shared=True),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """The clients, and the processes that serve them, by name."""

    client: Child
    servers: Mapping[str, list[int]] = field(default_factory=dict)
    batch: int = 1

    def cpu_us(self) -> Mapping[str, float]:
        """Return what has been spent so far."""
        spent = {name: sum(map(cpu_us, pids)) for name, pids in self.servers.items()}
        return {"client": cpu_us(self.client.pid), **spent}


def measure(options: argparse.Namespace) -> None:
    """Measure by turns and print the table."""
    turns, latencies = Turns(), dict[str, "array[float]"]()
    with ExitStack() as stack:
        stages = _open(stack, options)
        for turn in range(options.turns + 1):
            say(f"turn {turn} of {options.turns}")
            names = list(stages)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                shares, found = _ask(stages[name], options)
                if turn:  # the first one warms up
                    turns.add(name, **shares)
                    latencies.setdefault(name, array("d")).extend(found)
    _print(turns, latencies, list(stages))


def _open(stack: ExitStack, options: argparse.Namespace) -> Mapping[str, Stage]:
    """Start everything that is compared."""
    stages = {}
    bare = stack.enter_context(floor("echo", FRAME_BYTES, ECHO_BYTES))
    if bare is not None:
        child = Child(track, EchoDevices, bare.port, options.devices, 1)
        child = stack.enter_context(child)
        stages[ECHO] = Stage(child, {"nodes": [bare.pid]}, options.batch)
    for name, way in WAYS.items():
        if options.only in name:
            stages[name] = _serve(stack, way, options)
    for stage in stages.values():
        stage.client.answer()
    return stages


def _serve(stack: ExitStack, way: Way, options: argparse.Namespace) -> Stage:
    valkey = stack.enter_context(ValkeyServer()) if way.redis else None
    config = SHARED if way.shared else CONFIG
    url = valkey.url if valkey else None
    nodes = stack.enter_context(serving(config, way.nodes, url))
    ports = [node.port for node in nodes]
    of = (ports, options.devices, options.watchers, options.batch, way.shared)
    screens = stack.enter_context(Child(show, *of))
    servers = {"nodes": [pid_of(node) for node in nodes]}
    if valkey is not None:
        servers["Redis"] = [valkey.pid]
    return Stage(screens, servers)


def _ask(
    stage: Stage, options: argparse.Namespace
) -> tuple[Mapping[str, float], array[float]]:
    """Return the shares of a core that were taken, by process, and latencies in ms."""
    before, began = stage.cpu_us(), time.monotonic()
    rate = options.rate / stage.batch
    found = stage.client.ask("paced", rate, options.seconds)
    wall_us = (time.monotonic() - began) * 1e6
    spent = stage.cpu_us()
    return {name: (spent[name] - before[name]) / wall_us for name in spent}, found


def _print(
    turns: Turns, latencies: Mapping[str, array[float]], names: list[str]
) -> None:
    head = "way", "samples", "p50 ticks", "p99 ticks", "p99.9 ticks", "max ticks"
    rows: list[tuple[str, ...]] = [(*head, "nodes' CPU", "Redis' CPU", "client's CPU")]
    rows.append(("ideal", "-", "0.50", "0.99", "1.00", "1.00", "-", "-", "-"))
    for name in names:
        found = latencies[name]
        ticks = [each / TICK_MS for each in spread(found)]
        ticks.append(percentile(sorted(found), 1.0) / TICK_MS)
        shares = turns.medians(name)
        cpu = [number(shares.get(each)) for each in ("nodes", "Redis", "client")]
        rows.append((name, str(len(found)), *map(number, ticks), *cpu))
    print_table(*rows)


def _options() -> argparse.Namespace:
    parser = new_parser(__doc__ or "")
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--watchers", type=int, default=2000)
    parser.add_argument(
        "--rate", type=float, default=20_000, help="events a second in all (20000)"
    )
    parser.add_argument("--batch", type=int, default=20, help="events of a frame (20)")
    parser.add_argument("--seconds", type=float, default=5, help="of a turn (5)")
    parser.add_argument("--turns", type=int, default=4, help="turns to count (4)")
    parser.add_argument(
        "--only", default="", metavar="WAY", help="ways whose name contains this"
    )
    options = parser.parse_args()
    if options.smoke:
        options.devices, options.watchers, options.turns = 10, 20, 1
        options.rate, options.batch, options.seconds = 100, 5, 1
    return options


if __name__ == "__main__":
    hand_over("latency")
    main(measure, _options())
