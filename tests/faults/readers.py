"""
Brokers with a history between a publisher that insists and readers that heal.

They do what backends and nodes do, in its plainest form, so that tests of faults can
count what becomes of every publication: it must arrive once, in order, on every node.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from realtime.adapters.broker.port import HistoryQuery, Keep, PublishOptions
from realtime.adapters.broker.redis import RedisBroker
from realtime.adapters.redis.backoff import Backoff
from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.pubsub import PubSub
from realtime.errors import BrokerUnavailable
from realtime.settings import RedisSettings
from realtime.testing.ledger_kit import eventually
from realtime.types import Channel, JSONText, Position, Publication

KEEP = Keep(size=100_000, ttl_s=3600.0, meta_ttl_s=3600.0)
CHANNELS = tuple(Channel(f"chat:{number}") for number in range(6))
PROBE_S = 0.2
RETRY_S = 0.02

_prefixes = (f"fault-{number}" for number in count())


class Node:
    """A broker with connections of its own, which it proves again and again."""

    def __init__(self, url: str, prefix: str, timeout_s: float) -> None:
        settings = RedisSettings(url, prefix=prefix, timeout_s=timeout_s)
        self.link = RedisLink(settings, backoff=Backoff(cap_s=0.2))
        self.pubsub = PubSub(self.link, prefix)
        self.broker = RedisBroker(self.link, self.pubsub, prefix)

    async def probe_forever(self) -> None:
        while True:
            await self.broker.probe()
            await asyncio.sleep(PROBE_S)

    async def aclose(self) -> None:
        for part in (self.broker, self.pubsub, self.link):
            await part.aclose()


class Reader:
    """Stands somewhere in each channel, and reads the history when in doubt."""

    def __init__(self, node: Node) -> None:
        self.seen: dict[Channel, list[bytes]] = {}
        self.live = 0  # arrived through pub/sub
        self.healed = 0  # read from the history
        self.gaps = 0  # told
        self._broker = node.broker
        self._places: dict[Channel, Position] = {}
        self._doubts: set[Channel] = set()
        self._wake = asyncio.Event()
        node.broker.on_publication = self._receive
        node.pubsub.on_reconnected.append(self.doubt)

    async def watch(self, channel: Channel) -> None:
        """Subscribe, then take the position: what comes in between is in doubt."""
        self.seen[channel] = []
        await self._broker.subscribe(channel)
        top = (await self._broker.history(channel, HistoryQuery(limit=0), KEEP)).top
        self._places[channel] = top

    def doubt(self, channels: Iterable[Channel] | None = None) -> None:
        """Have the history of these, or of all, read."""
        self._doubts.update(self._places if channels is None else channels)
        self._wake.set()

    def _receive(self, publication: Publication) -> None:
        came, stands = publication.position, self._places[publication.channel]
        assert came is not None
        if came.epoch == stands.epoch and came.offset == stands.offset + 1:
            self.live += 1
            self._take(publication)
        elif came.epoch != stands.epoch or came.offset > stands.offset:
            self.doubt([publication.channel])

    def _take(self, publication: Publication) -> None:
        assert publication.position is not None
        self._places[publication.channel] = publication.position
        self.seen[publication.channel].append(bytes(publication.data))

    async def heal_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._doubts:
                channel = self._doubts.pop()
                try:
                    await self._heal(channel)
                except BrokerUnavailable:
                    self._doubts.add(channel)
                    await asyncio.sleep(RETRY_S)

    async def _heal(self, channel: Channel) -> None:
        more = True
        while more:
            query = HistoryQuery(self._places[channel], limit=200)
            found = await self._broker.history(channel, query, KEEP)
            if not found.complete:
                self.gaps += 1
                first = found.publications[0].position if found.publications else None
                before = Position(first.offset - 1, first.epoch) if first else found.top
                self._places[channel] = before
            for publication in found.publications:
                stands = self._places[channel]
                assert publication.position is not None
                assert publication.position.epoch == stands.epoch
                if publication.position.offset > stands.offset:
                    self.healed += 1
                    self._take(publication)
            more = found.more


@dataclass
class Publisher:
    """Publishes 0, 1, 2 ... on one channel, each until it is taken."""

    broker: RedisBroker
    channel: Channel
    padding: int = 0
    taken: list[bytes] = field(default_factory=list)
    refused: int = 0
    repeated: int = 0
    gate: asyncio.Lock = field(default_factory=asyncio.Lock)  # while one is under way

    async def run(self, stop: asyncio.Event) -> None:
        for number in count():
            if stop.is_set():
                return
            async with self.gate:
                await self._insist(b"%d" % number + b" " * self.padding)
            await asyncio.sleep(0.002)

    async def _insist(self, data: bytes) -> None:
        publication = Publication(self.channel, JSONText(data))
        options = PublishOptions(KEEP, idempotency_key=str(len(self.taken)))
        while True:
            try:
                placed = await self.broker.publish(publication, options)
            except BrokerUnavailable:
                self.refused += 1
                await asyncio.sleep(RETRY_S)
            else:
                self.repeated += placed.skipped is not None
                self.taken.append(data)
                return


class World:
    """Two nodes: one publishes on every channel, both read."""

    def __init__(self, nodes: list[Node], padding: int) -> None:
        self.readers = [Reader(node) for node in nodes]
        self.publishers = [
            Publisher(nodes[0].broker, channel, padding) for channel in CHANNELS
        ]
        self._stop = asyncio.Event()

    @property
    def taken(self) -> int:
        """How many publications Redis has taken."""
        return sum(len(each.taken) for each in self.publishers)

    @property
    def refused(self) -> int:
        """How many attempts failed."""
        return sum(each.refused for each in self.publishers)

    async def more(self, publications: int, timeout_s: float = 20.0) -> None:
        """Wait until so many more have been taken."""
        wanted = self.taken + publications
        await eventually(lambda: self.taken >= wanted, "they are taken", timeout_s)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for publisher in self.publishers:
                tasks.create_task(publisher.run(self._stop))

    @asynccontextmanager
    async def silence(self) -> AsyncIterator[None]:
        """Let no publication be under way in the block."""
        async with AsyncExitStack() as stack:
            for publisher in self.publishers:
                await stack.enter_async_context(publisher.gate)
            yield

    async def settle(self, what: str) -> None:
        """Stop publishing; fail unless everything has arrived, once and in order."""
        self._stop.set()
        async with self.silence():  # the last ones have been taken
            pass
        for reader in self.readers:
            reader.doubt()  # as nodes do every now and then
        taken = {each.channel: each.taken for each in self.publishers}
        try:
            for reader in self.readers:
                await eventually(lambda r=reader: r.seen == taken, "all arrive")  # type: ignore[misc]
        finally:
            self._report(what, taken)
        assert sum(reader.gaps for reader in self.readers) == 0

    def _report(self, what: str, taken: dict[Channel, list[bytes]]) -> None:
        lost = twice = 0
        for reader in self.readers:
            for channel, seen in reader.seen.items():
                lost += len(set(taken[channel]) - set(seen))
                twice += len(seen) - len(set(seen))
        live, healed = (
            sum(getattr(reader, name) for reader in self.readers)
            for name in ("live", "healed")
        )
        print(
            f"{what}: {self.taken} publications taken after {self.refused} refusals; "
            f"on {len(self.readers)} nodes {live} arrived, {healed} were read from the "
            f"history; lost {lost}, twice {twice}"
        )


@asynccontextmanager
async def world(
    url: str, *, reads_at: str | None = None, timeout_s: float = 1.0, padding: int = 0
) -> AsyncIterator[World]:
    """Run two nodes; the second may reach Redis elsewhere, as through a relay."""
    prefix = next(_prefixes)
    nodes = [Node(each, prefix, timeout_s) for each in (url, reads_at or url)]
    found = World(nodes, padding)
    tasks: list[asyncio.Task[None]] = []
    try:
        for node, reader in zip(nodes, found.readers, strict=True):
            await node.broker.start()
            for channel in CHANNELS:
                await reader.watch(channel)
            tasks.append(asyncio.create_task(node.probe_forever()))
            tasks.append(asyncio.create_task(reader.heal_forever()))
        tasks.append(asyncio.create_task(found.run()))
        await found.more(60)
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for node in nodes:
            await node.aclose()
        for task in tasks:
            if not task.cancelled():
                task.result()


async def again(running: World, step: Callable[[], object], times: int) -> None:
    """Do *step* again and again, each time among publications."""
    for _ in range(times):
        await asyncio.to_thread(step)
        await running.more(100)
