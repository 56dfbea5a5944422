"""
The broker through Redis pub/sub: PUBLISH on one server, SPUBLISH in a cluster.

What a channel keeps is a stream whose identifiers are the offsets, and beside it a hash
with its position (lua/position.lua). Publishing with a history is one script: number,
keep, trim, send. Plain publications are plain commands.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import Any

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
from realtime.adapters.broker.wire import (
    decode_publication,
    encode_publication,
    join_publication,
    split_publication,
)
from realtime.adapters.redis.client import NotSent, RedisLink, all_of, told_as
from realtime.adapters.redis.keys import (
    broker_channel,
    broker_history,
    broker_meta,
    broker_seen,
    check_prefix,
)
from realtime.adapters.redis.pubsub import PubSub
from realtime.adapters.redis.script import Script
from realtime.errors import BrokerUnavailable
from realtime.types import Channel, Position, Publication

APPEND = Script.load(__package__, "append", begin="position")
HISTORY = Script.load(__package__, "history", begin="position")
ONCE = Script.load(__package__, "once")

TOP = HistoryQuery(limit=0)


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
        self._verb = "SPUBLISH" if link.is_cluster else "PUBLISH"
        # What must never repeat is numbered behind this: fresh bytes cost 3 us a call.
        self._unique = secrets.token_hex(8)
        self._numbers = count(1)

    async def start(self) -> None:
        with told_as(BrokerUnavailable):
            await self._pubsub.start()

    async def publish(
        self, publication: Publication, options: PublishOptions = PLAIN
    ) -> Placed:
        name = broker_channel(self._prefix, publication.channel)
        with told_as(BrokerUnavailable):
            if options.keep is not None:
                return await self._append(name, publication, options, options.keep)
            data = encode_publication(publication)
            if options.idempotency_key is not None:
                return await self._send_once(name, data, options)
            return await self._send(publication.channel, name, data, options.local)

    async def history(
        self, channel: Channel, query: HistoryQuery, keep: Keep
    ) -> History:
        with told_as(BrokerUnavailable):
            return await self._read(channel, query, keep)

    async def tops(self, channels: Sequence[Channel], keep: Keep) -> Sequence[Position]:
        with told_as(BrokerUnavailable):
            return await self._tops(channels, keep)

    async def forget(self, channel: Channel) -> None:
        kept = broker_history(broker_channel(self._prefix, channel))
        with told_as(BrokerUnavailable):
            await self._link.call("UNLINK", kept, key=kept)

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

    async def _send(
        self, channel: Channel, name: bytes, data: bytes, local: bool
    ) -> Placed:
        """Publish it; failing that for certain, give it to this node's own if asked."""
        try:
            await self._link.publish(name, data, hurried=local)
        except NotSent:
            if not local:
                raise
            # No await in between: they are told in the order of publishing.
            if channel in self._channels:
                self._receive(channel, data)
            return Placed(local=True)
        return Placed()

    def _never_used(self) -> str:
        """Return what can be an epoch, or tell calls apart."""
        return f"{self._unique}{next(self._numbers):x}"

    async def _append(
        self, name: bytes, publication: Publication, options: PublishOptions, keep: Keep
    ) -> Placed:
        keys = [broker_meta(name), broker_history(name)]
        call = self._never_used()
        key, key_ttl_s = options.idempotency_key, options.idempotency_ttl_s
        if key is not None:
            keys.append(broker_seen(name, key))
        elif options.version is not None:
            # So that an attempt that is repeated does not find its own version stale.
            key_ttl_s = 2 * self._link.timeout_s
            keys.append(broker_seen(name, f"{call}\0"))
        reply = await self._link.run_script_in_order(
            APPEND,
            keys,
            *(self._verb, name, *split_publication(publication), call),
            *(str(keep.size), _ms(keep.ttl_s), _ms(max(keep.meta_ttl_s, keep.ttl_s))),
            *("" if options.version is None else str(options.version),),
            *(options.version_epoch, _ms(key_ttl_s), call),
            channel=name,
            repeatable=len(keys) > 2,
        )
        return _placed(reply, call)

    async def _send_once(
        self, name: bytes, data: bytes, options: PublishOptions
    ) -> Placed:
        call = self._never_used()
        reply = await self._link.run_script_in_order(
            ONCE,
            [broker_seen(name, options.idempotency_key or "")],
            *(self._verb, name, data, _ms(options.idempotency_ttl_s), call),
            channel=name,
            repeatable=True,
        )
        return _placed(reply, call)

    async def _tops(self, channels: Sequence[Channel], keep: Keep) -> list[Position]:
        keys = [broker_meta(broker_channel(self._prefix, each)) for each in channels]
        told = await self._link.call_each(keys, [("HMGET", k, "o", "e") for k in keys])
        ttl = _ms(max(keep.meta_ttl_s, keep.ttl_s))
        # Watching a channel is using it: its position must not expire meanwhile.
        await self._link.call_each(keys, [("PEXPIRE", key, ttl) for key in keys])
        unknown = [c for c, (_, e) in zip(channels, told, strict=True) if e is None]
        begun = await all_of(self._read(each, TOP, keep) for each in unknown)
        new = iter([history.top for history in begun])
        return [
            next(new) if e is None else Position(int(o), e.decode()) for o, e in told
        ]

    async def _read(self, channel: Channel, query: HistoryQuery, keep: Keep) -> History:
        name = broker_channel(self._prefix, channel)
        since = query.since
        reply = await self._link.run_script(
            HISTORY,
            [broker_meta(name), broker_history(name)],
            *(self._never_used(), _ms(keep.ttl_s)),
            _ms(max(keep.meta_ttl_s, keep.ttl_s)),
            *(("", "") if since is None else (str(since.offset), since.epoch)),
            *(str(query.limit), str(query.max_bytes), "1" if query.reverse else "0"),
        )
        return _history(channel, reply)


def _history(channel: Channel, reply: Sequence[Any]) -> History:
    offset, epoch_bytes, complete, more, entries = reply
    epoch = epoch_bytes.decode()
    publications = [
        join_publication(channel, data, Position(int(at), epoch), tail)
        for at, data, tail in zip(
            entries[::3], entries[1::3], entries[2::3], strict=True
        )
    ]
    top = Position(int(offset), epoch)
    return History(publications, top, bool(complete), bool(more))


def _placed(reply: Sequence[bytes], call: str) -> Placed:
    skipped = None
    if reply and reply[0] == b"stale":
        return Placed(skipped="stale")
    if reply and reply[0] == b"duplicate":
        first, *reply = reply[1].split(b" ")
        # One's own mark has been left by an attempt whose reply was lost.
        skipped = None if first == call.encode() else "duplicate"
    if not reply:
        return Placed(skipped=skipped)
    offset, epoch = reply
    return Placed(Position(int(offset), epoch.decode()), skipped)


def _ms(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))


def _ignore(publication: Publication) -> None:
    """Until somebody listens."""
