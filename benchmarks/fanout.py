"""
Question: what does it cost to deliver one frame to one of many subscribers?

Method: 1,000 subscribers over loopback, one publication at a time and a frame of 132
bytes for each of them, with a pause in between so that no two share a write. Counted is
the processor time of the server process, user and system, per delivered frame. Measured
by turns in one run, each by the same client in a process of its own:

    C send       floor.c: reads the publication, then one send() per subscriber
    socket       our WebSocket's send, without anything above it
    hub          the hub and an outbox per subscriber; hub_latest: as for live channels
    channel      `realtime serve`: publish on a channel, JSON, tokens checked
    live         `realtime serve`: one event tracked, its counter's new value pushed

`channel` and `live` are the whole server: reading and checking what was sent, tick,
commit and acknowledgement are in the price (the value's frame has 80 bytes, not 132).
Latencies are from when a publication was due until a subscriber has read it, so
whatever makes the publisher late counts too; `live` waits for the 10 ms tick besides.
Reading 1,000 sockets takes the client longer than the server takes to write to them:
compare latencies with the floor's only.

Finding (2026-11-23, two cores, Python 3.11, uvloop 0.23), two runs on a quiet machine:
C 9.8 and 8.9 us a frame; the hub 1.11 and 1.15 times that, a channel of the whole
server 1.25 and 1.33, a live one 1.30 and 1.33. With other work on both cores the hub
and the channel took 0.98 and 0.93, the live one 1.15 and 1.22, where without the native
part it was 1.24 to 1.34, 1.31 to 1.36 and 1.45: what a send costs depends on whether it
must wake the reader. Of the channel's 12.3 us, 80 % were the kernel's, 6 % uvloop's,
13 % Python's, and most of these two went by waiting for memory: what belongs to one
subscriber lies in six places, and each send drives them out of the caches.
native/fanout.c looks at 64 of them before it sends to the first. What remains of a live
value is 1 ms for each event, not for each frame: tick, commit, acknowledgement, timers.
Aim: 1.2, reached by the hub only.

    python benchmarks/fanout.py [--subscribers 1000] [--rounds 40] [--turns 7]

With --url, your own server is loaded instead, without floors: what follows is then that
of `realtime bench fanout` (see its --help).
"""

from __future__ import annotations

import argparse
from array import array
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from common.audience import (
    COUNTER,
    FRAME_BYTES,
    Audience,
    BareAudience,
    ChannelAudience,
    LayerAudience,
    LiveAudience,
    attend,
)
from common.floor import floor
from common.layers import WAYS, serve_layers
from common.program import main, new_parser

from realtime.bench.children import Child
from realtime.bench.local import pid_of, serving
from realtime.bench.machine import cpu_us
from realtime.bench.program import hand_over
from realtime.bench.report import Turns, number, print_table, ratio, say, spread

CONFIG = f"""
[ledger]
tick = "10ms"

[counters.{COUNTER}]
event = "{COUNTER}"
cadence = "10ms"
"""

FLOOR = "C send"


@dataclass(frozen=True, slots=True)
class Stage:
    """A server with its audience."""

    pid: int
    audience: Child


def measure(options: argparse.Namespace) -> None:
    """Measure by turns and print the table."""
    with ExitStack() as stack:
        compare(_open(stack, options.subscribers), options)


def compare(stages: Mapping[str, Stage], options: argparse.Namespace) -> None:
    """Measure *stages* by turns and print the table."""
    turns, latencies = Turns(), dict[str, "array[float]"]()
    names = list(stages)
    for turn in range(options.turns + 1):
        say(f"turn {turn} of {options.turns}")
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            cost, found = _ask(stages[name], name, options)
            if turn:  # the first one warms up
                turns.add(name, us=cost)
                latencies.setdefault(name, array("d")).extend(found)
    _print(turns, latencies, names)


def _open(stack: ExitStack, count: int) -> Mapping[str, Stage]:
    """Start everything that is compared."""
    stages = {}
    bare = stack.enter_context(floor("fanout", count, FRAME_BYTES))
    if bare is not None:
        stages[FLOOR] = stage(stack, bare.pid, bare.port, BareAudience, count)
    layers = stack.enter_context(Child(serve_layers))
    lower = stage(stack, layers.pid, layers.answer(), LayerAudience, count)
    stages |= dict.fromkeys(WAYS, lower)
    kinds: dict[str, type[Audience]] = {
        "channel": ChannelAudience,
        "live": LiveAudience,
    }
    for name, kind in kinds.items():
        [node] = stack.enter_context(serving(CONFIG))
        stages[name] = stage(stack, pid_of(node), node.port, kind, count)
    return stages


def stage(
    stack: ExitStack, pid: int, port: int, kind: type[Audience], count: int
) -> Stage:
    """Return what serves at *port*, with an audience of *kind*."""
    audience = stack.enter_context(Child(attend, kind, port, count))
    audience.answer()
    return Stage(pid, audience)


def _ask(
    stage: Stage, way: str, options: argparse.Namespace
) -> tuple[float, array[float]]:
    """Return microseconds of processor time per frame, and latencies in ms."""
    before = cpu_us(stage.pid)
    frames, latencies = stage.audience.ask(way, options.rounds, options.gap)
    return (cpu_us(stage.pid) - before) / frames, latencies


def _print(
    turns: Turns, latencies: Mapping[str, array[float]], names: list[str]
) -> None:
    base = turns.medians(FLOOR).get("us")
    rows: list[tuple[str, ...]] = [
        ("way", "us/frame", "ratio", "p50 ms", "p99 ms", "p99.9 ms")
    ]
    for name in names:
        cost = turns.medians(name)["us"]
        tail = [number(each) for each in spread(latencies[name])]
        rows.append((name, number(cost), ratio(cost, base), *tail))
    print_table(*rows)


def _options() -> argparse.Namespace:
    parser = new_parser(__doc__ or "")
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument(
        "--rounds", type=int, default=40, help="publications of one turn (40)"
    )
    parser.add_argument("--turns", type=int, default=7, help="turns to count (7)")
    parser.add_argument(
        "--gap", type=float, default=0.05, help="seconds between publications (0.05)"
    )
    options = parser.parse_args()
    if options.smoke:
        options.subscribers, options.rounds, options.turns = 20, 5, 1
    return options


if __name__ == "__main__":
    hand_over("fanout")
    main(measure, _options())
