"""
The subscribers of one channel that share frame key and flow, and what waits for them.

Law: all work is done once for the group. A filter is evaluated once, one timer serves
intervals and batches, frames are encoded and joined once. What waits leaves in the
order of its offsets, and nothing overtakes it: a client that has an offset has all
before it that was meant for it.

    quiet --publication--> [batch] --> leave --> [interval] --> leave --> ... --> quiet

After a quiet time a publication leaves at once, or after the batching delay; then what
comes within an interval waits for its end, the latest of each key. An interval in which
nothing came makes it quiet again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from realtime.clock import Clock, Timer
from realtime.core.flow import Flow
from realtime.core.namespaces import Overflow
from realtime.engine.deliveries import Dropping, Merging, Plain
from realtime.engine.fanout import Fanout, Line
from realtime.engine.held import Held, Stand, by_news, chunks
from realtime.engine.subscriber import (
    Delivery,
    Droppable,
    FlowTally,
    Part,
    Subscriber,
)
from realtime.types import Channel, PublicationKind
from realtime.wire.frames import DEFLATED, FrameKey, PreparedPush

_MESSAGE, _GAP = PublicationKind.MESSAGE, PublicationKind.GAP

HELD_BYTES = 256
"""What a publication takes while it is held, beside its data."""


class Place(Protocol):
    """The topic to which a group belongs."""

    channel: Channel
    number: int
    line: Line | None


class Works(Protocol):
    """What all groups of a hub share."""

    clock: Clock
    fanout: Fanout
    tally: FlowTally
    max_held_bytes: int
    on_late: Callable[[int], None]


class Group:
    """
    See the module. Timers run while something waits or an interval has not ended.
    """

    __slots__ = (
        "_bytes",
        "_fresh",
        "_gaps",
        "_held",
        "_holds",
        "_last",
        "_timer",
        "_topic",
        "_works",
        "flow",
        "key",
        "members",
    )

    def __init__(self, works: Works, topic: Place, key: FrameKey, flow: Flow) -> None:
        self.key = key
        self.flow = flow
        self.members: dict[Subscriber, None] = {}
        self._holds = flow.holds
        self._works = works
        self._topic = topic
        # By the value of the tag what a newer one replaces, by number all others.
        self._held: dict[str | int | None, Held] = {}
        self._bytes = 0
        self._last = 0  # number of the last publication that was held
        self._fresh: dict[Subscriber, Stand] = {}
        self._gaps = 0
        self._timer: Timer | None = None

    # -- members -------------------------------------------------------------------

    def join(self, subscriber: Subscriber, after: int) -> None:
        """Add a subscriber that stands at offset *after*."""
        self.members[subscriber] = None
        if self._held:
            self._fresh[subscriber] = Stand(self._last, after)

    def leave(self, subscriber: Subscriber) -> None:
        """Remove a subscriber; the last one takes along what waits."""
        del self.members[subscriber]
        self._fresh.pop(subscriber, None)
        if not self.members:
            self.stop()

    def stop(self) -> None:
        """Forget what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._held.clear()
        self._bytes = 0

    # -- publications --------------------------------------------------------------

    def offer(self, push: PreparedPush) -> int:
        """Take one publication; return how many frames were handed out by that."""
        publication = push.publication
        flow, kind = self.flow, publication.kind
        if not flow.admits(publication):
            if kind is _MESSAGE:
                self._works.tally.filtered += len(self.members)
            return 0
        if kind is _GAP:
            sent = self._flush() + self._write((push,))
            self._gaps += 1  # what waits in outboxes must not get in front of it
            return sent
        if not self._holds:
            return self._write((push,))
        self._hold(push)
        if self._timer is not None:
            full = self._bytes > self._works.max_held_bytes
            return self._flush() if full else 0
        if flow.batch_s:
            self._wait(flow.batch_s)
            return 0
        self._wait(flow.interval_s)
        return self._flush()

    def _hold(self, push: PreparedPush) -> None:
        publication = push.publication
        self._last += 1
        key: str | int | None = self._last
        if self.flow.interval_s and publication.kind is _MESSAGE:
            key = self.flow.key_of(publication)
            replaced = self._held.pop(key, None)
            if replaced is not None:
                self._bytes -= HELD_BYTES + len(replaced.push.publication.data)
                self._works.tally.conflated += len(self.members)
        self._held[key] = Held(self._last, push)
        self._bytes += HELD_BYTES + len(publication.data)

    def _wait(self, delay_s: float) -> None:
        self._timer = self._works.clock.call_later(delay_s, self._due)

    def _due(self) -> None:
        self._timer = None
        if not self._held:
            return
        if self.flow.interval_s:
            self._wait(self.flow.interval_s)
        self._works.on_late(self._flush())

    # -- what leaves ---------------------------------------------------------------

    def _flush(self) -> int:
        """Let everything that waits leave, to everyone to whom it is news."""
        if not self._held:
            return 0
        held, self._held, self._bytes = list(self._held.values()), {}, 0
        fresh, self._fresh = self._fresh, {}
        pushes = [one.push for one in held]
        if not fresh:
            return self._write(pushes)
        sent = 0
        others = [one for one in self.members if one not in fresh]
        if others:
            sent = self._write(pushes, others)
        for news, some in by_news(held, fresh).items():
            sent += self._write(news, some)
        return sent

    def _write(
        self,
        pushes: Sequence[PreparedPush],
        subscribers: Collection[Subscriber] | None = None,
    ) -> int:
        """Write to *subscribers*, by default to all; to nobody what is its own."""
        some = self.members if subscribers is None else subscribers
        # Hot: once per group and publication, where every subscriber filters his own.
        if len(pushes) == 1 and pushes[0].publication.sender is None:
            return self._deliver_one(pushes[0], some)
        senders = {push.publication.sender for push in pushes} - {None}
        if not senders:
            return self._deliver(pushes, some)
        own = [one for one in some if one.id in senders]
        if not own:
            return self._deliver(pushes, some)
        sent = self._deliver(pushes, [one for one in some if one.id not in senders])
        for one in own:
            rest = [push for push in pushes if push.publication.sender != one.id]
            sent += self._deliver(rest, (one,))
        return sent

    def _deliver_one(
        self, push: PreparedPush, subscribers: Collection[Subscriber]
    ) -> int:
        frame = push.frame(self.key)
        plain = self.flow.overflow is Overflow.DISCONNECT
        delivery = Plain(frame) if plain else self._delivery((push,), (frame,))
        self._count((push,), len(subscribers))
        self._works.fanout.write(self._topic, delivery, subscribers)
        return len(subscribers)

    def _deliver(
        self, pushes: Sequence[PreparedPush], subscribers: Collection[Subscriber]
    ) -> int:
        if not subscribers or not pushes:
            return 0
        frames = [push.frame(self.key) for push in pushes]
        self._count(pushes, len(subscribers))
        at = 0
        for count in chunks(frames):
            some = slice(at, at + count)
            delivery = self._delivery(pushes[some], frames[some])
            self._works.fanout.write(self._topic, delivery, subscribers)
            at += count
        return len(frames) * len(subscribers)

    def _count(self, pushes: Sequence[PreparedPush], subscribers: int) -> None:
        if self.key in DEFLATED:
            for push in pushes:
                self._works.tally.hand_out(push, self.key, subscribers)

    def _delivery(
        self, pushes: Sequence[PreparedPush], frames: Sequence[bytes]
    ) -> Delivery:
        joined = frames[0] if len(frames) == 1 else b"".join(frames)
        overflow = self.flow.overflow
        if overflow is Overflow.DROP:
            return Dropping(self._droppable(pushes), joined)
        if overflow is Overflow.COALESCE:
            found = zip(pushes, frames, strict=True)
            return Merging([self._part(*one) for one in found], joined)
        return Plain(joined)

    def _droppable(self, pushes: Sequence[PreparedPush]) -> Droppable:
        topic = self._topic
        positions = [push.publication.position for push in pushes]
        last = next((one for one in reversed(positions) if one is not None), None)
        return Droppable(topic.channel, topic.number, len(pushes), last)

    def _part(self, push: PreparedPush, frame: bytes) -> Part:
        publication = push.publication
        if publication.kind is not _MESSAGE:
            return Part(frame, None, False)
        value = self.flow.key_of(publication)
        moves = self.flow.by is not None and publication.position is not None
        return Part(frame, (self._topic.number, value, self._gaps), moves)
