"""
Question: how much memory does an idle connection take?

Method: 15,000 connections over loopback, from client processes and addresses enough,
that have said all they have to say: signed in with a token of their own (JWT, HS256),
subscribed to one channel, silent ever since. Counted is the private memory of the
server process (USS: Private_* of smaps_rollup), once when it has served a few
connections and again after each third of the others, when all are quiet. What the
kernel keeps for a socket is nobody's private memory and not in it. All in one run:

    websockets       the floor: a server as one writes it with `websockets`' asyncio
                     API, compression off, that checks the same tokens and keeps a set
                     of connections per channel
    live channels    `realtime serve`, subscribed to one of 100 live channels
    one channel      the same, subscribed to one channel with history that all share
    own channels     every connection subscribed to a channel with history of its own:
                     its history and what the node knows of it is in the price

Finding (2026-11-23, two shared cores, Python 3.11, uvloop 0.23): `websockets` 15.7 KiB,
a live channel 3.5, one channel for all 3.4 (0.21 times as much) and one's own 4.8
(0.31). It grows evenly: 3.1 to 3.8 and 4.6 to 5.0 KiB for each in every third. The
server itself is 49 MiB. Of the 3.4, 1.9 are objects of Python's, 13 of them of size
(connection, socket, outbox, session, reader, timers, who it is ...), the rest uvloop's
handle and socket. A channel of one's own has 1.4 more: its topic, its history, what the
node knows of it. Aim: 5 KiB or less, 0.4 times the floor's.

    python benchmarks/idle_memory.py [--connections 15000] [--processes 3]

`realtime bench connect` tells the same of your own server's growth, with --url.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection

from common.doors import serve_by_hand
from common.program import main, new_parser

from realtime.bench.children import Child, answer_with
from realtime.bench.local import pid_of, serving, token
from realtime.bench.machine import private_kib, raise_file_limit
from realtime.bench.report import number, print_table, ratio, say
from realtime.bench.sockets import (
    Script,
    Socket,
    hello,
    open_sessions,
    subscribe,
)

CONFIG = """
[counters.likes]
event = "like"
by = ["post"]

[namespaces.bench_history]
history_size = 100
history_ttl = "10m"
"""

POSTS = 100
WARM_CONNECTIONS = 100  # opened before counting begins: code and caches are not counted
STEPS = 3

FLOOR = "websockets"


def live_script(number: int) -> list[tuple[bytes, bytes]]:
    """Watch a counter that others watch too."""
    channel = f"live:likes;post={number % POSTS};window=total"
    return [_hello(number), subscribe(channel)]


def one_script(number: int) -> list[tuple[bytes, bytes]]:
    """Subscribe to a channel that all others are subscribed to."""
    return [_hello(number), subscribe("bench_history:all")]


def own_script(number: int) -> list[tuple[bytes, bytes]]:
    """Subscribe to a channel of one's own."""
    return [_hello(number), subscribe(f"bench_history:{number}")]


def _hello(number: int) -> tuple[bytes, bytes]:
    return hello(token=token(f"user-{number}"))


OURS: dict[str, Script] = {
    "live channels": live_script,
    "one channel": one_script,
    "own channels": own_script,
}


# -- processes -------------------------------------------------------------------------


def hold(pipe: Connection, script: Script, port: int, start: int) -> None:
    """Open connections when asked to, numbered from *start*, and hold them."""
    raise_file_limit()
    held: list[Socket] = []

    def open_more(count: int) -> int:
        held.extend(open_sessions(port, count, script, start=start + len(held)))
        return len(held)

    pipe.send("ready")
    answer_with(pipe, open_more)


# -- the comparison --------------------------------------------------------------------


def measure(options: argparse.Namespace) -> None:
    """Fill one server after the other; print the table."""
    count = options.connections
    steps = [f"{(step + 1) * count // STEPS}" for step in range(STEPS)]
    rows = [("server", *(f"KiB each to {step}" for step in steps), "all", "ratio")]
    base = None
    with Child(serve_by_hand) as server:
        found = _fill(FLOOR, server.pid, server.answer(), live_script, options)
    base = sum(found) / STEPS
    rows.append((FLOOR, *map(number, found), number(base), "1.00"))
    for name, script in OURS.items():
        with serving(CONFIG) as [node]:
            found = _fill(name, pid_of(node), node.port, script, options)
        cost = sum(found) / STEPS
        rows.append((name, *map(number, found), number(cost), ratio(cost, base)))
    print_table(*rows)


def _fill(
    name: str, pid: int, port: int, script: Script, options: argparse.Namespace
) -> Sequence[float]:
    """Return the KiB that each connection takes, of each third of them."""
    found, each = [], options.connections // (STEPS * options.processes)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(Child(hold, script, port, one * options.connections))
            for one in range(options.processes)
        ]
        for client in clients:
            client.answer()
        clients[0].ask(WARM_CONNECTIONS)
        before = _quiet_kib(pid, options)
        for step in range(STEPS):
            for client in clients:
                client.ask(each)
            after = _quiet_kib(pid, options)
            found.append((after - before) / (each * len(clients)))
            say(f"{name}: step {step + 1} of {STEPS}, {after} KiB")
            before = after
    return found


def _quiet_kib(pid: int, options: argparse.Namespace) -> int:
    time.sleep(options.quiet)
    return private_kib(pid)


def _options() -> argparse.Namespace:
    parser = new_parser(__doc__ or "")
    parser.add_argument("--connections", type=int, default=15_000)
    parser.add_argument(
        "--processes", type=int, default=3, help="of clients (3): each has its files"
    )
    parser.add_argument(
        "--quiet",
        type=float,
        default=3.0,
        help="seconds of silence before counting (3)",
    )
    options = parser.parse_args()
    if options.smoke:
        options.connections, options.processes, options.quiet = 60, 2, 0.2
    return options


if __name__ == "__main__":
    main(measure, _options())
