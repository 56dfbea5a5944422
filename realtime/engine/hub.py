"""
This process's subscribers per channel, and the loop that writes to them.

Law: encode once, write many. Subscribers who get everything at once (the *direct* ones)
stand together by frame key, so that the loop does nothing per subscriber but hand over
the same bytes; all others stand in groups that share frame key and flow.
"""

from __future__ import annotations

from collections.abc import Callable

from realtime.clock import Clock, SystemClock
from realtime.core.flow import DIRECT, Flow
from realtime.engine.deliveries import Plain, Value
from realtime.engine.fanout import Fanout, Line, Soon
from realtime.engine.groups import Group
from realtime.engine.subscriber import FlowTally
from realtime.engine.subscriber import Subscriber as Subscriber
from realtime.types import Channel, JSONText, Publication, PublicationKind
from realtime.wire.frames import DEFLATED, FrameKey, PreparedPush

MAX_HELD_BYTES = 1024 * 1024
"""More than this does not wait in one group for its time: it leaves before."""


class Flows:
    """The groups of one topic, by frame key and flow, and who is in which."""

    __slots__ = ("groups", "homes")

    def __init__(self) -> None:
        self.groups: dict[tuple[FrameKey, Flow], Group] = {}
        self.homes: dict[Subscriber, Group] = {}

    def remove(self, subscriber: Subscriber) -> None:
        """Take *subscriber* out of its group, and an empty group out of the topic."""
        group = self.homes.pop(subscriber)
        group.leave(subscriber)
        if not group.members:
            del self.groups[group.key, group.flow]


class Topic:
    """One channel's subscribers in this process. ``number`` names it in pushes."""

    __slots__ = ("channel", "direct", "flows", "line", "number")

    def __init__(self, channel: Channel, number: int) -> None:
        self.channel = channel
        self.number = number
        self.direct: dict[FrameKey, dict[Subscriber, None]] = {}
        self.flows: Flows | None = None
        self.line: Line | None = None  # deliveries under way, while there are any

    def __len__(self) -> int:
        others = len(self.flows.homes) if self.flows is not None else 0
        return sum(map(len, self.direct.values())) + others

    def __contains__(self, subscriber: Subscriber) -> bool:
        if subscriber in self.direct.get(subscriber.frame_key, ()):
            return True
        return self.flows is not None and subscriber in self.flows.homes

    @property
    def empty(self) -> bool:
        """Whether nobody is left."""
        return not self.direct and self.flows is None

    def remove(self, subscriber: Subscriber) -> None:
        """Take *subscriber*, which is here, out; nothing under way reaches it."""
        if self.flows is not None and subscriber in self.flows.homes:
            self.flows.remove(subscriber)
            if not self.flows.groups:
                self.flows = None
        else:
            group = self.direct[subscriber.frame_key]
            del group[subscriber]
            if not group:
                del self.direct[subscriber.frame_key]
        if self.line is not None:
            self.line.left(self, subscriber)


class Hub:
    """
    Channel to subscribers. Numbers of channels are never used twice by one hub.

    *on_late* is told how many frames were handed out other than by a call: when an
    interval or a batching delay has passed. *tally* counts what was held back.
    *soon* is how the end of a turn of the loop is awaited; see ``fanout``.
    """

    __slots__ = (
        "_last_number",
        "_topics",
        "clock",
        "fanout",
        "max_held_bytes",
        "on_late",
        "subscriptions",
        "tally",
    )

    def __init__(
        self,
        clock: Clock | None = None,
        tally: FlowTally | None = None,
        on_late: Callable[[int], None] | None = None,
        soon: Soon | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.tally = tally or FlowTally()
        self.on_late = on_late or _ignore
        self.fanout = Fanout(self.clock, soon)
        self.max_held_bytes = MAX_HELD_BYTES
        self.subscriptions = 0
        self._topics: dict[Channel, Topic] = {}
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._topics)

    def __contains__(self, channel: Channel) -> bool:
        return channel in self._topics

    def names(self) -> list[Channel]:
        """Return the channels that have subscribers here."""
        return list(self._topics)

    def count(self, channel: Channel) -> int:
        """Return how many subscribers *channel* has here."""
        topic = self._topics.get(channel)
        return 0 if topic is None else len(topic)

    def join(
        self,
        channel: Channel,
        subscriber: Subscriber,
        flow: Flow = DIRECT,
        after: int = 0,
    ) -> Topic:
        """
        Add *subscriber*, whom publications reach by *flow*; joining twice counts once.

        *after* is the offset where the subscriber stands: what this hub was given
        before and still holds back reaches it only beyond that. Of a channel without
        history, nothing that was given before does.
        """
        topic = self._topics.get(channel)
        if topic is None:
            self._last_number += 1
            topic = self._topics[channel] = Topic(channel, self._last_number)
        if subscriber not in topic:
            self.subscriptions += 1
            if topic.line is not None:
                topic.line.freeze()
            if flow is DIRECT or flow == DIRECT:
                topic.direct.setdefault(subscriber.frame_key, {})[subscriber] = None
            else:
                self._group(topic, subscriber, flow).join(subscriber, after)
        return topic

    def _group(self, topic: Topic, subscriber: Subscriber, flow: Flow) -> Group:
        if topic.flows is None:
            topic.flows = Flows()
        key = (subscriber.frame_key, flow)
        group = topic.flows.groups.get(key)
        if group is None:
            group = topic.flows.groups[key] = Group(self, topic, *key)
        topic.flows.homes[subscriber] = group
        return group

    def leave(self, channel: Channel, subscriber: Subscriber) -> None:
        """Remove *subscriber*; harmless when it had not joined."""
        topic = self._topics.get(channel)
        if topic is None or subscriber not in topic:
            return
        if topic.line is not None:
            self.fanout.leaving(topic.line)
        topic.remove(subscriber)
        self.subscriptions -= 1
        if topic.empty:
            del self._topics[channel]

    def stop(self) -> None:
        """Call off everything that is to be done later."""
        self.fanout.stop()
        for topic in self._topics.values():
            topic.line = None
            if topic.flows is not None:
                for group in topic.flows.groups.values():
                    group.stop()

    # -- writing -------------------------------------------------------------------

    def broadcast(self, publication: Publication) -> int:
        """
        Write a publication to every subscriber whom it concerns.

        Return how many frames that hands out now; see *on_late* for the others.
        """
        topic = self._topics.get(publication.channel)
        if topic is None:
            return 0
        push = PreparedPush(topic.number, publication)
        delivered = 0
        if topic.direct and publication.kind not in _NOTICES:
            delivered = self._write(topic, push)
        if topic.flows is not None:
            for group in topic.flows.groups.values():
                delivered += group.offer(push)
        return delivered

    def _write(self, topic: Topic, push: PreparedPush) -> int:
        """Write to the direct subscribers; return how many there are."""
        sender = push.publication.sender
        delivered = 0
        for key, group in topic.direct.items():
            delivery = Plain(push.frame(key))
            if sender is None:
                self.fanout.write(topic, delivery, group)
                count = len(group)
            else:
                others = [one for one in group if one.id != sender]
                self.fanout.write(topic, delivery, others)
                count = len(others)
            if key in DEFLATED:
                self.tally.hand_out(push, key, count)
            delivered += count
        return delivered

    def broadcast_latest(self, channel: Channel, data: JSONText) -> int:
        """
        The same for a live channel: a slow subscriber keeps only the latest value.
        """
        topic = self._topics.get(channel)
        if topic is None:
            return 0
        number = topic.number
        push = PreparedPush(number, Publication(channel, data))
        delivered = 0
        for key, group in topic.direct.items():
            self.fanout.write(topic, Value(number, push.frame(key)), group)
            if key in DEFLATED:
                self.tally.hand_out(push, key, len(group))
            delivered += len(group)
        if topic.flows is not None:
            for other in topic.flows.groups.values():
                delivered += other.offer(push)
        return delivered


# They are told only to those who asked for them, who are never direct.
_NOTICES = (PublicationKind.JOIN, PublicationKind.LEAVE)


def _ignore(frames: int) -> None:
    """Nobody counts."""
