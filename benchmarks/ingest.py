"""
Question: what does it cost to count an event exactly once, and how long is the wait for
the acknowledgement?

Method: 1,000 devices with tokens (JWT) and a socket each send numbered events to
`realtime serve`. One counter counts them: by post, of which there are 100, in all and
in five minutes; ten of the posts are watched. Every device sends one frame (of one
event, or of a batch of 20), waits for its acknowledgement and sends the next; an
acknowledgement comes after the commit of the tick (100 ms). Counted is the processor
time, user and system, per event: of the node, of Redis (Valkey, no append-only file),
of both together. By turns, in one run, beside two floors:

    C echo           floor.c: one read and one send per frame that holds one event
    redis-py         no server at all: HINCRBY and PUBLISH per event, 100 events to a
                     pipeline; without devices, numbers or duplicates

The rows in memory are compared with `C echo`, those with Redis with `redis-py`, both
by the time of all processes together. Latencies are from when an event was due to the
acknowledgement, at 2,000 events a second from all devices in turn.

Each node runs twice: with the parts in C (native), and with their twins in Python
(pure).

Finding (2026-11-23, two cores, Python 3.11, uvloop 0.23), us per event:

    C echo 12.5      memory: single 37.6 native (3.0 times the floor), 43.3 pure;
                     batches 2.4 native (0.19), 8.5 pure
    redis-py 29.0    node and Redis: single 39.7 native (1.4), 48.6 pure;
                     batches 2.8 native (0.10), of which Redis 0.3; 7.4 pure

Aims: single in memory 2.0, not reached; batches with Redis 0.15. Acknowledgements: p50
53 to 61 ms, p99 97 to 106 (native). With 500 devices on a busy machine a single event
took 2.7 times the floor.

What a single event was made of before this way (68 us, profile by py-spy --native):
18 % system calls; 41 % from bytes to the queue, of which judging and counting 17 and
messages that became objects 15; 46 % commit and acknowledgement, of which adding cell
by cell 21 and encoding and writing the answer 16. Now (perf, cpu-clock) the kernel has
45 %, uvloop 6, JSON and the parts in C 4, and Python 43, half of which is the
interpreter's own loop; a message costs it 4.7 us until it is queued, 2.7 from the
commit to the acknowledgement where nothing drives it out of the caches, and about twice
that between two system calls. So all acknowledgements are made first, and sent then:
that alone took 36 us to 30 (1,000 devices, by turns).

    python benchmarks/ingest.py [--devices 1000] [--frames 10] [--turns 5]

With --url, your own server is loaded instead, without floors: what follows is then that
of `realtime bench ingest` (see its --help).
"""

from __future__ import annotations

import argparse
import os
from array import array
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import redis
from common.devices import ECHO_BYTES, FRAME_BYTES, POSTS, Devices, EchoDevices, track
from common.floor import floor
from common.program import main, new_parser
from common.watchers import watch

from realtime.bench.children import Child, answer_with
from realtime.bench.local import pid_of, serving
from realtime.bench.machine import cpu_us
from realtime.bench.program import hand_over
from realtime.bench.report import Turns, number, print_table, ratio, say, spread
from realtime.testing.servers import HOST, ValkeyServer

CONFIG = """
[counters.likes]
event = "like"
by = ["post"]
windows = ["total", "5m"]
"""

BATCH = 20
WATCHED = 10
PIPELINED_EVENTS = 100

ECHO, DIRECT = "C echo", "redis-py"
NATIVE, PURE = "native", "pure"


@dataclass(frozen=True, slots=True)
class Stage:
    """Devices and the processes that do the work for them."""

    devices: Child
    node: int
    redis: int | None = None
    floor: str = ECHO


def measure(options: argparse.Namespace) -> None:
    """Measure by turns and print the table."""
    turns, latencies = Turns(), dict[str, "array[float]"]()
    with ExitStack() as stack:
        stages = _open(stack, options.devices)
        for turn in range(options.turns + 1):
            say(f"turn {turn} of {options.turns}")
            names = list(stages)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                costs, found = _ask(stages[name], options)
                if turn:  # the first one warms up
                    turns.add(name, **costs)
                    latencies.setdefault(name, array("d")).extend(found)
    _print(turns, latencies, stages)


# -- what is compared ------------------------------------------------------------------


def _open(stack: ExitStack, count: int) -> Mapping[str, Stage]:
    """Start everything."""
    stages: dict[str, Stage] = {}
    bare = stack.enter_context(floor("echo", FRAME_BYTES, ECHO_BYTES))
    if bare is not None:
        devices = stack.enter_context(Child(track, EchoDevices, bare.port, count, 1))
        devices.answer()
        stages[ECHO] = Stage(devices, bare.pid)
    _add_nodes(stack, count, stages)
    return stages


def _add_nodes(stack: ExitStack, count: int, stages: dict[str, Stage]) -> None:
    """Start the nodes, with the parts in C and without, and what writes directly."""
    for kind in NATIVE, PURE:
        stages[f"memory, single, {kind}"] = _node(stack, count, 1, kind)
        stages[f"memory, batches, {kind}"] = _node(stack, count, BATCH, kind)
    direct_to = stack.enter_context(ValkeyServer())
    direct = stack.enter_context(Child(write_directly, direct_to.port))
    stages[DIRECT] = Stage(direct, direct.pid, direct_to.pid, DIRECT)
    for kind in NATIVE, PURE:
        for name, batch in ("single", 1), ("batches", BATCH):
            valkey = stack.enter_context(ValkeyServer())
            stages[f"Redis, {name}, {kind}"] = _node(stack, count, batch, kind, valkey)


@contextmanager
def _environment(kind: str) -> Iterator[None]:
    """Let processes that are started meanwhile use the parts in C, or not."""
    before = os.environ.get("REALTIME_PURE", "")
    os.environ["REALTIME_PURE"] = "1" if kind == PURE else ""
    try:
        yield
    finally:
        os.environ["REALTIME_PURE"] = before


def _node(
    stack: ExitStack,
    count: int,
    batch: int,
    kind: str,
    valkey: ValkeyServer | None = None,
) -> Stage:
    """Start a node with its devices and watchers."""
    url = valkey.url if valkey else None
    with _environment(kind):
        [node] = stack.enter_context(serving(CONFIG, redis=url))
    channels = [f"live:likes;post={post};window=total" for post in range(WATCHED)]
    watchers = stack.enter_context(Child(watch, node.port, channels))
    watchers.answer()
    devices = stack.enter_context(Child(track, Devices, node.port, count, batch))
    devices.answer()
    if valkey is None:
        return Stage(devices, pid_of(node))
    return Stage(devices, pid_of(node), valkey.pid, DIRECT)


def write_directly(pipe: Connection, port: int) -> None:
    """Count as one does without a server between; see ``realtime.bench.children``."""
    with redis.Redis(HOST, port) as client:

        def write(events: int) -> int:
            for start in range(0, events, PIPELINED_EVENTS):
                pipeline = client.pipeline(transaction=False)
                for event in range(start, min(start + PIPELINED_EVENTS, events)):
                    post = event % POSTS
                    pipeline.hincrby("likes", str(post), 1)
                    pipeline.publish(f"likes:{post}", "1")
                pipeline.execute()
            return events

        def act(what: str, *arguments: float) -> object:
            if what == "flood":
                frames, _ = arguments
                return write(int(frames) * 1000)
            return array("d")

        answer_with(pipe, act)


# -- measuring -------------------------------------------------------------------------


def _ask(
    stage: Stage, options: argparse.Namespace
) -> tuple[Mapping[str, float], array[float]]:
    """Return microseconds per event, by process, and latencies in ms."""
    before = _cpu(stage)
    events = stage.devices.ask("flood", options.frames, stage.node)
    spent = [now - then for now, then in zip(_cpu(stage), before, strict=True)]
    costs = {"node": spent[0] / events, "both": sum(spent) / events}
    if stage.redis is not None:
        costs["redis"] = spent[1] / events
    return costs, stage.devices.ask("paced", options.rate, options.seconds)


def _cpu(stage: Stage) -> list[float]:
    return [cpu_us(pid) for pid in (stage.node, stage.redis) if pid is not None]


def _print(
    turns: Turns, latencies: Mapping[str, array[float]], stages: Mapping[str, Stage]
) -> None:
    names = "way", "node us", "Redis us", "both us", "events/s and core", "ratio"
    rows: list[tuple[str, ...]] = [(*names, "p50 ms", "p99 ms", "p99.9 ms")]
    for name, stage in stages.items():
        cost = turns.medians(name)
        both = cost["both"]
        rows.append(
            (
                name,
                number(cost["node"]),
                number(cost.get("redis")),
                number(both),
                number(1e6 / both, 0),
                ratio(both, turns.medians(stage.floor).get("both")),
                *(number(each, 1) for each in spread(latencies[name])),
            )
        )
    print_table(*rows)


def _options() -> argparse.Namespace:
    parser = new_parser(__doc__ or "")
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument(
        "--frames", type=int, default=10, help="frames of a device and turn (10)"
    )
    parser.add_argument("--turns", type=int, default=5, help="turns to count (5)")
    parser.add_argument(
        "--rate", type=float, default=2000, help="events a second, for latency (2000)"
    )
    parser.add_argument(
        "--seconds", type=float, default=3, help="of a turn, for latency (3)"
    )
    options = parser.parse_args()
    if options.smoke:
        options.devices, options.frames, options.turns = 20, 2, 1
        options.rate, options.seconds = 200, 0.5
    return options


if __name__ == "__main__":
    hand_over("ingest")
    main(measure, _options())
