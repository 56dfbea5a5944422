"""
The broker through Redis pub/sub: PUBLISH on one server, SPUBLISH in a cluster.

A publication travels as MessagePack ``[data]`` or ``[data, offset, epoch]`` on the
pub/sub channel of its own channel; more fields may follow in later versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgpack

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
from realtime.adapters.redis.client import RedisLink, told_as
from realtime.adapters.redis.keys import broker_channel, check_prefix
from realtime.adapters.redis.pubsub import PubSub
from realtime.errors import BrokerUnavailable
from realtime.types import Channel, JSONText, Position, Publication


class RedisBroker(Broker):
    """
    See ``Broker``. Link and pub/sub are shared with other adapters and closed by their
    owner.
    """

    def __init__(self, link: RedisLink, pubsub: PubSub, prefix: str) -> None:
        self.on_publication: OnPublication = _ignore
        self._link = link
        self._pubsub = pubsub
        self._prefix = check_prefix(prefix)
        self._channels: set[Channel] = set()

    async def start(self) -> None:
        with told_as(BrokerUnavailable):
            await self._pubsub.start()

    async def publish(
        self, publication: Publication, options: PublishOptions = PLAIN
    ) -> Placed:
        channel = publication.channel
        data = encode_publication(publication)
        with told_as(BrokerUnavailable):
            await self._link.publish(broker_channel(self._prefix, channel), data)
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
        name = broker_channel(self._prefix, channel)
        with told_as(BrokerUnavailable):
            await self._pubsub.subscribe(name, partial(self._receive, channel))
        self._channels.add(channel)

    async def unsubscribe(self, channel: Channel) -> None:
        self._channels.discard(channel)
        self._pubsub.unsubscribe(broker_channel(self._prefix, channel))

    async def probe(self) -> bool:
        return await self._pubsub.probe()

    async def aclose(self) -> None:
        for channel in tuple(self._channels):
            await self.unsubscribe(channel)

    def _receive(self, channel: Channel, data: bytes) -> None:
        self.on_publication(decode_publication(channel, data))


def encode_publication(publication: Publication) -> bytes:
    """Return the bytes that travel."""
    position = publication.position
    if position is None:
        fields: tuple[object, ...] = (publication.data,)
    else:
        fields = (publication.data, position.offset, position.epoch)
    packed: bytes = msgpack.packb(fields)
    return packed


def decode_publication(channel: Channel, packed: bytes) -> Publication:
    """Undo ``encode_publication``; further fields are left to later versions."""
    data, *rest = msgpack.unpackb(packed)
    position = Position(*rest[:2]) if len(rest) >= 2 else None
    return Publication(channel, JSONText(data), position)


def _ignore(publication: Publication) -> None:
    """Until somebody listens."""
