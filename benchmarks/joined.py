"""
Question: what does a frame cost when eight publications share a turn of the loop?

Method: 1,000 subscribers over loopback, eight publications at a time, a frame of 132
bytes each, with a pause in between. Counted is the processor time of the server
process, user and system, per delivered frame. Measured by turns in one run, each by the
same client in a process of its own:

    C send       floor.c: eight publications, one send() per subscriber and frame
    hub          the hub and an outbox per subscriber: eight publications on one channel
                 arrive in one read
    broadcast    `realtime serve`: one HTTP request publishes to eight channels, all of
                 which everybody subscribes to
    live         `realtime serve`: one event changes eight counters, all of which
                 everybody watches (the frames have 80 bytes, not 132)

What one turn of the loop brings leaves each connection in one write, whose bytes are
shared by all who get the same. In `broadcast` and `live`, everything else that the
server does is in the price: request or event, tick, commit and acknowledgement.

Finding (2026-11-23, two cores, Python 3.11, uvloop 0.23): C 8.26 us a frame; the hub
0.18 times that, broadcast and live 0.23 each. Aim: 0.30. p99: C 880 ms, the server 65
to 95 ms, because its reader has an eighth of the packets to read.

    python benchmarks/joined.py [--subscribers 1000] [--rounds 40] [--turns 7]
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack

from common.audience import FRAME_BYTES
from common.floor import floor
from common.layers import serve_layers
from common.program import main, new_parser
from common.together import (
    COUNTERS,
    EVENT,
    BareTogether,
    BroadcastTogether,
    LayerTogether,
    LiveTogether,
)
from fanout import FLOOR, Stage, compare, stage

from realtime.bench.children import Child
from realtime.bench.local import pid_of, serving

COUNTER = """
[counters.{name}]
event = "{event}"
cadence = "10ms"
"""
CONFIG = '[ledger]\ntick = "10ms"\n' + "".join(
    COUNTER.format(name=name, event=EVENT) for name in COUNTERS
)


def measure(options: argparse.Namespace) -> None:
    """Measure by turns and print the table."""
    with ExitStack() as stack:
        compare(_open(stack, options.subscribers), options)


def _open(stack: ExitStack, count: int) -> dict[str, Stage]:
    """Start everything that is compared."""
    stages = {}
    bare = stack.enter_context(floor("fanout", count, FRAME_BYTES))
    if bare is not None:
        stages[FLOOR] = stage(stack, bare.pid, bare.port, BareTogether, count)
    layers = stack.enter_context(Child(serve_layers))
    stages["hub"] = stage(stack, layers.pid, layers.answer(), LayerTogether, count)
    for name, kind in (("broadcast", BroadcastTogether), ("live", LiveTogether)):
        [node] = stack.enter_context(serving(CONFIG))
        stages[name] = stage(stack, pid_of(node), node.port, kind, count)
    return stages


def _options() -> argparse.Namespace:
    parser = new_parser(__doc__ or "")
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument(
        "--rounds", type=int, default=40, help="times eight publications a turn (40)"
    )
    parser.add_argument("--turns", type=int, default=7, help="turns to count (7)")
    parser.add_argument(
        "--gap", type=float, default=0.1, help="seconds between publications (0.1)"
    )
    options = parser.parse_args()
    if options.smoke:
        options.subscribers, options.rounds, options.turns = 20, 5, 1
    return options


if __name__ == "__main__":
    main(measure, _options())
