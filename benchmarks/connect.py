"""
Question: what does it cost to let a client in, and to let it go?

Method: clients come over loopback, 50 at a time, each with a token (JWT, HS256) of its
own; nobody sends before the answer to what it said before. Counted is the processor
time of the server process, user and system, per connection: until all are in, and from
then until all have been cut off. Measured by turns in one run, by the same client in a
process of its own:

    asyncio         the floor: a bare asyncio.Protocol that reads the request and
                    answers by heart; then it says nothing more
    uvloop          the same on uvloop
    three answers   the same two, answering also what is said next, twice: nothing is
                    read or checked, but every connection takes two more reads and
                    writes, as it does below
    websockets      a server as one writes it with `websockets`' asyncio API that checks
                    the same tokens and keeps a set of connections per channel
    upgrade         `realtime serve`: accept and upgrade
    hello           and the token, and a session
    subscribe       and a subscription to one channel with history, which others have
    own channel     and a subscription to a channel of one's own instead
    in hello        the same as `subscribe`, named in hello: two answers, not three
    device          the same as `subscribe`, for a device that will send events

Finding (2026-11-23, two shared and busy cores, Python 3.11, uvloop 0.23): asyncio 106
us; `subscribe` 468, which is 4.4 times that, where it was 902 and 8.5 in the same run
before requests were read, tokens checked and lines logged by shorter ways, and without
tasks; in three other runs 4.7, 4.9 and 5.3. `websockets` takes 8.2 to 9.7. Going takes
3.0 times the floor's, and took 4.1. Of the server's time two thirds are Python's (perf)
and a quarter the kernel's; answering three times by heart takes uvloop 0.9 of the
floor. In the process alone, the upgrade takes 100 us, hello 140 (the token 40, its line
in the log 35, the welcome 17) and subscribe 60 to 80: two to four times what the same
functions take in a loop of their own, for between one client and the next nothing of
them is left in the processor's caches. On a quiet machine: asyncio 115 us, `subscribe`
503 (4.4). Aim: 3.0, not reached.

    python benchmarks/connect.py [--connections 1000] [--turns 7]

How long clients wait is not asked here, but by `realtime bench connect`: at a given
rate or all at once, counted from when each was due. With --url, that is what is run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection

from common.doors import Answering, Upgrading, serve_bare, serve_by_hand
from common.program import main, new_parser

from realtime.bench.children import Child, answer_with
from realtime.bench.frames import message
from realtime.bench.local import pid_of, serving, token
from realtime.bench.machine import cpu_us, raise_file_limit
from realtime.bench.program import hand_over
from realtime.bench.report import Turns, number, print_table, ratio, say
from realtime.bench.sockets import Socket, hello, open_sessions, subscribe

CONFIG = """
[namespaces.bench_history]
history_size = 100
history_ttl = "10m"
"""
CHANNEL = "bench_history:all"

Step = tuple[bytes, bytes]
"""What is said, and what its answer contains."""

# -- what clients say ------------------------------------------------------------------


def nothing(number: int, token: str) -> Iterable[Step]:
    """Say nothing after the upgrade."""
    return ()


def greet(number: int, token: str) -> Iterable[Step]:
    """Say hello."""
    return [hello(token=token)]


def join(number: int, token: str) -> Iterable[Step]:
    """Say hello, then subscribe to what all subscribe to."""
    return [hello(token=token), subscribe(CHANNEL)]


def join_own(number: int, token: str) -> Iterable[Step]:
    """Say hello, then subscribe to what nobody else does."""
    return [hello(token=token), subscribe(f"bench_history:{number}")]


def join_in_hello(number: int, token: str) -> Iterable[Step]:
    """Say both in one message."""
    wanted = [{"channel": CHANNEL}]
    return [(message("hello", token=token, subscriptions=wanted), b'"subscribed"')]


def join_as_device(number: int, token: str) -> Iterable[Step]:
    """Say hello as a device, then subscribe."""
    return [hello(token=token, device=f"device-{number}"), subscribe(CHANNEL)]


Script = Callable[[int, str], Iterable[Step]]

FLOOR = "asyncio"
OURS: Mapping[str, Script] = {
    "upgrade": nothing,
    "hello": greet,
    "subscribe": join,
    "own channel": join_own,
    "in hello": join_in_hello,
    "device": join_as_device,
}
BARE: Mapping[str, tuple[type, bool, Script]] = {
    FLOOR: (Upgrading, False, nothing),
    "uvloop": (Upgrading, True, nothing),
    "asyncio, three answers": (Answering, False, join),
    "uvloop, three answers": (Answering, True, join),
}
RIVAL = "websockets"


# -- the client ------------------------------------------------------------------------


def come_and_go(pipe: Connection, count: int) -> None:
    """Open *count* connections when asked to, or close them."""
    raise_file_limit()
    tokens = [token(f"user-{number}") for number in range(count)]
    held: list[Socket] = []

    def answer(port: int | None, script: Script = nothing) -> int:
        nonlocal held
        if port is None:
            for one in held:
                one.sock.close()
            held = []
        else:
            said = (script(number, tokens[number]) for number in range(count))
            scripts = list(said)
            held = open_sessions(port, count, scripts.__getitem__)
        return len(held)

    pipe.send("ready")
    answer_with(pipe, answer)


# -- the comparison --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stage:
    """A server, and what is said to it."""

    pid: int
    port: int
    script: Script


def measure(options: argparse.Namespace) -> None:
    """Measure by turns and print the table."""
    turns = Turns()
    with ExitStack() as stack:
        stages = _stages(stack)
        client = stack.enter_context(Child(come_and_go, options.connections))
        client.answer()
        for turn in range(options.turns + 1):
            say(f"turn {turn} of {options.turns}")
            names = list(stages)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                come, go = _ask(stages[name], client, options)
                if turn:  # the first one warms up
                    turns.add(name, come=come, go=go)
    _print(turns, list(stages))


def _stages(stack: ExitStack) -> dict[str, Stage]:
    stages = {}
    for name, (protocol, fast, script) in BARE.items():
        bare = stack.enter_context(Child(serve_bare, protocol, fast))
        stages[name] = Stage(bare.pid, bare.answer(), script)
    rival = stack.enter_context(Child(serve_by_hand))
    stages[RIVAL] = Stage(rival.pid, rival.answer(), join)
    [node] = stack.enter_context(serving(CONFIG))
    for name, script in OURS.items():
        stages[name] = Stage(pid_of(node), node.port, script)
    return stages


def _ask(
    stage: Stage, client: Child, options: argparse.Namespace
) -> tuple[float, float]:
    """Return microseconds of processor time per connection: coming, and going."""
    begun = cpu_us(stage.pid)
    client.ask(stage.port, stage.script)
    time.sleep(options.quiet)  # what is left to be done is theirs, too
    there = cpu_us(stage.pid)
    client.ask(None)
    time.sleep(options.quiet)
    gone = cpu_us(stage.pid)
    return (there - begun) / options.connections, (gone - there) / options.connections


def _print(turns: Turns, names: list[str]) -> None:
    base = turns.medians(FLOOR)
    rows: list[tuple[str, ...]] = [
        ("server", "us to come", "ratio", "us to go", "ratio")
    ]
    for name in names:
        found = turns.medians(name)
        come, go = found["come"], found["go"]
        compared = ratio(come, base["come"]), ratio(go, base["go"])
        rows.append((name, number(come, 1), compared[0], number(go, 1), compared[1]))
    print_table(*rows)


def _options() -> argparse.Namespace:
    parser = new_parser(__doc__ or "")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=7, help="turns to count (7)")
    parser.add_argument(
        "--quiet",
        type=float,
        default=0.3,
        help="seconds of silence that belong to what came before (0.3)",
    )
    options = parser.parse_args()
    if options.smoke:
        options.connections, options.turns, options.quiet = 20, 1, 0.05
    return options


if __name__ == "__main__":
    hand_over("connect")
    main(measure, _options())
