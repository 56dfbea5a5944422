"""
One pub/sub connection to one server, opened again whenever it is lost.

A lane knows which channels are wanted on it and which it has asked the server for, and
sends the difference once per turn of the event loop. Replies come in the order of the
requests, channel by channel; a channel is confirmed by the reply to its latest request.

After a loss there may be very many to ask for. They go in batches, and the next batch
waits until enough has been answered: neither the loop nor the server is busy with all
of them at once, and the server's replies stay below its limit for pub/sub clients,
beyond which it would cut the connection, again and again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from realtime.adapters.redis.address import Address
from realtime.adapters.redis.call import CONNECTION_ERRORS
from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.line import Wire

BATCH = 512  # channels of one SUBSCRIBE, or that many commands in a cluster
WINDOW = 2048  # no further batch while so many channels await their replies
STEADY_S = 5.0  # a connection that lived longer was good: back-off begins anew

log = structlog.get_logger()


class Owner(Protocol):
    """Who is told what happens on a lane (PubSub)."""

    def received(self, channel: bytes, data: bytes) -> None:
        """A message has come."""

    def confirmed(self, channel: bytes) -> None:
        """Messages published from now on will come."""

    def lost(self, lane: Lane, channels: Sequence[bytes]) -> None:
        """Messages may be lost until these are confirmed again."""

    def refused(self, channels: Sequence[bytes], error: ResponseError) -> None:
        """The server does not take these subscriptions here."""

    def recovered(self, lane: Lane) -> None:
        """All that was lost is confirmed again."""

    def unreachable(self, lane: Lane) -> None:
        """The server could not be connected to."""


class _Request:
    """A command that was sent, and how many of its channels have been answered."""

    __slots__ = ("answered", "channels", "verb")

    def __init__(self, verb: bytes, channels: Sequence[bytes]) -> None:
        self.verb = verb
        self.channels = channels
        self.answered = 0

    @property
    def next_channel(self) -> bytes:
        return self.channels[self.answered]


class _PubSubWire(Wire):
    """A connection in subscribed state."""

    def __init__(
        self, connection: AbstractConnection, lane: Lane, owner: Owner
    ) -> None:
        self._lane = lane
        self._message = owner.received
        self._requests: deque[_Request] = deque()
        self.unanswered = 0  # channels
        super().__init__(connection)

    def request(self, verb: bytes, channels: Sequence[bytes]) -> _Request:
        """Send SUBSCRIBE, UNSUBSCRIBE or one of their sharded forms."""
        request = _Request(verb, channels)
        self._requests.append(request)
        self.unanswered += len(channels)
        self._send([(verb, *channels)])
        return request

    def _received(self, reply: Any) -> None:
        # Hot: once per message.
        if isinstance(reply, ResponseError):
            if self._requests:
                request = self._requests.popleft()
                self.unanswered -= len(request.channels) - request.answered
                self._lane.request_failed(request, reply)
        elif reply[0] == b"message" or reply[0] == b"smessage":
            self._message(reply[1], reply[2])
        else:
            self._answered(reply[0], reply[1])

    def _answered(self, verb: bytes, channel: bytes) -> None:
        request = self._requests[0] if self._requests else None
        if (
            request is None
            or request.verb.lower() != verb
            or request.next_channel != channel
        ):
            # Nobody asked for it: the slot is moving to another server.
            self._lane.displaced(channel)
            return
        request.answered += 1
        self.unanswered -= 1
        if request.answered == len(request.channels):
            self._requests.popleft()
        self._lane.answered(request, channel)

    def _ended(self, reason: Exception) -> None:
        self._requests.clear()


class Lane:
    """The channels of one server. ``run`` is its life, until it is cancelled."""

    def __init__(self, address: Address, link: RedisLink, owner: Owner) -> None:
        self.address = address
        self._link = link
        self._owner = owner
        sharded = b"S" if link.is_cluster else b""
        self._subscribe = sharded + b"SUBSCRIBE"
        self._unsubscribe = sharded + b"UNSUBSCRIBE"
        # A command of sharded pub/sub takes channels of one slot only.
        self._chunk = 1 if link.is_cluster else BATCH
        self._wire: _PubSubWire | None = None
        self._opened_at = 0.0
        self._wanted: dict[bytes, None] = {}
        self._asked: dict[bytes, _Request | None] = {}  # None: confirmed
        self._changed: dict[bytes, None] = {}  # what may have to be sent
        self._flushing = False  # soon
        self._recovering: set[bytes] = set()
        self._regained = False  # some of what was recovering has been confirmed

    def want(self, channel: bytes, *, recovering: bool = False) -> None:
        """Ask for *channel*; *recovering* if it was confirmed elsewhere before."""
        self._wanted[channel] = None
        if recovering:
            self._recovering.add(channel)
        self._touch(channel)

    def leave(self, channel: bytes) -> None:
        """Stop wanting *channel*."""
        self._wanted.pop(channel, None)
        self._recover(channel, confirmed=False)
        self._touch(channel)

    def replace(self, reason: str, older_than_s: float = 0.0) -> None:
        """Close the connection, if it has this age; another one is opened."""
        age_s = asyncio.get_running_loop().time() - self._opened_at
        if self._wire is not None and age_s >= older_than_s:
            self._wire.drop(reason)

    async def run(self) -> None:
        """Keep a connection open. Cancelling closes it."""
        failures = 0
        while True:
            try:
                connection = await self._link.open(self.address)
            except CONNECTION_ERRORS:
                failures += 1
                self._owner.unreachable(self)
            else:
                lived_s = await self._listen(connection)
                failures = 1 if lived_s > STEADY_S else failures + 1
            await asyncio.sleep(self._link.backoff.delay_s(failures))

    def answered(self, request: _Request, channel: bytes) -> None:
        """The server has done *request* for *channel*."""
        if self._asked.get(channel) is request:
            self._asked[channel] = None
            self._owner.confirmed(channel)
            self._recover(channel)
        if self._changed:
            self._flush_soon()

    def request_failed(self, request: _Request, error: ResponseError) -> None:
        """The server has refused what is left of *request*."""
        channels = request.channels[request.answered :]
        refused = [c for c in channels if self._asked.get(c) is request]
        for channel in refused:
            del self._asked[channel]
            self._recover(channel, confirmed=False)
        self._owner.refused(refused, error)
        if self._changed:
            self._flush_soon()

    def displaced(self, channel: bytes) -> None:
        """The server has dropped a subscription by itself."""
        if self._asked.pop(channel, self) is not self:
            self._owner.lost(self, [channel])

    async def _listen(self, connection: AbstractConnection) -> float:
        loop = asyncio.get_running_loop()
        self._opened_at = loop.time()
        wire = self._wire = _PubSubWire(connection, self, self._owner)
        try:
            self._changed = dict(self._wanted)
            self._flush_soon()
            await wire.lost.wait()
            log.warning(
                "redis_pubsub_lost", server=str(self.address), reason=str(wire.reason)
            )
        finally:
            self._wire = None
            lost = [c for c, request in self._asked.items() if request is None]
            self._asked.clear()
            self._recovering.update(c for c in lost if c in self._wanted)
            self._owner.lost(self, lost)
            await wire.aclose()
        return loop.time() - self._opened_at

    def _touch(self, channel: bytes) -> None:
        # Without a connection, all that is wanted is asked for when there is one.
        if self._wire is not None:
            self._changed[channel] = None
            self._flush_soon()

    def _flush_soon(self) -> None:
        wire = self._wire
        if self._flushing or wire is None or wire.unanswered > WINDOW - BATCH:
            return  # called again with each reply
        self._flushing = True
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._wire is None:
            return
        # The latest first: somebody waits for it, unlike for those that come back.
        count = min(len(self._changed), BATCH)
        self._send([self._changed.popitem()[0] for _ in range(count)], self._wire)
        if self._changed:
            self._flush_soon()

    def _send(self, changed: list[bytes], wire: _PubSubWire) -> None:
        wanted, asked = self._wanted, self._asked
        new = [c for c in changed if c in wanted and c not in asked]
        gone = [c for c in changed if c not in wanted and c in asked]
        for channel in changed:
            # Left and wanted again in one turn.
            if channel in wanted and asked.get(channel, self) is None:
                self._owner.confirmed(channel)
                self._recover(channel)
        for chunk in _chunks(gone, self._chunk):
            wire.request(self._unsubscribe, chunk)
            for channel in chunk:
                del asked[channel]
        for chunk in _chunks(new, self._chunk):
            request = wire.request(self._subscribe, chunk)
            asked.update(dict.fromkeys(chunk, request))

    def _recover(self, channel: bytes, *, confirmed: bool = True) -> None:
        """Wait for *channel* no more: it is confirmed, or left or refused."""
        if channel in self._recovering:
            self._recovering.remove(channel)
            self._regained = self._regained or confirmed
            if not self._recovering and self._regained:
                self._regained = False
                self._owner.recovered(self)


def _chunks(channels: list[bytes], size: int) -> list[list[bytes]]:
    return [channels[i : i + size] for i in range(0, len(channels), size)]
