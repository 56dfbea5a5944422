"""
One channel with a history and the reads that its stream asks for.

Laws: one read at a time, for everybody who waits. While the broker does not answer,
what is missing is asked for again with growing pauses, and nothing is passed on out of
order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from realtime.adapters.broker.port import Broker, HistoryQuery, Keep
from realtime.adapters.redis.backoff import Backoff
from realtime.clock import Clock
from realtime.core.stream import Stream
from realtime.core.stream_values import Bounds, Entry, Found, Read, Reason, Want
from realtime.engine.metrics import Metrics
from realtime.engine.tasks import Tasks, finished
from realtime.errors import BrokerUnavailable, Unavailable
from realtime.types import Channel, Position, Publication, PublicationKind

REMEMBERED_BYTES = 32 * 1024 * 1024
"""Of histories, by all streams of a node together, roughly."""

ROOM_S = 0.05
"""Who is slow to take what it is told is looked at again after this."""

Room = Callable[[], int]
"""Says how many bytes of data may be told somebody now."""

MAX_TRIES = 20
"""Reads after which somebody who wants to enter is sent away, to come again."""

MAX_NARROW = 8
MIN_PAGE_BYTES = 2 * 1024
"""Of what is read at once where larger pages do not come through in time."""


class Memory:
    """Bounds what all streams of a node remember together."""

    __slots__ = ("_costs", "_limit", "bytes")

    def __init__(self, limit: int = REMEMBERED_BYTES) -> None:
        self._limit = limit
        self._costs: dict[Stream, int] = {}  # what has changed last is last
        self.bytes = 0

    def note(self, stream: Stream) -> None:
        """Take what *stream* remembers by now; let others forget if need be."""
        self.drop(stream)
        cost = stream.recent.cost
        if not cost:
            return
        self._costs[stream] = cost
        self.bytes += cost
        while self.bytes > self._limit:
            oldest = next(iter(self._costs))
            if oldest is stream:
                break
            oldest.forget()
            self.drop(oldest)

    def drop(self, stream: Stream) -> None:
        """Note that *stream* remembers nothing any more."""
        self.bytes -= self._costs.pop(stream, 0)


@dataclass(frozen=True, slots=True)
class Tools:
    """
    What the streams of a node share. *pass_on* is given what subscribers here get.
    """

    broker: Broker
    bounds: Bounds
    clock: Clock
    metrics: Metrics
    tasks: Tasks
    pass_on: Callable[[Publication], None]
    memory: Memory
    backoff: Backoff


class Tended:
    """See the module. *holders* is counted by whoever keeps it."""

    __slots__ = (
        "_narrow",
        "_reader",
        "_tools",
        "_waiting",
        "channel",
        "holders",
        "keep",
        "stream",
    )

    def __init__(self, channel: Channel, keep: Keep, tools: Tools) -> None:
        self.channel = channel
        self.keep = keep
        self.holders = 0
        self.stream = Stream(channel, tools.bounds)
        self._tools = tools
        # None while nobody waits: most channels, always.
        self._waiting: dict[asyncio.Future[Unavailable | None], Want] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._narrow = 0  # times that a page is halved: large ones came too late

    def receive(self, publication: Publication) -> None:
        """Take what the broker brings."""
        # Hot: once per publication of a channel with a history.
        stream, pass_on = self.stream, self._tools.pass_on
        for each in stream.receive(publication):
            pass_on(each)
        if stream.recent.tail is not None:  # it has grown
            self._tools.memory.note(stream)
        if stream.behind:
            self.tend()

    def doubt(self, top: Position, asked_at: Position) -> None:
        """Take the broker's position. See ``Stream.doubt``."""
        self.stream.doubt(top, asked_at)
        if self.stream.behind:
            self.tend()

    def try_enter(self, want: Want, room: Room | None = None) -> Entry | None:
        """
        Do ``enter`` if nothing must be waited for; else return None.

        Raises:
            BrokerUnavailable: If the history cannot be read.
        """
        if room is not None:
            want.room = room()
            if want.room <= 0:
                return None
        entry = self.stream.entry(want)
        if entry is not None or self._reader is not None:
            return entry
        if not self._tools.broker.immediate:
            return None
        read = self.stream.next_read((want,))
        if read is not None:
            self._merge(read, finished(self._look_up(read)))
        return self.stream.entry(want)

    async def enter(self, want: Want, room: Room | None = None) -> Entry:
        """
        Say how somebody enters, as soon as there is *room* to tell it.

        Join in the same step: whatever is awaited in between may be missed. Cancelling
        is safe.

        Raises:
            BrokerUnavailable: If the history cannot be read.
        """
        for _ in range(MAX_TRIES):
            if room is not None:
                while (free := room()) <= 0:
                    await self._tools.clock.sleep(ROOM_S)
                want.room = free
            entry = self.stream.entry(want)
            if entry is not None:
                return entry
            await self._wait(want)
        raise BrokerUnavailable(f"the history of {self.channel} changes too fast")

    def close(self) -> None:
        """Read no more. Nobody may be entering."""
        self._tools.memory.drop(self.stream)
        if self._reader is not None:
            self._reader.cancel()

    # -- reading -----------------------------------------------------------------

    async def _wait(self, want: Want) -> None:
        """Wait until it is worth another look. Raises Unavailable."""
        looked: asyncio.Future[Unavailable | None]
        looked = asyncio.get_running_loop().create_future()
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = {}
        waiting[looked] = want
        self.tend()
        try:
            error = await looked
        finally:
            waiting.pop(looked, None)
            if not waiting and self._waiting is waiting:
                self._waiting = None
        if error is not None:
            raise error

    def tend(self) -> None:
        """Read what the stream asks for, unless that is being done."""
        if self._reader is None:
            self._reader = self._tools.tasks.spawn(self._read_on())

    async def _read_on(self) -> None:
        failures = 0
        try:
            while read := self.stream.next_read(self._wants()):
                try:
                    found = await self._look_up(read)
                except Unavailable as exc:
                    failures += 1
                    self._narrow = min(self._narrow + 2, MAX_NARROW)
                    self._wake(exc)
                    if not self.stream.behind:
                        break
                    delay_s = self._tools.backoff.delay_s(failures)
                    await self._tools.clock.sleep(delay_s)
                else:
                    failures = 0
                    self._narrow = max(self._narrow - 1, 0)
                    self._merge(read, found)
                    self._wake()
                    await asyncio.sleep(0)  # those who waited look, and wait again
            self._wake()  # what arrived may have helped as well as a read
        except Exception:  # a defect of ours, but nobody may wait for ever
            reason = f"the history of {self.channel} cannot be read"
            self._wake(BrokerUnavailable(reason))
            raise
        finally:
            self._reader = None

    def _wants(self) -> tuple[Want, ...]:
        return () if self._waiting is None else tuple(self._waiting.values())

    async def _look_up(self, read: Read) -> Found:
        bounds, latest = self._tools.bounds, read.reason is Reason.LATEST
        limit = {Reason.TOP: 0, Reason.LATEST: 1}.get(read.reason, bounds.page)
        page_bytes = bounds.page_bytes
        if self._narrow:
            page_bytes = max(page_bytes >> self._narrow, MIN_PAGE_BYTES)
        query = HistoryQuery(read.since, limit, latest, page_bytes)
        self._tools.metrics.history_reads.labels(read.reason.value).inc()
        found = await self._tools.broker.history(self.channel, query, self.keep)
        return Found(found.publications, found.top, found.complete, found.more)

    def _merge(self, read: Read, found: Found) -> None:
        tools = self._tools
        told = self.stream.merge(read, found)
        for publication in told:
            tools.pass_on(publication)
        tools.memory.note(self.stream)
        gaps = sum(each.kind is PublicationKind.GAP for each in told)
        if gaps:
            tools.metrics.publication_gaps.labels("told").inc(gaps)
        elif told and read.reason is Reason.HEAL:
            tools.metrics.publication_gaps.labels("healed").inc()

    def _wake(self, error: Unavailable | None = None) -> None:
        """Let everybody who waits look again, or fail."""
        for looked in self._waiting or ():
            if not looked.done():
                looked.set_result(error)
