"""
What channels have kept: publications by offset, and what must not be made twice.

Offsets of one channel grow by one and are dense; its epoch changes when they start
anew. Nothing here outlives its time: publications, keys and unused channels are let go
of little by little, with every use. ``now`` is in seconds and never goes backwards.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush

from realtime.types import Channel, Position, Publication

SWEEP = 4  # channels looked at with every use; more than a use can add


@dataclass(frozen=True, slots=True)
class Page:
    """
    A part of a ring, in the order that was asked for.

    ``complete``: nothing is missing between the place that was asked for and the first
    publication. ``more``: there are further ones in this direction.
    """

    publications: Sequence[Publication]
    complete: bool
    more: bool


_NOTHING: dict[int, Publication] = {}
_NEVER: dict[int, float] = {}


class Ring:
    """The publications that one channel keeps, and its position."""

    __slots__ = ("_kept", "_kept_at", "epoch", "offset")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.offset = 0  # of the newest ever made
        # By offset, because a page begins anywhere: a deque would be walked to there.
        # Most are empty, and share what is.
        self._kept: dict[int, Publication] = _NOTHING
        self._kept_at: dict[int, float] = _NEVER

    @property
    def top(self) -> Position:
        """The position of the newest publication ever made."""
        return Position(self.offset, self.epoch)

    def __len__(self) -> int:
        return len(self._kept)

    def append(self, publication: Publication, now: float) -> Publication:
        """Number *publication* and keep it; returns it with its position."""
        self.offset += 1
        placed = replace(publication, position=self.top)
        if self._kept is _NOTHING:
            self._kept, self._kept_at = {}, {}
        self._kept[self.offset] = placed
        self._kept_at[self.offset] = now
        return placed

    def trim(self, size: int, ttl_s: float, now: float) -> None:
        """Let go of all but the last *size*, and of those that are *ttl_s* old."""
        offsets = range(self._first(), self.offset + 1)
        old = bisect_right(offsets, now - ttl_s, key=self._kept_at.__getitem__)
        for offset in offsets[: max(old, len(offsets) - size)]:
            del self._kept[offset], self._kept_at[offset]

    def clear(self) -> None:
        """Let go of all; the position stays."""
        self._kept.clear()
        self._kept_at.clear()

    def read(
        self, since: Position | None, limit: int, max_bytes: int, *, reverse: bool
    ) -> Page:
        """
        Return at most *limit* after *since*, or before it with *reverse*.

        *max_bytes* bounds their data; one is always returned if *limit* allows it. When
        something is missing after *since*, reading begins as if it had not been given.
        """
        offsets = range(self._first(), self.offset + 1)
        complete = True
        if since is not None:
            complete, offsets = self._beyond(since, offsets, reverse)
        if reverse:
            offsets = offsets[::-1]
        taken = self._take(offsets[:limit], max_bytes)
        return Page(taken, complete, len(taken) < len(offsets))

    def _first(self) -> int:
        return self.offset + 1 - len(self._kept)

    def _beyond(
        self, since: Position, offsets: range, reverse: bool
    ) -> tuple[bool, range]:
        if since.epoch != self.epoch or since.offset > self.offset:
            return False, offsets
        if reverse:
            complete = since.offset > offsets.start or since.offset <= 1
            return complete, range(offsets.start, max(offsets.start, since.offset))
        if since.offset + 1 < offsets.start:
            return False, offsets
        return True, range(since.offset + 1, offsets.stop)

    def _take(self, offsets: Iterable[int], max_bytes: int) -> list[Publication]:
        taken: list[Publication] = []
        left = max_bytes
        for offset in offsets:
            publication = self._kept[offset]
            left -= len(publication.data)
            if left < 0 and taken:
                break
            taken.append(publication)
        return taken


class Remembered:
    """Keys and what they stand for, each for a time of its own."""

    def __init__(self) -> None:
        self._found: dict[Hashable, tuple[float, Position | None]] = {}
        self._due: list[tuple[float, int, Hashable]] = []
        self._number = 0  # keys themselves need not be comparable

    def __len__(self) -> int:
        return len(self._found)

    def expire(self, now: float) -> None:
        """Forget what is due."""
        while self._due and self._due[0][0] <= now:
            expires_at, _, key = heappop(self._due)
            if self._found[key][0] == expires_at:
                del self._found[key]

    def __contains__(self, key: Hashable) -> bool:
        return key in self._found

    def __getitem__(self, key: Hashable) -> Position | None:
        return self._found[key][1]

    def add(self, key: Hashable, position: Position | None, expires_at: float) -> None:
        """Remember a *key* that is not known."""
        self._found[key] = (expires_at, position)
        self._number += 1
        heappush(self._due, (expires_at, self._number, key))


class _Kept:
    """One channel."""

    __slots__ = ("meta_ttl_s", "ring", "ttl_s", "used_at", "version")

    def __init__(self, epoch: str) -> None:
        self.ring = Ring(epoch)
        self.ttl_s = self.meta_ttl_s = self.used_at = 0.0
        self.version: tuple[str, int] | None = None


class Histories:
    """The rings of all channels; *new_epoch* never returns the same twice."""

    def __init__(self, new_epoch: Callable[[], str]) -> None:
        self.seen = Remembered()
        self._new_epoch = new_epoch
        self._channels: dict[Channel, _Kept] = {}
        self._round: deque[Channel] = deque()  # each channel once, to be looked at

    def __len__(self) -> int:
        return len(self._channels)

    def use(
        self, channel: Channel, size: int, ttl_s: float, meta_ttl_s: float, now: float
    ) -> Ring:
        """Return the ring of *channel*, trimmed; it is made if there is none."""
        self.sweep(now)
        kept = self._channels.get(channel)
        if kept is None or _is_over(kept, now):
            if kept is None:
                self._round.append(channel)
            kept = self._channels[channel] = _Kept(self._new_epoch())
        kept.used_at, kept.ttl_s, kept.meta_ttl_s = now, ttl_s, max(meta_ttl_s, ttl_s)
        kept.ring.trim(size, ttl_s, now)
        return kept.ring

    def advance(self, channel: Channel, epoch: str, version: int) -> bool:
        """
        Note that *channel*, which is in use, is at *version*; false if it was before.

        Versions of another *epoch* than the last are not compared with it.
        """
        kept = self._channels[channel]
        last = kept.version
        if last is not None and last[0] == epoch and version <= last[1]:
            return False
        kept.version = (epoch, version)
        return True

    def forget(self, channel: Channel) -> None:
        """Let go of what *channel* has kept; its position stays."""
        if kept := self._channels.get(channel):
            kept.ring.clear()

    def sweep(self, now: float) -> None:
        """Let go of a part of what is over."""
        self.seen.expire(now)
        for _ in range(min(SWEEP, len(self._round))):
            channel = self._round.popleft()
            kept = self._channels[channel]
            if _is_over(kept, now):
                del self._channels[channel]
                continue
            self._round.append(channel)
            if kept.used_at + kept.ttl_s <= now:
                kept.ring.clear()


def _is_over(kept: _Kept, now: float) -> bool:
    return kept.used_at + kept.meta_ttl_s <= now
