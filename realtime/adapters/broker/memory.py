"""
The broker of one process: publications come back on the next turn of the event loop.

Several brokers on one ``Bus`` behave like nodes that share a Redis, histories included,
which is what tests of several nodes use.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace

from realtime.adapters.broker.port import (
    PLAIN,
    Broker,
    History,
    HistoryQuery,
    Keep,
    OnPublication,
    Placed,
    PublishOptions,
)
from realtime.clock import Clock, SystemClock
from realtime.core.history import Histories, Ring
from realtime.errors import BrokerUnavailable
from realtime.types import Channel, Position, Publication


class Bus:
    """What memory brokers publish to: all of them are in one process."""

    def __init__(self) -> None:
        self.brokers: list[MemoryBroker] = []
        self.histories = Histories(lambda: secrets.token_hex(8))

    def deliver(self, publication: Publication) -> None:
        """Hand *publication* to every broker that has subscribed to its channel."""
        for broker in tuple(self.brokers):
            broker.receive(publication)


class MemoryBroker(Broker):
    """
    See ``Broker``. Nothing is lost on the way as long as the process lives.

    It is immediate where it has no *bus*, as in a process alone; those on a bus stand
    for nodes whose Redis may be slow.
    """

    def __init__(self, bus: Bus | None = None, clock: Clock | None = None) -> None:
        self.on_publication: OnPublication = _ignore
        self.immediate = bus is None
        self._bus = bus or Bus()
        self._now = (clock or SystemClock()).monotonic
        self._channels: set[Channel] = set()
        self._open = False

    async def start(self) -> None:
        if not self._open:
            self._open = True
            self._bus.brokers.append(self)

    async def publish(
        self, publication: Publication, options: PublishOptions = PLAIN
    ) -> Placed:
        self._check_open()
        if options is PLAIN:
            placed = publication
            if publication.position is not None:
                placed = replace(publication, position=None)
        else:
            found = self._place(publication, options)
            if isinstance(found, Placed):
                return found
            placed = found
        # Later, as with Redis: the publisher's own code must be through by then.
        asyncio.get_running_loop().call_soon(self._bus.deliver, placed)
        return Placed(placed.position)

    async def history(
        self, channel: Channel, query: HistoryQuery, keep: Keep
    ) -> History:
        ring = self._ring(channel, keep)
        page = ring.read(
            query.since, query.limit, query.max_bytes, reverse=query.reverse
        )
        return History(page.publications, ring.top, page.complete, page.more)

    async def tops(self, channels: Sequence[Channel], keep: Keep) -> Sequence[Position]:
        return [self._ring(channel, keep).top for channel in channels]

    async def forget(self, channel: Channel) -> None:
        self._check_open()
        self._bus.histories.forget(channel)

    async def subscribe(self, channel: Channel) -> None:
        self._check_open()
        self._channels.add(channel)

    async def unsubscribe(self, channel: Channel) -> None:
        self._channels.discard(channel)

    async def probe(self) -> bool:
        return self._open

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            self._bus.brokers.remove(self)
        self._channels.clear()

    def receive(self, publication: Publication) -> None:
        """Take a publication from the bus."""
        if publication.channel in self._channels:
            self.on_publication(publication)

    def _check_open(self) -> None:
        if not self._open:
            raise BrokerUnavailable("the broker has not been started, or is closed")

    def _ring(self, channel: Channel, keep: Keep) -> Ring:
        self._check_open()
        return self._bus.histories.use(
            channel, keep.size, keep.ttl_s, keep.meta_ttl_s, self._now()
        )

    def _place(
        self, publication: Publication, options: PublishOptions
    ) -> Publication | Placed:
        """Return it with its position, or what became of it if it is not made."""
        histories, now = self._bus.histories, self._now()
        channel, keep = publication.channel, options.keep
        histories.sweep(now)
        key = (channel, options.idempotency_key)
        if options.idempotency_key is not None and key in histories.seen:
            return Placed(histories.seen[key], "duplicate")
        if keep is None:
            placed = replace(publication, position=None)
        else:
            ring = self._ring(channel, keep)
            if options.version is not None and not histories.advance(
                channel, options.version_epoch, options.version
            ):
                return Placed(None, "stale")
            placed = ring.append(publication, now)
            ring.trim(keep.size, keep.ttl_s, now)
        if options.idempotency_key is not None:
            expires_at = now + options.idempotency_ttl_s
            histories.seen.add(key, placed.position, expires_at)
        return placed


def _ignore(publication: Publication) -> None:
    """Until somebody listens."""
