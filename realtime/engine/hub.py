"""
This process's subscribers per channel, and the loop that writes to them.

Law: encode once, write many. Subscribers stand in one group per frame key, so that the
loop does nothing per subscriber but hand over the same bytes.
"""

from __future__ import annotations

from typing import Protocol

from realtime.core.flow import DIRECT, Flow
from realtime.types import Channel, JSONText, Publication
from realtime.wire.frames import FrameKey, PreparedPush


class Subscriber(Protocol):
    """
    Where frames of a channel go; the outbox of a connection, usually.

    Neither method may change the hub: a subscriber that overflows says so and is
    removed after the loop.
    """

    @property
    def frame_key(self) -> FrameKey:
        """What the bytes for this subscriber depend on; never changes."""

    def push(self, frame: bytes) -> None:
        """Send one publication."""

    def push_latest(self, number: int, frame: bytes) -> None:
        """
        Send a live channel's value; a value of channel *number* still waiting may go.
        """


class Topic:
    """One channel's subscribers in this process. ``number`` names it in pushes."""

    __slots__ = ("channel", "groups", "number")

    def __init__(self, channel: Channel, number: int) -> None:
        self.channel = channel
        self.number = number
        self.groups: dict[FrameKey, dict[Subscriber, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self.groups.values()))


class Hub:
    """Channel to subscribers. Numbers of channels are never used twice by one hub."""

    __slots__ = ("_last_number", "_topics", "subscriptions")

    def __init__(self) -> None:
        self._topics: dict[Channel, Topic] = {}
        self._last_number = 0
        self.subscriptions = 0

    def __len__(self) -> int:
        return len(self._topics)

    def __contains__(self, channel: Channel) -> bool:
        return channel in self._topics

    def join(
        self,
        channel: Channel,
        subscriber: Subscriber,
        flow: Flow = DIRECT,
        after: int = 0,
    ) -> Topic:
        """
        Add *subscriber*, whose publications reach it by *flow*; joining twice counts
        once.

        *after* is the offset where the subscriber stands: publications up to it that
        this hub was given before are not for it.
        """
        topic = self._topics.get(channel)
        if topic is None:
            self._last_number += 1
            topic = self._topics[channel] = Topic(channel, self._last_number)
        group = topic.groups.setdefault(subscriber.frame_key, {})
        if subscriber not in group:
            group[subscriber] = None
            self.subscriptions += 1
        return topic

    def leave(self, channel: Channel, subscriber: Subscriber) -> None:
        """Remove *subscriber*; harmless when it had not joined."""
        topic = self._topics.get(channel)
        if topic is None:
            return
        group = topic.groups.get(subscriber.frame_key)
        if group is None or subscriber not in group:
            return
        del group[subscriber]
        self.subscriptions -= 1
        if not group:
            del topic.groups[subscriber.frame_key]
        if not topic.groups:
            del self._topics[channel]

    def broadcast(self, publication: Publication) -> int:
        """Write a publication to every subscriber; return how many there were."""
        topic = self._topics.get(publication.channel)
        if topic is None:
            return 0
        prepared = PreparedPush(topic.number, publication)
        delivered = 0
        for key, group in topic.groups.items():
            frame = prepared.frame(key)
            # Hot: once per subscriber and publication (benchmarks/fanout.py).
            for subscriber in group:
                subscriber.push(frame)
            delivered += len(group)
        return delivered

    def broadcast_latest(self, channel: Channel, data: JSONText) -> int:
        """
        The same for a live channel: a slow subscriber keeps only the latest value.
        """
        topic = self._topics.get(channel)
        if topic is None:
            return 0
        number = topic.number
        prepared = PreparedPush(number, Publication(channel, data))
        delivered = 0
        for key, group in topic.groups.items():
            frame = prepared.frame(key)
            for subscriber in group:
                subscriber.push_latest(number, frame)
            delivered += len(group)
        return delivered
