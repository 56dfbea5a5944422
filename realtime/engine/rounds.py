"""
One round of writing: what a turn of the loop has brought, joined for each subscriber.

Law: a subscriber gets the deliveries of a round in their order, in one write, each at
most once, and none of a channel that it has left. All who get the same deliveries share
the joined bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from realtime.engine.deliveries import hand, join
from realtime.engine.subscriber import Delivery, Subscriber

if TYPE_CHECKING:
    from realtime.engine.fanout import Lined

JOIN_BYTES = 64 * 1024
"""What leaves together is joined up to about this size."""

CHUNK = 64
"""Subscribers that are served between two looks at the clock: 0.7 ms at most."""

Members = Collection[Subscriber]


class Entry:
    """
    A delivery, and whom it is for. *topic* is None for an answer to one subscriber.

    *members* is the hub's own collection until somebody joins it; whoever leaves a
    collection that is not the hub's own is *gone*.
    """

    __slots__ = ("delivery", "gone", "members", "topic")

    def __init__(
        self, topic: Lined | None, delivery: Delivery, members: Members
    ) -> None:
        self.topic = topic
        self.delivery = delivery
        self.members = members
        self.gone: set[Subscriber] | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes while it waits."""
        own = 0 if isinstance(self.members, dict) else 8 * len(self.members)
        return len(self.delivery.frame) + own

    def freeze(self) -> None:
        """Let nobody in any more."""
        if isinstance(self.members, dict):
            self.members = tuple(self.members)

    def leave(self, subscriber: Subscriber) -> None:
        """Let *subscriber* go."""
        if not isinstance(self.members, dict):
            if self.gone is None:
                self.gone = set()
            self.gone.add(subscriber)

    def there(self) -> tuple[Subscriber, ...]:
        """Return who is to be served."""
        gone = self.gone
        if gone:
            return tuple([one for one in self.members if one not in gone])
        return tuple(self.members)


class Bundle:
    """
    What some subscribers get, in order; the next delivery leads to the next bundle.
    """

    __slots__ = ("_next", "_writes", "entries")

    def __init__(self, entries: tuple[Entry, ...] = ()) -> None:
        self.entries = entries
        self._next: dict[Entry, Bundle] = {}
        self._writes: Sequence[Delivery] | None = None

    def then(self, entry: Entry) -> Bundle:
        """Return what is got by whoever gets *entry*, too."""
        found = self._next.get(entry)
        if found is None:
            found = self._next[entry] = Bundle((*self.entries, entry))
        return found

    def without(self, topic: Lined) -> Bundle | None:
        """Return what is left for who has left *topic*; None for nothing."""
        left = tuple([entry for entry in self.entries if entry.topic is not topic])
        return Bundle(left) if left else None

    @property
    def writes(self) -> Sequence[Delivery]:
        """The joined deliveries; more than one only if they are very large."""
        if self._writes is None:
            deliveries = [entry.delivery for entry in self.entries]
            self._writes = join(deliveries, JOIN_BYTES)
        return self._writes


class Round:
    """
    See the module. *on_through* is told of each topic whose subscribers are all served.
    """

    __slots__ = ("_at", "_chunk", "_on_through", "_order", "_work", "answering")

    def __init__(
        self,
        entries: Sequence[Entry],
        chunk: int,
        on_through: Callable[[Lined], None],
    ) -> None:
        self._chunk = chunk
        self._on_through = on_through
        self._at: dict[Subscriber, Bundle] = {}
        self._order: list[tuple[Lined | None, tuple[Subscriber, ...]]] = []
        self._bind(entries)
        self.answering = self._order[0][0] is None
        self._work = self._run()

    def _bind(self, entries: Sequence[Entry]) -> None:
        """Find out what each subscriber gets."""
        start = Bundle()
        at = self._at
        for members, same in _alike(entries):
            if not at:  # the first ones, and mostly the only ones
                bundle = start
                for entry in same:
                    bundle = bundle.then(entry)
                at.update(dict.fromkeys(members, bundle))
            else:
                for subscriber in members:
                    bundle = at.get(subscriber, start)
                    for entry in same:
                        bundle = bundle.then(entry)
                    at[subscriber] = bundle
            topics = dict.fromkeys(entry.topic for entry in same)
            self._order += [(topic, members) for topic in topics]
        # Answers first, then small channels: they do not wait for large ones.
        self._order.sort(key=lambda one: (one[0] is not None, len(one[1])))

    def serve(self, turn: int, enough: Callable[[], bool]) -> bool:
        """
        Serve the next ones, *turn* or a few more, until it is *enough*; whether all
        are served. Who gets an answer is served at once: nothing may overtake it.
        """
        served = 0
        for bundle, some in self._work:
            for delivery in bundle.writes:
                hand(delivery, some)
            served += len(some)
            if self._at and not self.answering and (served >= turn or enough()):
                return False
        return True

    def _run(self) -> Iterator[tuple[Bundle, tuple[Subscriber, ...]]]:
        """Take them in turn, as many at once as get the same."""
        last = {topic: at for at, (topic, _) in enumerate(self._order)}
        for at, (topic, members) in enumerate(self._order):
            self.answering = topic is None
            yield from self._chunks(members)
            if topic is not None and last[topic] == at:
                self._on_through(topic)

    def _chunks(
        self, members: Sequence[Subscriber]
    ) -> Iterator[tuple[Bundle, tuple[Subscriber, ...]]]:
        at, chunk = self._at, self._chunk
        some: list[Subscriber] = []
        current = None
        # Hot: once per subscriber and round.
        for subscriber in members:
            bundle = at.get(subscriber)
            if some and (bundle is not current or len(some) >= chunk):
                assert current is not None
                yield current, tuple(some)
                some = []
                bundle = at.get(subscriber)  # it may have left meanwhile
            if bundle is not None:
                current = bundle
                del at[subscriber]
                some.append(subscriber)
        if some:
            assert current is not None
            yield current, tuple(some)

    def left(self, topic: Lined, subscriber: Subscriber) -> None:
        """See to it that *subscriber* gets nothing more of *topic*."""
        bundle = self._at.get(subscriber)
        if bundle is not None:
            rest = bundle.without(topic)
            if rest is None:
                del self._at[subscriber]
            else:
                self._at[subscriber] = rest


def _alike(
    entries: Sequence[Entry],
) -> Iterator[tuple[tuple[Subscriber, ...], list[Entry]]]:
    """Take together neighbours that are for the same subscribers."""
    same: list[Entry] = []
    members: tuple[Subscriber, ...] = ()
    for entry in entries:
        if same and entry.members is same[0].members and entry.gone == same[0].gone:
            same.append(entry)
            continue
        there = entry.there()
        if same and there == members:
            same.append(entry)
            continue
        if same:
            yield members, same
        members, same = there, [entry]
    if same:
        yield members, same
