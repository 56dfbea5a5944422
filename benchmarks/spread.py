"""
Question: how long after the first of 10,000 subscribers does the last one get it, and
what does somebody else notice of it?

Method: subscribers of one channel over loopback, in several processes; one publication
with a frame of 132 bytes a second. The kernel says when a frame has reached its socket
(SO_TIMESTAMPNS), and the clients read when all is over: reading disturbs nobody. Beside
it, by turns in the same run, floor.c: one bare pass of send() over as many sockets.
Meanwhile, one connection that subscribes to nothing pings the server every 2 ms, for as
long as the pass takes and a little longer; from when each ping left until its answer
has reached the socket.

Finding (2026-11-23, two cores, Python 3.11, uvloop 0.23): C 109 ms from the first to
the last, the server 127, which is 1.16 times that. Of 100 pings, 99 were answered
within 4.0 ms while the channel was served, and within 2.2 while only floor.c was at
work. A part of a round takes 2 ms by the clock. Aims: 1.5 times C, and 10 ms.

    python benchmarks/spread.py [--subscribers 10000] [--rounds 10] [--processes 4]
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise

from common.arrivals import CHANNEL, listen, ping
from common.audience import FRAME_BYTES
from common.floor import floor
from common.program import main, new_parser

from realtime.bench.children import Child
from realtime.bench.frames import message
from realtime.bench.local import serving, token
from realtime.bench.report import Turns, number, print_table, ratio, say, spread
from realtime.bench.sockets import Socket, connect, hello, open_sessions

FLOOR, SERVER = "C send", "channel"
HEAD = b'{"type":"push","channel":1,"data":""}'


@dataclass(frozen=True, slots=True)
class Stage:
    """A publisher, and the processes of its subscribers."""

    publisher: Socket
    publication: bytes
    listeners: list[Child]

    def measure(self, count: int, seconds: float) -> float:
        """Publish once; return the ms between the first arrival and the last."""
        for one in self.listeners:
            one.ask("nothing yet")
        self.publisher.send(self.publication)
        time.sleep(seconds)
        heard = [one.ask("heard") for one in self.listeners]
        if sum(found for found, _, _ in heard) != count:
            raise RuntimeError(f"not everybody has got it within {seconds:g} s")
        first, last = min(one[1] for one in heard), max(one[2] for one in heard)
        return (last - first) * 1e3


def measure(options: argparse.Namespace) -> None:
    """Measure by turns and print the table."""
    turns, pings, quiet = Turns(), list[float](), list[float]()
    with ExitStack() as stack:
        stages, pinger = _open(stack, options)
        pool = stack.enter_context(ThreadPoolExecutor(1))
        for turn in range(options.rounds + 1):
            say(f"round {turn} of {options.rounds}")
            for name, stage in stages.items():
                meanwhile = pool.submit(pinger.ask, options.pings)
                found = stage.measure(options.subscribers, options.wait)
                latencies = meanwhile.result()
                if turn:  # the first one warms up
                    turns.add(name, ms=found)
                    (pings if name == SERVER else quiet).extend(latencies)
    _print(turns, list(stages), pings, quiet)


def _open(
    stack: ExitStack, options: argparse.Namespace
) -> tuple[dict[str, Stage], Child]:
    """Start everything that is compared, and who pings."""
    stages: dict[str, Stage] = {}
    count = options.subscribers
    bare = stack.enter_context(floor("fanout", count, FRAME_BYTES))
    if bare is not None:
        publisher = connect(bare.port)  # it is the first that connects
        stages[FLOOR] = Stage(
            publisher, b"-" * FRAME_BYTES, _listeners(stack, bare.port, options, True)
        )
    [node] = stack.enter_context(serving(""))
    listeners = _listeners(stack, node.port, options, False)
    [publisher] = open_sessions(
        node.port, 1, lambda _: [hello(token=token("publisher"))]
    )
    data = "x" * (FRAME_BYTES - 4 - len(HEAD))
    publication = message("publish", channel=CHANNEL, data=data)
    stages[SERVER] = Stage(publisher, publication, listeners)
    pinger = stack.enter_context(Child(ping, node.port))
    pinger.answer()
    return stages, pinger


def _listeners(
    stack: ExitStack, port: int, options: argparse.Namespace, bare: bool
) -> list[Child]:
    count, processes = options.subscribers, options.processes
    ends = [count * at // processes for at in range(processes + 1)]
    children = []
    for first, end in pairwise(ends):
        child = stack.enter_context(Child(listen, port, first, end - first, bare))
        child.answer()
        children.append(child)
    return children


def _print(
    turns: Turns, names: list[str], pings: list[float], quiet: list[float]
) -> None:
    base = turns.medians(FLOOR).get("ms")
    rows: list[tuple[str, ...]] = [
        ("way", "spread ms", "ratio", "ping p50 ms", "p99 ms", "p99.9 ms")
    ]
    for name in names:
        found = turns.medians(name)["ms"]
        tail = [number(each) for each in spread(pings if name == SERVER else quiet)]
        rows.append((name, number(found), ratio(found, base), *tail))
    print_table(*rows)


def _options() -> argparse.Namespace:
    parser = new_parser(__doc__ or "")
    parser.add_argument("--subscribers", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10, help="publications (10)")
    parser.add_argument(
        "--processes", type=int, default=4, help="of the subscribers (4)"
    )
    parser.add_argument(
        "--wait", type=float, default=1.0, help="seconds for one publication (1)"
    )
    parser.add_argument(
        "--pings", type=float, default=0.2, help="seconds of pings with each (0.2)"
    )
    options = parser.parse_args()
    if options.smoke:
        options.subscribers, options.rounds, options.processes = 40, 2, 2
    return options


if __name__ == "__main__":
    main(measure, _options())
