"""
The broker of one process: publications come back on the next turn of the event loop.

Several brokers on one ``Bus`` behave like nodes that share a Redis, which is what tests
of several nodes use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

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
from realtime.errors import BrokerUnavailable
from realtime.types import Channel, Position, Publication


class Bus:
    """What memory brokers publish to: all of them are in one process."""

    def __init__(self) -> None:
        self.brokers: list[MemoryBroker] = []

    def deliver(self, publication: Publication) -> None:
        """Hand *publication* to every broker that has subscribed to its channel."""
        for broker in tuple(self.brokers):
            broker.receive(publication)


class MemoryBroker(Broker):
    """See ``Broker``. Nothing is lost on the way as long as the process lives."""

    def __init__(self, bus: Bus | None = None) -> None:
        self.on_publication: OnPublication = _ignore
        self._bus = bus or Bus()
        self._channels: set[Channel] = set()
        self._open = False

    async def start(self) -> None:
        if not self._open:
            self._open = True
            self._bus.brokers.append(self)

    async def publish(
        self, publication: Publication, options: PublishOptions = PLAIN
    ) -> Placed:
        if not self._open:
            raise BrokerUnavailable("the broker has not been started, or is closed")
        # Later, as with Redis: the publisher's own code must be through by then.
        asyncio.get_running_loop().call_soon(self._bus.deliver, publication)
        return Placed()

    async def history(
        self, channel: Channel, query: HistoryQuery, keep: Keep
    ) -> History:
        raise BrokerUnavailable("history")

    async def tops(self, channels: Sequence[Channel], keep: Keep) -> Sequence[Position]:
        raise BrokerUnavailable("history")

    async def forget(self, channel: Channel) -> None:
        raise BrokerUnavailable("history")

    async def subscribe(self, channel: Channel) -> None:
        if not self._open:
            raise BrokerUnavailable("the broker has not been started, or is closed")
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


def _ignore(publication: Publication) -> None:
    """Until somebody listens."""
