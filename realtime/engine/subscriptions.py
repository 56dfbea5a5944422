"""
Subscribing in this process: the hub's part, and the broker's or the ledger's behind it.

A channel is fetched from outside while at least one subscriber here needs it. Live
channels come from the ledger's changes, ordinary ones from the broker; ``server:stats``
is made by every node for its own subscribers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from realtime.adapters.broker.port import Broker
from realtime.core.channels import LIVE, namespace_of
from realtime.core.counters import CounterSet
from realtime.core.naming import LiveName, parse_live
from realtime.engine.hub import Hub, Subscriber
from realtime.engine.interest import Interest
from realtime.engine.live import Live
from realtime.engine.metrics import Metrics
from realtime.engine.tasks import Tasks
from realtime.errors import UNAVAILABLE, CommandError, Unavailable
from realtime.types import Channel, JSONText, Publication

SERVER = "server"
STATS = Channel("server:stats")
"""Publishes what the nodes report, once a second."""

Listener = Callable[[Publication], None]


@dataclass(frozen=True, slots=True)
class Subscription:
    """
    What the subscriber is told: the canonical name, its number, the current value.
    """

    channel: Channel
    number: int
    data: JSONText | None


class Subscriptions:
    """Joins hub, broker and live channels."""

    def __init__(
        self,
        hub: Hub,
        broker: Broker,
        live: Live,
        counters: CounterSet,
        metrics: Metrics,
        tasks: Tasks,
    ) -> None:
        self._hub = hub
        self._live = live
        self._counters = counters
        self._metrics = metrics
        self._broker_channels: Interest[Channel] = Interest(
            broker.subscribe, broker.unsubscribe, tasks
        )
        self._listeners: dict[Channel, list[Listener]] = {}
        broker.on_publication = self._arrived

    def __len__(self) -> int:
        return self._hub.subscriptions

    def canonical(self, channel: Channel) -> Channel:
        """
        Return the one name under which *channel* is known.

        Raises:
            CommandError: BAD_CHANNEL or UNKNOWN_CHANNEL.
        """
        if namespace_of(channel) != LIVE:
            return channel
        return parse_live(channel, self._counters).channel

    async def subscribe(self, channel: Channel, subscriber: Subscriber) -> Subscription:
        """
        Add *subscriber*, which must not be subscribed to this channel already.

        Cancelling is safe: the subscriber is then not subscribed.

        Raises:
            CommandError: BAD_CHANNEL, UNKNOWN_CHANNEL, or UNAVAILABLE when the service
                behind the channel does not answer.
        """
        namespace = namespace_of(channel)
        try:
            if namespace == LIVE:
                return await self._subscribe_live(channel, subscriber)
            if namespace != SERVER:
                await self._broker_channels.acquire(channel)
        except Unavailable as exc:
            raise CommandError(UNAVAILABLE, str(exc), retry_after_s=1.0) from exc
        topic = self._hub.join(channel, subscriber)
        return Subscription(channel, topic.number, None)

    async def _subscribe_live(
        self, channel: Channel, subscriber: Subscriber
    ) -> Subscription:
        name = parse_live(channel, self._counters)
        await self._live.open(name)
        # Nothing is awaited between joining and reading: no value can slip between.
        topic = self._hub.join(name.channel, subscriber)
        data = self._live.current(name.channel)
        return Subscription(name.channel, topic.number, data)

    def unsubscribe(self, channel: Channel, subscriber: Subscriber) -> None:
        """Remove *subscriber*, which must be subscribed, at once."""
        self._hub.leave(channel, subscriber)
        namespace = namespace_of(channel)
        if namespace == LIVE:
            self._live.close(self._name(channel))
        elif namespace != SERVER:
            self._broker_channels.release(channel)

    def _name(self, channel: Channel) -> LiveName:
        return parse_live(channel, self._counters)

    # -- internal channels -------------------------------------------------------

    async def listen(self, channel: Channel, listener: Listener) -> None:
        """
        Call *listener* with whatever is published on an internal channel (``@name``).

        It is called synchronously and must not raise. Cancelling is safe.

        Raises:
            BrokerUnavailable: If the broker does not answer; it is not listened then.
        """
        self._listeners.setdefault(channel, []).append(listener)
        try:
            await self._broker_channels.acquire(channel)
        except BaseException:
            self._forget(channel, listener)
            raise

    def unlisten(self, channel: Channel, listener: Listener) -> None:
        """Undo ``listen``, which must have returned."""
        self._forget(channel, listener)
        self._broker_channels.release(channel)

    def _forget(self, channel: Channel, listener: Listener) -> None:
        listeners = self._listeners[channel]
        listeners.remove(listener)
        if not listeners:
            del self._listeners[channel]

    # -- publications ------------------------------------------------------------

    def _arrived(self, publication: Publication) -> None:
        """Take what the broker brings."""
        if publication.channel in self._listeners:
            for listener in tuple(self._listeners[publication.channel]):
                listener(publication)
            return
        self.deliver(publication)

    def deliver(self, publication: Publication) -> None:
        """Write a publication to its subscribers here."""
        delivered = self._hub.broadcast(publication)
        self._metrics.publications.inc()
        self._metrics.deliveries.inc(delivered)

    def deliver_latest(self, channel: Channel, data: JSONText) -> int:
        """Write a live channel's value to its subscribers here."""
        delivered = self._hub.broadcast_latest(channel, data)
        self._metrics.live_values.inc()
        self._metrics.deliveries.inc(delivered)
        return delivered
