"""What one of each thing costs Redis: the real adapters, one operation at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count

from realtime.adapters.broker.port import HistoryQuery, Keep, PublishOptions
from realtime.adapters.broker.redis import RedisBroker
from realtime.adapters.ledger.redis import RedisLedger
from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.pubsub import PubSub
from realtime.bench.report import Turns, say
from realtime.core.cells import CellKey
from realtime.core.counters import CounterDefinition, CounterSet
from realtime.core.ledger import SubBatch
from realtime.core.measures import Measure
from realtime.core.windows import Window
from realtime.settings import LedgerSettings, RedisSettings
from realtime.testing.servers import ValkeyServer
from realtime.types import Channel, DeviceId, JSONText, Publication

PREFIX = "bench"
MANY = 64  # devices, cells or channels, where one of them is computed by difference
NODES = 5  # that listen, where a copy is computed by difference
AT_ONCE = 20
KEEP = Keep(100, 3600.0, 3600.0)
KEPT = PublishOptions(keep=KEEP)
DATA = JSONText(b'{"text":"%s"}' % (b"x" * 90))
COUNTERS = CounterSet(
    [
        CounterDefinition(
            "likes",
            "like",
            Measure.COUNT,
            by=("post",),
            windows=(Window.parse("total"),),
        )
    ]
)

Operation = Callable[[int], Awaitable[object]]


class Node:
    """What one node has open."""

    def __init__(self, url: str, prefix: str = PREFIX) -> None:
        self.link = RedisLink(RedisSettings(url, timeout_s=30.0))
        self.pubsub = PubSub(self.link, prefix)
        self.broker = RedisBroker(self.link, self.pubsub, prefix)
        self.ledger = RedisLedger(
            self.link, self.pubsub, COUNTERS, LedgerSettings(), prefix
        )

    async def start(self) -> None:
        """Connect."""
        await self.broker.start()
        await self.ledger.start()

    async def aclose(self) -> None:
        """Disconnect."""
        await self.pubsub.aclose()
        await self.link.aclose()


async def change(url: str, prefix: str, cell: str, times: int) -> None:
    """Commit *times* to one cell of ``likes``, as another node would, in tens."""
    node = Node(url, prefix)
    await node.start()
    commit = _commit(node, 1, 1, 0, cell)
    for number in range(times):
        await commit(number)
        if number % 10 == 9:
            await asyncio.sleep(0.005)
    await node.aclose()


def measure_redis(times: int, turns: int) -> Mapping[str, float]:
    """Return the costs whose names begin with ``redis_``, in microseconds."""
    with ValkeyServer() as valkey:
        return asyncio.run(_measure(valkey, times, turns))


async def _measure(valkey: ValkeyServer, times: int, turns: int) -> Mapping[str, float]:
    nodes = [Node(valkey.url) for _ in range(NODES)]
    for node in nodes:
        await node.start()
    found = Turns()
    for turn in range(turns + 1):
        say(f"Redis: turn {turn} of {turns}")
        raw = await _one_turn(valkey, nodes, times, turn)
        if turn:  # the first one warms up
            found.add("redis", **_costs(raw))
    for node in nodes:
        await node.aclose()
    return found.medians("redis")


async def _one_turn(
    valkey: ValkeyServer, nodes: Sequence[Node], times: int, turn: int
) -> Mapping[str, float]:
    """Return the time of each operation, fixed parts included."""
    raw = {}
    numbers = count(turn * 10_000_000)
    for name, operation in _operations(nodes[0], turn).items():
        raw[name] = await _us(valkey, operation, times, numbers)
    for listeners, at in ((1, nodes[1:2]), (NODES, nodes)):
        for node in at:
            await node.broker.subscribe(Channel(f"heard:{listeners}"))
        heard = _publish(nodes[0], f"heard:{listeners}", PublishOptions())
        raw[f"publish to {listeners}"] = await _us(valkey, heard, times, numbers)
    for cell in range(MANY):
        await nodes[1].ledger.watch("likes", f"watched-{cell}")
    watched = _commit(nodes[0], MANY, MANY, turn, "watched")
    raw["commit, watched"] = await _us(valkey, watched, times, numbers)
    for cell in range(MANY):
        await nodes[1].ledger.unwatch("likes", f"watched-{cell}")
    return raw


def _operations(one: Node, turn: int) -> Mapping[str, Operation]:
    """Return what is done by one node alone."""
    return {
        "ping": lambda number: one.link.call("PING"),
        "hello": lambda number: one.ledger.claim(
            DeviceId(f"device-{number}"), ["proof"], 0, 3600.0
        ),
        "commit 1, 1": _commit(one, 1, 1, turn),
        "commit many, 1": _commit(one, MANY, 1, turn),
        "commit many, many": _commit(one, MANY, MANY, turn),
        "publish": _publish(one, "nobody:here", PublishOptions()),
        "append": _publish(one, "kept:here", KEPT),
        "subscribe": lambda number: one.broker.subscribe(Channel(f"new:{number}")),
        "read": lambda number: one.broker.history(
            Channel("kept:here"), HistoryQuery(limit=2), KEEP
        ),
        "check": lambda number: one.broker.tops(
            [Channel(f"kept:{each}") for each in range(MANY)], KEEP
        ),
    }


def _commit(
    node: Node, devices: int, cells: int, turn: int, name: str = "cell"
) -> Operation:
    """Return commits of so many devices, one event each, to so many cells in all."""
    cell_of = [
        CellKey("likes", 0, 0, f"{name}-{each % cells}") for each in range(devices)
    ]
    own = f"{name}-{devices}-{cells}-{turn}"
    seen = [0]

    async def commit(number: int) -> object:
        # One after the other: numbers of a device must follow each other.
        seen[0] += 1
        batches = [
            SubBatch(
                DeviceId(f"{own}-{each}"),
                seen[0],
                seen[0],
                {cell_of[each]: (1,)},
                600.0,
            )
            for each in range(devices)
        ]
        return await node.ledger.commit(batches, time.time())

    return commit


def _publish(node: Node, channel: str, options: PublishOptions) -> Operation:
    publication = Publication(Channel(channel), DATA)
    return lambda number: node.broker.publish(publication, options)


async def _us(
    valkey: ValkeyServer, operation: Operation, times: int, numbers: count[int]
) -> float:
    """Return what Valkey computes for one operation."""
    left = iter(range(times))

    async def work() -> None:
        for _ in left:
            await operation(next(numbers))

    before = valkey.cpu_s()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return (valkey.cpu_s() - before) / times * 1e6


def _costs(raw: Mapping[str, float]) -> Mapping[str, float]:
    """Take the fixed parts out."""
    mark = (raw["commit many, 1"] - raw["commit 1, 1"]) / (MANY - 1)
    cell = (raw["commit many, many"] - raw["commit many, 1"]) / (MANY - 1)
    copy = (raw[f"publish to {NODES}"] - raw["publish to 1"]) / (NODES - 1)
    told = (raw["commit, watched"] - raw["commit many, many"]) / MANY
    costs = {
        "redis_commit_us": raw["commit 1, 1"] - mark - cell,
        "redis_mark_us": mark,
        "redis_cell_us": cell,
        "redis_notice_us": told - copy,
        "redis_copy_us": copy,
        "redis_publish_us": raw["publish"],
        "redis_append_us": raw["append"],
        "redis_read_us": raw["read"],
        "redis_hello_us": raw["hello"],
        "redis_subscribe_us": raw["subscribe"],
        "redis_check_us": raw["check"] / MANY,
    }
    # A difference of two small numbers may come out below nothing.
    return {name: max(0.0, us) for name, us in costs.items()}
