"""
Subscribing in this process: the hub's part, and the broker's or the ledger's behind it.

A channel is fetched from outside while at least one subscriber here needs it. Live
channels come from the ledger's changes, ordinary ones from the broker; ``server:stats``
is made by every node for its own subscribers.

Law: nothing is awaited between learning where a subscriber stands and joining the hub,
nor, by whoever called, before it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from realtime.adapters.broker.port import Broker
from realtime.clock import Clock, call_soon
from realtime.core.channels import LIVE, namespace_of
from realtime.core.counters import CounterSet
from realtime.core.flow import DIRECT, Flow, flow_of
from realtime.core.namespaces import NamespaceDefinition
from realtime.core.naming import LiveName, parse_live
from realtime.core.stream_values import Entry, Want
from realtime.engine.hub import Hub, Subscriber
from realtime.engine.interest import Interest
from realtime.engine.keeping import Keeping
from realtime.engine.live import Live
from realtime.engine.metrics import Metrics
from realtime.engine.outbox import Turn
from realtime.engine.streams import Streams
from realtime.engine.tasks import Tasks
from realtime.engine.tended import Room
from realtime.engine.wheel import Wheel
from realtime.errors import UNAVAILABLE, CommandError, Unavailable
from realtime.settings import HistorySettings
from realtime.types import Channel, JSONText, Position, Publication, PublicationKind
from realtime.wire.messages import Subscribe

SERVER = "server"
STATS = Channel("server:stats")
"""Publishes what the nodes report, once a second."""

LINGER_S = 5.0
"""A channel is fetched for so long after a page of it, for whoever asks on."""

MAX_AT_ONCE = 512
"""Subscriptions that are made in one turn of the loop; more let others have theirs."""

Listener = Callable[[Publication], None]


@dataclass(frozen=True, slots=True)
class Subscription:
    """
    What the subscriber is told: the canonical name, its number, the current value.

    ``tags`` are those of the publication whose data is the current value.
    Of a channel with a history also where it begins (``position``); ``recovered`` and
    ``publications`` answer what it asked to have *since*.
    """

    channel: Channel
    number: int
    data: JSONText | None = None
    position: Position | None = None
    recovered: bool | None = None
    publications: Sequence[Publication] = ()
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Missed:
    """A page of what was missed, up to ``position``. Nobody has been subscribed."""

    channel: Channel
    position: Position
    publications: Sequence[Publication]


class Subscriptions:
    """Joins hub, broker, histories and live channels."""

    def __init__(
        self,
        hub: Hub,
        broker: Broker,
        live: Live,
        counters: CounterSet,
        keeping: Keeping,
        history: HistorySettings,
        metrics: Metrics,
        clock: Clock,
        wheel: Wheel,
        tasks: Tasks,
    ) -> None:
        self._hub = hub
        self._live = live
        self._counters = counters
        self._keeping = keeping
        self._metrics = metrics
        self._wheel = wheel
        self._broker_channels: Interest[Channel] = Interest(
            broker.subscribe, broker.unsubscribe, tasks, broker.immediate
        )
        self.streams = Streams(broker, history, clock, metrics, tasks, self.deliver)
        self._listeners: dict[Channel, list[Listener]] = {}
        self._at_once = 0  # in this turn
        broker.on_publication = self._arrived

    def __len__(self) -> int:
        return self._hub.subscriptions

    @property
    def turn(self) -> Turn:
        """What leaves at the end of the loop's turn."""
        return self._hub.fanout

    def canonical(self, channel: Channel) -> Channel:
        """
        Return the one name under which *channel* is known.

        Raises:
            CommandError: BAD_CHANNEL or UNKNOWN_CHANNEL.
        """
        if namespace_of(channel) != LIVE:
            return channel
        return parse_live(channel, self._counters).channel

    # -- subscribing -------------------------------------------------------------

    async def subscribe(
        self,
        channel: Channel,
        subscriber: Subscriber,
        flow: Flow = DIRECT,
        since: Position | None = None,
        room: Room | None = None,
    ) -> Subscription | Missed:
        """
        Add *subscriber*, which must not be subscribed to this channel already.

        Publications reach it by *flow*. *since* asks for what came after; when that is
        more than one page, or than there is *room* for, the first one is returned and
        nobody is subscribed.
        Cancelling is safe: the subscriber is then not subscribed.

        Raises:
            CommandError: BAD_CHANNEL, UNKNOWN_CHANNEL, or UNAVAILABLE when the service
                behind the channel does not answer.
        """
        namespace = namespace_of(channel)
        try:
            if namespace == LIVE:
                return await self._subscribe_live(channel, subscriber, flow, since)
            if namespace == SERVER:
                return self._join(channel, subscriber, flow, since)
            definition = self._keeping.definition(channel)
            if definition.keeps_history:
                await self._acquire(channel, definition)
                entry = await self._enter(channel, definition, since, room)
                return self._begin(channel, subscriber, flow, entry)
            await self._broker_channels.acquire(channel)
        except Unavailable as exc:
            raise _unavailable(exc) from exc
        return self._join(channel, subscriber, flow, since)

    def try_subscribe(
        self,
        channel: Channel,
        subscriber: Subscriber,
        flow: Flow = DIRECT,
        since: Position | None = None,
        room: Room | None = None,
    ) -> Subscription | Missed | None:
        """
        Do ``subscribe`` if nothing must be waited for; None: nothing was done.

        So it is with channels that others here are subscribed to, nearly always; but
        for the loop's turn is waited when there were many in this one.
        """
        if not self._begin_at_once():
            return None
        namespace = namespace_of(channel)
        if namespace == LIVE:
            name = parse_live(channel, self._counters)
            if not self._live.try_open(name):
                return None
            return self._join_live(name, subscriber, flow, since)
        if namespace == SERVER:
            return self._join(channel, subscriber, flow, since)
        definition = self._keeping.definition(channel)
        try:
            if not self._broker_channels.try_acquire(channel):
                return None
            if not definition.keeps_history:
                return self._join(channel, subscriber, flow, since)
            entry = self._try_enter(channel, definition, since, room)
        except Unavailable as exc:
            raise _unavailable(exc) from exc
        if entry is None:
            return None
        return self._begin(channel, subscriber, flow, entry)

    def _begin_at_once(self) -> bool:
        """Whether this turn of the loop has room for one more subscription."""
        if not self._at_once:
            call_soon(self._next_turn)
        self._at_once += 1
        return self._at_once <= MAX_AT_ONCE

    def _next_turn(self) -> None:
        self._at_once = 0

    async def attend(
        self,
        channel: Channel,
        subscriber: Subscriber,
        since: Position | None = None,
        room: Room | None = None,
    ) -> Subscription | Missed:
        """
        Add *subscriber*, which asks for no flow of its own, as the namespace offers it.

        See ``subscribe``.
        """
        flow = DIRECT
        if namespace_of(channel) != LIVE:
            flow = flow_of(self._keeping.definition(channel), Subscribe(channel))
        return await self.subscribe(channel, subscriber, flow, since, room)

    def _join(
        self,
        channel: Channel,
        subscriber: Subscriber,
        flow: Flow,
        since: Position | None,
    ) -> Subscription:
        topic = self._hub.join(channel, subscriber, flow)
        recovered = None if since is None else False  # nothing is kept here
        return Subscription(channel, topic.number, recovered=recovered)

    async def _subscribe_live(
        self,
        channel: Channel,
        subscriber: Subscriber,
        flow: Flow,
        since: Position | None,
    ) -> Subscription:
        name = parse_live(channel, self._counters)
        await self._live.open(name)
        return self._join_live(name, subscriber, flow, since)

    def _join_live(
        self,
        name: LiveName,
        subscriber: Subscriber,
        flow: Flow,
        since: Position | None,
    ) -> Subscription:
        # Nothing is awaited between joining and reading: no value can slip between.
        topic = self._hub.join(name.channel, subscriber, flow)
        data = self._live.current(name.channel)
        recovered = None if since is None else False
        return Subscription(name.channel, topic.number, data, recovered=recovered)

    def unsubscribe(self, channel: Channel, subscriber: Subscriber) -> None:
        """Remove *subscriber*, which must be subscribed, at once."""
        self._hub.leave(channel, subscriber)
        namespace = namespace_of(channel)
        if namespace == LIVE:
            self._live.close(self._name(channel))
        elif namespace != SERVER:
            self._release(channel)

    def _name(self, channel: Channel) -> LiveName:
        return parse_live(channel, self._counters)

    # -- channels with a history -------------------------------------------------

    def _try_enter(
        self,
        channel: Channel,
        definition: NamespaceDefinition,
        since: Position | None,
        room: Room | None,
    ) -> Entry | None:
        """Do ``_enter`` for a channel that is acquired; None: it is given back."""
        self.streams.open(channel, self._keeping.keep(definition))
        entry = None
        try:
            want = Want(since, definition.last_value)
            entry = self.streams.try_enter(channel, want, room)
        finally:
            if entry is None:
                self._release(channel)
        return entry

    async def _enter(
        self,
        channel: Channel,
        definition: NamespaceDefinition,
        since: Position | None,
        room: Room | None,
    ) -> Entry:
        try:
            want = Want(since, definition.last_value)
            return await self.streams.enter(channel, want, room)
        except BaseException:
            self._release(channel)
            raise

    def _begin(
        self, channel: Channel, subscriber: Subscriber, flow: Flow, entry: Entry
    ) -> Subscription | Missed:
        missed = entry.publications
        if flow is not DIRECT:
            missed = flow.thin(missed)
        if entry.more:
            self._metrics.recoveries.labels("page").inc()
            self._wheel.schedule(lambda: self._release(channel), LINGER_S)
            return Missed(channel, entry.position, missed)
        if entry.recovered is not None:
            outcome = "recovered" if entry.recovered else "lost"
            self._metrics.recoveries.labels(outcome).inc()
        topic = self._hub.join(channel, subscriber, flow, entry.position.offset)
        latest = _shown(entry, flow)
        return Subscription(
            channel,
            topic.number,
            None if latest is None else latest.data,
            entry.position,
            entry.recovered,
            missed,
            None if latest is None else latest.tags,
        )

    async def _acquire(self, channel: Channel, definition: NamespaceDefinition) -> None:
        # What arrives from the moment on at which the broker has subscribed is held.
        self.streams.open(channel, self._keeping.keep(definition))
        try:
            await self._broker_channels.acquire(channel)
        except BaseException:
            self.streams.close(channel)
            raise

    def _release(self, channel: Channel) -> None:
        self.streams.close(channel)
        self._broker_channels.release(channel)

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
        # Hot: once per publication that arrives here.
        if publication.channel in self._listeners:
            for listener in tuple(self._listeners[publication.channel]):
                listener(publication)
            return
        self.streams.receive(publication)

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


def _unavailable(exc: Unavailable) -> CommandError:
    return CommandError(UNAVAILABLE, str(exc), retry_after_s=exc.retry_after_s)


def _shown(entry: Entry, flow: Flow) -> Publication | None:
    """Return the last publication, if it was asked for and is for this subscriber."""
    latest = entry.latest
    if latest is None or not flow.admits(latest):
        return None
    assert latest.kind is PublicationKind.MESSAGE
    return latest
