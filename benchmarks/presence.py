"""
Question: what do questions about a channel's members cost when there are 100,000?

Method: one Valkey, three nodes' forms of presence in one process, two channels: one of
100 members, one of 100,000 (half of them of users with several connections), spread
over the nodes. Each operation is done some thousand times on both, by turns, 50 at a
time. Counted is the time that Valkey's process computes, in microseconds per operation:
it is what all nodes share. The floor is a PING.

    ping             the floor: what any command costs
    stats            how many connections and users
    join and leave   one connection more, and gone again: two calls
    touch            renew a node's lease, and look who is gone
    page of 10       a page from the middle

Finding (2026-11-23, two shared cores, Python 3.11, Valkey 9): nothing grows with the
members. stats 28 us with 100 members, 30 with 100,000 (ratio 1.10); join and leave, two
calls, 110 and 118 (1.07); touch 35 and 40 (1.13); a page 58 and 59 (1.01); PING 2. So
one core of Valkey takes about 17,000 joins and leaves a second. Aim: ratio 1.5 or less.

    python benchmarks/presence.py [--members 100000] [--turns 5]
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import count

from common.program import main, new_parser

from realtime.adapters.presence.cursor import write_cursor
from realtime.adapters.presence.port import mark_of
from realtime.adapters.presence.redis import RedisPresence
from realtime.adapters.redis.client import RedisLink
from realtime.bench.report import Turns, number, print_table, ratio, say
from realtime.settings import RedisSettings
from realtime.testing.servers import ValkeyServer
from realtime.types import Channel, ConnectionId, JSONText, Member, NodeId, UserId

NODES = 3
FEW = 100
AT_ONCE = 50
LEASE_S = 3600.0
INFO = JSONText(b'{"name":"Somebody","avatar":"https://example.com/a.png"}')

Operation = Callable[[], Awaitable[object]]


class Room:
    """One channel and who is on it."""

    def __init__(self, name: str, members: int) -> None:
        self.channel = Channel(f"room:{name}")
        self.size = members
        self.members = [self._member(number) for number in range(members)]
        self.parts = [self.members[node::NODES] for node in range(NODES)]
        self.sums = [sum(mark_of(one.client) for one in part) for part in self.parts]
        middle = self.members[members // 2]
        self.cursor = write_cursor(middle.user, middle.client)

    def _member(self, number: int) -> Member:
        user = number if number % 2 else number // 8
        return Member(ConnectionId(f"{number:016x}"), UserId(f"user-{user}"), INFO)


class Bench:
    """The server, the forms of the nodes, and the two channels."""

    def __init__(
        self, valkey: ValkeyServer, link: RedisLink, options: argparse.Namespace
    ) -> None:
        self._valkey = valkey
        self._link = link
        self._options = options
        names = [NodeId(f"node-{number}") for number in range(NODES)]
        self._nodes = [RedisPresence(link, "bench", name) for name in names]
        self.rooms = [Room("few", FEW), Room("many", options.members)]
        self._numbers = count()

    async def fill(self) -> None:
        """Let everybody be there."""
        for room in self.rooms:
            for node, part in zip(self._nodes, room.parts, strict=True):
                for start in range(0, len(part), 5_000):
                    await node.restore(room.channel, part[: start + 5_000], LEASE_S)
            say(f"{room.channel}: {await self._nodes[0].stats(room.channel)}")

    def operations(self, room: Room) -> dict[str, Operation]:
        """What is measured, by its row."""
        one, channel = self._nodes[0], room.channel

        async def join_and_leave() -> None:
            number = next(self._numbers)
            client, user = ConnectionId(f"new-{number}"), UserId(f"new-{number}")
            await one.join(channel, Member(client, user, INFO), LEASE_S)
            await one.leave(channel, client, user)

        return {
            "ping": lambda: self._link.call("PING"),
            "stats": lambda: one.stats(channel),
            "join and leave": join_and_leave,
            "touch": lambda: one.touch([(channel, room.sums[0])], LEASE_S),
            "page of 10": lambda: one.members(channel, 10, room.cursor),
        }

    async def cost_us(self, operation: Operation) -> float:
        """Return what Valkey computes for one operation."""
        times: int = self._options.times
        left = iter(range(times))

        async def work() -> None:
            for _ in left:
                await operation()

        before = self._valkey.cpu_s()
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return (self._valkey.cpu_s() - before) / times * 1e6


def measure(options: argparse.Namespace) -> None:
    """Print the table."""
    with ValkeyServer() as valkey:
        turns = asyncio.run(_measure(valkey, options))
    head = ("operation", f"us, {FEW}", f"us, {options.members}", "ratio")
    rows: list[Sequence[str]] = [head]
    for row in ("ping", "stats", "join and leave", "touch", "page of 10"):
        found = turns.medians(row)
        few, many = found["few"], found["many"]
        rows.append((row, number(few, 1), number(many, 1), ratio(many, few)))
    print_table(*rows)


async def _measure(valkey: ValkeyServer, options: argparse.Namespace) -> Turns:
    link = RedisLink(RedisSettings(valkey.url, timeout_s=30.0))
    bench, turns = Bench(valkey, link, options), Turns()
    await bench.fill()
    few, many = (bench.operations(room) for room in bench.rooms)
    for turn in range(options.turns):
        for row in few:
            turns.add(
                row,
                few=await bench.cost_us(few[row]),
                many=await bench.cost_us(many[row]),
            )
        say(f"turn {turn + 1} of {options.turns}")
    await link.aclose()
    return turns


def _options() -> argparse.Namespace:
    parser = new_parser(__doc__ or "")
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=4_000, help="of each operation")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    if options.smoke:
        options.members, options.times, options.turns = 1_000, 200, 1
    return options


if __name__ == "__main__":
    main(measure, _options())
