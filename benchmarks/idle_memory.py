"""
Question: how much memory does an idle connection take?

Method: 5,000 connections over loopback that have said all they have to say: signed in
with a token (JWT, HS256), subscribed to one channel, silent ever since. Counted is the
private memory of the server process (USS: Private_* of smaps_rollup), once when it has
served a few connections and again when all are open and quiet, per connection. What the
kernel keeps for a socket is nobody's private memory and not in it. All in one run:

    websockets       the floor: a server as one writes it with `websockets`' asyncio
                     API, compression off, that checks the same tokens and keeps a set
                     of connections per channel
    live channels    `realtime serve`, subscribed to one of 100 live channels
    own channels     `realtime serve`, every connection to a channel of its own

Finding (2026-11-23, two shared cores, Python 3.11, uvloop 0.23): `websockets` 14.6 KiB,
a live channel 4.2, a channel of one's own 4.8. It grows evenly: 3.6 to 4.6 KiB each for
every thousand up to 7,000. The server itself is 44 MiB. Aim: 8 KiB or less.

    python benchmarks/idle_memory.py [--connections 5000]
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

import jwt
import orjson
from common.program import main, new_parser
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from realtime.bench.children import Child, answer_with
from realtime.bench.local import SECRET, pid_of, serving, token
from realtime.bench.machine import private_kib, raise_file_limit
from realtime.bench.report import number, print_table, ratio, say
from realtime.bench.sockets import HOST, Script, hello, open_sessions, subscribe

CONFIG = """
[counters.likes]
event = "like"
by = ["post"]
"""

POSTS = 100
WARM_CONNECTIONS = 100  # opened before counting begins: code and caches are not counted

FLOOR = "websockets"


def live_script(number: int) -> list[tuple[bytes, bytes]]:
    """Watch a counter that others watch too."""
    channel = f"live:likes;post={number % POSTS};window=total"
    return [_hello(number), subscribe(channel)]


def own_script(number: int) -> list[tuple[bytes, bytes]]:
    """Subscribe to a channel of one's own."""
    return [_hello(number), subscribe(f"bench:{number}")]


def _hello(number: int) -> tuple[bytes, bytes]:
    return hello(token=token(f"user-{number}"), device=f"device-{number}")


SCRIPTS: dict[str, Script] = {"live": live_script, "own": own_script}


# -- processes -------------------------------------------------------------------------


def hold(pipe: Connection, script: str, port: int) -> None:
    """Open connections when asked to, and hold them."""
    raise_file_limit()
    held = open_sessions(port, WARM_CONNECTIONS, SCRIPTS[script])

    def open_more(count: int) -> int:
        nonlocal held
        numbered = SCRIPTS[script]
        held += open_sessions(port, count, lambda n: numbered(n + WARM_CONNECTIONS))
        return len(held)

    pipe.send("ready")
    answer_with(pipe, open_more)


def serve_by_hand(pipe: Connection) -> None:
    """Serve as the floor does; tells its port first."""
    raise_file_limit()
    asyncio.run(_serve_by_hand(pipe.send))


async def _serve_by_hand(tell: Callable[[int], None]) -> None:
    channels: dict[str, set[ServerConnection]] = {}

    async def handle(connection: ServerConnection) -> None:
        said = orjson.loads(await connection.recv())
        jwt.decode(said["token"], SECRET, ["HS256"])
        await connection.send('{"type":"welcome"}')
        said = orjson.loads(await connection.recv())
        members = channels.setdefault(said["channel"], set())
        members.add(connection)
        await connection.send('{"type":"subscribed"}')
        with suppress(ConnectionClosed):
            async for _ in connection:
                pass
        members.discard(connection)

    async with serve(
        handle,
        HOST,
        0,
        compression=None,
        ping_interval=None,
        subprotocols=["realtime.v1.json"],  # type: ignore[list-item]
    ) as server:
        tell(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


# -- the comparison --------------------------------------------------------------------


def measure(options: argparse.Namespace) -> None:
    """Fill one server after the other; print the table."""
    rows: list[tuple[str, ...]] = [("server", "connections", "KiB each", "ratio")]
    count = options.connections
    with Child(serve_by_hand) as server:
        base = _fill(FLOOR, server.pid, server.answer(), "live", options)
    rows.append((FLOOR, str(count), number(base), "1.00"))
    for name, script in (("live channels", "live"), ("own channels", "own")):
        with serving(CONFIG) as [node]:
            cost = _fill(name, pid_of(node), node.port, script, options)
        rows.append((name, str(count), number(cost), ratio(cost, base)))
    print_table(*rows)


def _fill(
    name: str, pid: int, port: int, script: str, options: argparse.Namespace
) -> float:
    """Return the KiB that each connection takes."""
    count: int = options.connections
    with Child(hold, script, port) as client:
        client.answer()
        time.sleep(options.quiet)
        before = private_kib(pid)
        say(f"{name}: {before} KiB with {WARM_CONNECTIONS} connections")
        client.ask(count)
        time.sleep(options.quiet)
        after = private_kib(pid)
        say(f"{name}: {after} KiB with {count} more")
    return (after - before) / count


def _options() -> argparse.Namespace:
    parser = new_parser(__doc__ or "")
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument(
        "--quiet",
        type=float,
        default=3.0,
        help="seconds of silence before counting (3)",
    )
    options = parser.parse_args()
    if options.smoke:
        options.connections, options.quiet = 100, 0.2
    return options


if __name__ == "__main__":
    main(measure, _options())
