"""
Question: what does Redis have to do for a counter that several nodes watch?

Method: 50 devices of the first node send a batch in every tick (100 ms), of 4 or of 16
events, 2,000 or 8,000 events a second. One counter counts them, by post, in all and in
five minutes. On every one of 1, 2 or 4 nodes somebody watches the same 20 posts, all of
which change in every tick. Counted by Redis itself (Valkey, INFO), per tick: its
commands, those of scripts among them, and the bytes that it sends and receives; of the
rest, such as reports of the nodes and probes of pub/sub, what an idle run of the same
nodes costs is told in the first line of each.

What must be seen: with more events, nothing grows but the numbers in the cells. With
more nodes, nothing grows but the copies of each notice that Redis sends (bytes out) and
what the nodes say of themselves (others). A SET is the mark of a device; HMGET, HSET
and EXPIREAT are per bucket of a counter; a PUBLISH is a watched combination that has
changed.

Finding (2026-11-23, two shared cores, Valkey), per tick, the idle run's share left out:
one commit (EVALSHA), one MGET, two HMGET, HSET, and one EXPIREAT; 50 SET, one for each
device; one question who listens (NUMSUB); 20 PUBLISH, one for each watched post. That
is the same with 2,000 and with 8,000 events a second, and with 1, 2 and 4 nodes. Others
are 0.3 commands per tick and node. Bytes out are 1.7, 3.2 and 6.3 KiB with 1, 2 and 4
nodes (80 bytes per notice and node), bytes in 2.7 KiB with any number of them.

    python benchmarks/watched.py [--nodes 1,2,4] [--batches 4,16] [--posts 20]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack

import redis
from common.devices import EVENT, Devices, track
from common.program import main, new_parser
from common.watchers import watch

from realtime.bench.children import Child
from realtime.bench.local import serving
from realtime.bench.report import number, print_table, say
from realtime.testing.servers import HOST, ValkeyServer

TICK_S = 0.1

CONFIG = f"""
[ledger]
tick = "{TICK_S * 1000:g}ms"

[counters.likes]
event = "{EVENT}"
by = ["post"]
windows = ["total", "5m"]
"""

COMMANDS = (
    "evalsha",
    "mget",
    "set",
    "hmget",
    "hset",
    "expireat",
    "pubsub|numsub",
    "publish",
)
IGNORED = "info", "client|setinfo", "client|setname", "ping"  # of this program


def measure(options: argparse.Namespace) -> None:
    """Measure each number of nodes with each size of batches; print the table."""
    head = "nodes x events/s", *(name.upper() for name in COMMANDS), "others"
    rows: list[tuple[str, ...]] = [(*head, "KiB out", "KiB in")]
    for nodes in options.nodes:
        for batch in (0, *options.batches):
            say(f"{nodes} nodes, batches of {batch}")
            found = _count(nodes, batch, options)
            rate = batch * options.devices / TICK_S
            rows.append((f"{nodes} x {rate:g}", *_cells(found, options.seconds)))
    print_table(*rows)


def _cells(found: Mapping[str, float], seconds: float) -> list[str]:
    """Return a row: what there was per tick."""
    ticks = seconds / TICK_S
    named = [found.get(name, 0) / ticks for name in COMMANDS]
    others = sum(
        calls
        for name, calls in found.items()
        if name not in COMMANDS and name not in ("out", "in") and name not in IGNORED
    )
    kib = [found[name] / 1024 / ticks for name in ("out", "in")]
    return [number(each, 1) for each in (*named, others / ticks, *kib)]


def _count(nodes: int, batch: int, options: argparse.Namespace) -> Mapping[str, float]:
    """Return what Redis did in the time of one run."""
    channels = [
        f"live:likes;post={post};window=total"
        for post in range(options.first_post, options.first_post + options.posts)
    ]
    with ExitStack() as stack:
        valkey = stack.enter_context(ValkeyServer())
        served = stack.enter_context(serving(CONFIG, nodes, valkey.url))
        screens = [stack.enter_context(Child(watch, n.port, channels)) for n in served]
        port, count = served[0].port, options.devices
        devices = stack.enter_context(Child(track, Devices, port, count, batch or 1))
        for child in (*screens, devices):
            child.answer()
        rate = batch * count / TICK_S
        # A turn that does not count: marks and buckets are made, scripts are loaded.
        devices.ask("paced", rate or 1, 2 * TICK_S if rate else 1)
        before = _statistics(valkey)
        if rate:
            devices.ask("paced", rate, options.seconds)
        else:
            time.sleep(options.seconds)
        after = _statistics(valkey)
    return {name: after[name] - before[name] for name in after}


def _statistics(valkey: ValkeyServer) -> Counter[str]:
    with redis.Redis(HOST, valkey.port) as client:
        calls = client.info("commandstats")
        bytes_of = client.info("stats")
    found: Counter[str] = Counter()
    for name, values in calls.items():
        found[name.removeprefix("cmdstat_")] = values["calls"]
    found["out"] = bytes_of["total_net_output_bytes"]
    found["in"] = bytes_of["total_net_input_bytes"]
    return found


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def _options() -> argparse.Namespace:
    parser = new_parser(__doc__ or "")
    parser.add_argument("--nodes", type=_numbers, default=[1, 2, 4], help="1,2,4")
    parser.add_argument("--batches", type=_numbers, default=[4, 16], help="4,16")
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--posts", type=int, default=20, help="that are watched (20)")
    parser.add_argument("--seconds", type=float, default=4, help="of each run (4)")
    options = parser.parse_args()
    if options.smoke:
        options.nodes, options.batches = [1, 2], [2, 4]
        options.devices, options.posts, options.seconds = 10, 2, 1
    # The first post that the devices' batches, whatever their size, all reach.
    options.first_post = max(options.batches) - 1
    return options


if __name__ == "__main__":
    main(measure, _options())
