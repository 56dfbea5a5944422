"""What waits in a group, and to whom of its subscribers it is news."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from realtime.engine.subscriber import Subscriber
from realtime.wire.frames import PreparedPush

JOIN_BYTES = 64 * 1024
"""Frames that leave together are joined up to about this size."""


class Held(NamedTuple):
    """A publication that waits for its time; numbers grow in the order of coming."""

    number: int
    push: PreparedPush


class Stand(NamedTuple):
    """Where a subscriber stood when it joined a group in which something waited."""

    held: int
    after: int

    def misses(self, held: Held) -> bool:
        """Whether *held* is news to it."""
        position = held.push.publication.position
        if position is not None:
            return position.offset > self.after
        return held.number > self.held


def by_news(
    held: Sequence[Held], fresh: Mapping[Subscriber, Stand]
) -> dict[tuple[PreparedPush, ...], list[Subscriber]]:
    """Sort new subscribers by what is news to them, so that it is joined once."""
    stands: dict[Stand, list[Subscriber]] = {}
    for subscriber, stand in fresh.items():
        stands.setdefault(stand, []).append(subscriber)
    found: dict[tuple[PreparedPush, ...], list[Subscriber]] = {}
    for stand, subscribers in stands.items():
        news = tuple(one.push for one in held if stand.misses(one))
        if news:
            found.setdefault(news, []).extend(subscribers)
    return found


def chunks(frames: Sequence[bytes]) -> Sequence[int]:
    """Return how many frames go into each write, so that none grows very large."""
    counts, size = [0], 0
    for frame in frames:
        if size >= JOIN_BYTES:
            counts.append(0)
            size = 0
        counts[-1] += 1
        size += len(frame)
    return counts
