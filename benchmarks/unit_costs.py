"""
Question: what does one of each thing cost that `realtime bench simulate` counts?

Method: whatever the other benchmarks do not tell. Of a node joined by Redis: 1,000
clients come (token, hello, one subscribe to a channel of their own), answer pings
for a while, go; 1,000 ask to come and are refused because the node is full; 2,000
messages come by Redis for one subscriber, in tens, and 2,000 changes of a cell that one
watches (cadence 5 s, so hardly any is pushed). Counted is the processor time of the
node's process, user and system, without that of the idle node. Of Redis (Valkey, no
append-only file): the real adapters do each operation 2,000 times, twenty at a time;
what belongs to one device, cell, listener or channel is the difference between 64 (or
5) of them and one. The kernel's memory of a socket is the growth of its slabs with
2,000 of them open.

Finding (2026-11-23, two cores shared with seven others at work, Python 3.11, Valkey
9.1): connect 620 us, disconnect 177, refusal 229, ping and pong 35, a message from
Redis with its frame 83, a change of a cell 105; Redis: commit 66 us, a device in it
5.3, a cell 2.5, a watched one 2.8 more, a copy of a message for one more node 0.6 to
1.1, a publication 3.9, with a history 59, reading one 56, hello 15; the kernel 3.0 KiB
a socket. With the machine busier still, all of it was up to a third dearer.

    python benchmarks/unit_costs.py [--times 2000] [--turns 3] [--costs FILE]
    realtime bench simulate --costs FILE
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from common.node_costs import measure_node
from common.program import main, new_parser
from common.redis_costs import measure_redis

from realtime.bench.report import number, print_table

WITH_FRAME = "message_and_frame_us"


def measure(options: argparse.Namespace) -> None:
    """Measure both; print the table, and write the file."""
    node = measure_node(options.times // 2, options.times, options.turns)
    found = {**node, **measure_redis(options.times, options.turns)}
    print_table(
        ("what", "cost"),
        *((name, number(value)) for name, value in sorted(found.items())),
    )
    if options.costs:
        Path(options.costs).write_text(_toml(found, options.frame), "utf-8")


def _toml(found: dict[str, float], frame_us: float) -> str:
    """Write the costs as the simulator reads them."""
    known = dict(found)
    known["publication_us"] = max(0.0, known.pop(WITH_FRAME) - frame_us)
    today = time.strftime("%Y-%m-%d")
    about = f'source = "benchmarks/unit_costs.py", date = {today}'
    return "".join(
        f"{name} = {{ value = {value:.2f}, {about} }}\n"
        for name, value in sorted(known.items())
    )


def _options() -> argparse.Namespace:
    parser = new_parser(__doc__ or "")
    parser.add_argument(
        "--times", type=int, default=2000, help="of each operation (2000)"
    )
    parser.add_argument("--turns", type=int, default=3, help="turns to count (3)")
    parser.add_argument("--costs", metavar="FILE", help="write them there, as TOML")
    parser.add_argument(
        "--frame",
        type=float,
        default=12.4,
        help="us of a lone frame, which a message's cost is told without (12.4)",
    )
    options = parser.parse_args()
    if options.smoke:
        options.times, options.turns = 100, 1
    return options


if __name__ == "__main__":
    main(measure, _options())
