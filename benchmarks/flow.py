"""
Question: what do filters, intervals and batches cost, and what do they save?

Method: 200 subscribers over loopback, 200 publications a second about ten symbols by
turns, each a frame of 132 bytes. The server publishes by itself, so that nothing else
is in the price; counted is the processor time of its process, user and system, per
publication and subscriber (what a publication costs, delivered or not) and per frame
that was delivered. All in one run, by turns, to the same sockets:

    direct                   every publication at once: what fanout.py measures
    one filter               half of the symbols, the same for all subscribers
    own filters              the same half, but every filter is another: nothing shared
    batch 50 ms              ten publications are joined into one write
    latest by symbol 100 ms  the latest of each symbol, joined: half of the frames
    latest 100 ms            the latest: one of twenty

Finding (2026-11-23, two shared cores, Python 3.11, uvloop 0.23): a write to a socket is
what costs (direct: 10.3 us), so what saves writes saves nearly everything. Batches of
ten take 0.22 of the time per publication; the latest by symbol 0.18, the latest 0.16
(most of it the idle server's); a filter that lets half through, 0.60. Where every
filter is another, nothing is shared and evaluating all of them costs as much as is
saved: 1.0, half a microsecond each and a microsecond for a write of one's own.

    python benchmarks/flow.py [--subscribers 200] [--rounds 300] [--turns 7]
"""

from __future__ import annotations

import argparse

from common.flows import FLOWS, attend_flows, serve_flows
from common.program import main, new_parser

from realtime.bench.children import Child
from realtime.bench.machine import cpu_us
from realtime.bench.report import Turns, number, print_table, ratio, say

DIRECT = "direct"


def measure(options: argparse.Namespace) -> None:
    """Measure by turns and print the table."""
    turns = Turns()
    with Child(serve_flows) as server:
        port = server.answer()
        with Child(attend_flows, port, options.subscribers) as audience:
            audience.answer()
            for turn in range(options.turns + 1):
                say(f"turn {turn} of {options.turns}")
                start = turn % len(FLOWS)
                for name in FLOWS[start:] + FLOWS[:start]:
                    before = cpu_us(server.pid)
                    frames = audience.ask(name, options.rounds, options.gap)
                    spent = cpu_us(server.pid) - before
                    if turn:  # the first one warms up
                        offered = options.rounds * options.subscribers
                        turns.add(
                            name,
                            offered=spent / offered,
                            frame=spent / frames,
                            share=frames / offered,
                        )
    _print(turns)


def _print(turns: Turns) -> None:
    base = turns.medians(DIRECT)
    rows: list[tuple[str, ...]] = [
        ("way", "delivered", "us/publication", "ratio", "us/frame", "ratio")
    ]
    for name in FLOWS:
        found = turns.medians(name)
        rows.append(
            (
                name,
                f"{found['share']:.0%}",
                number(found["offered"]),
                ratio(found["offered"], base["offered"]),
                number(found["frame"]),
                ratio(found["frame"], base["frame"]),
            )
        )
    print_table(*rows)


def _options() -> argparse.Namespace:
    parser = new_parser(__doc__ or "")
    parser.add_argument("--subscribers", type=int, default=200)
    parser.add_argument(
        "--rounds", type=int, default=300, help="publications of one turn (300)"
    )
    parser.add_argument("--turns", type=int, default=7, help="turns to count (7)")
    parser.add_argument(
        "--gap", type=float, default=0.005, help="seconds between them (0.005)"
    )
    options = parser.parse_args()
    if options.smoke:
        options.subscribers, options.rounds, options.turns = 10, 30, 1
    return options


if __name__ == "__main__":
    main(measure, _options())
