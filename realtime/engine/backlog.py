"""
Frames that wait for one slow reader, bounded in bytes.

Each kind gives way in its own manner: a live value and a publication of a coalescing
channel to a newer one; a droppable one when there is no room, and then a gap is told;
all others wait in order. What still does not fit is refused, and the reader is lost.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from realtime.engine.subscriber import Droppable, FlowTally, Part
from realtime.types import JSONText, Publication, PublicationKind
from realtime.wire.frames import FrameKey, PreparedPush

_NO_DATA = JSONText(b"null")


class Backlog:
    """
    An ordered queue of frames. False from an ``add``: it has no room for the frame.

    ``bytes`` are those that wait, never more than *max_bytes*. The backlog is true
    while there is anything to be sent. A gap is told without a position when that is
    unknown or has not changed.
    """

    __slots__ = ("_entries", "_last_key", "_lost", "_max_bytes", "_tally", "bytes")

    def __init__(self, max_bytes: int, tally: FlowTally) -> None:
        self._max_bytes = max_bytes
        self._tally = tally
        # By -1, -2, -3 ... what stays in order; by channel number a live value; by
        # MergeKey what may be replaced; by Droppable what may be dropped.
        self._entries: OrderedDict[Hashable, bytes] = OrderedDict()
        self._last_key = 0
        # Channels that lose all that comes, until a gap can be told.
        self._lost: dict[int, Droppable] = {}
        self.bytes = 0

    def __bool__(self) -> bool:
        return bool(self._entries or self._lost)

    def add(self, frame: bytes) -> bool:
        """Let *frame* wait behind all others."""
        self._last_key -= 1
        return self._put(self._last_key, frame)

    def add_latest(self, key: Hashable, frame: bytes, *, moves: bool = False) -> bool:
        """Let *frame* wait in place of one with the same *key*, or at the end."""
        replaced = self._entries.get(key)
        if replaced is None:
            return self._put(key, frame)
        self._tally.coalesced += 1
        self.bytes -= len(replaced)
        if moves:
            self._entries.move_to_end(key)
        return self._put(key, frame)

    def add_part(self, part: Part) -> bool:
        """Let one part of a write wait, in place of what it replaces."""
        if part.key is None:
            return self.add(part.frame)
        return self.add_latest(part.key, part.frame, moves=part.moves)

    def add_droppable(self, drop: Droppable, frame: bytes) -> None:
        """Let *frame* wait; without room, drop all that waits of its channel."""
        if drop.number not in self._lost:
            if self.bytes + len(frame) <= self._max_bytes:
                self._put(drop, frame)
                return
            self._drop(drop.number)
        self._lose(drop)

    def tell_gaps(self, frame_key: FrameKey) -> None:
        """Let a gap wait for every channel that lost something, if there is room."""
        for number, lost in list(self._lost.items()):
            publication = Publication(
                lost.channel, _NO_DATA, lost.position, kind=PublicationKind.GAP
            )
            frame = PreparedPush(number, publication).frame(frame_key)
            if self._entries and self.bytes + len(frame) > self._max_bytes:
                return
            del self._lost[number]
            # May be dropped in its turn: the next gap says all that this one does.
            self._put(Droppable(lost.channel, number, 0, lost.position), frame)
            self._tally.gaps_told += 1

    def take(self, max_bytes: int) -> bytes:
        """Remove the first frames, *max_bytes* or one more, and join them."""
        frames: list[bytes] = []
        size = 0
        while self._entries and size < max_bytes:
            frame = self._entries.popitem(last=False)[1]
            frames.append(frame)
            size += len(frame)
        self.bytes -= size
        return b"".join(frames)

    def forget(self, number: int) -> None:
        """Drop what waits of channel *number*, as far as it can be told apart."""
        self._lost.pop(number, None)
        for key in [key for key in self._entries if _channel_of(key) == number]:
            self.bytes -= len(self._entries.pop(key))

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self._lost.clear()
        self.bytes = 0

    def _put(self, key: Hashable, frame: bytes) -> bool:
        if self.bytes + len(frame) > self._max_bytes:
            self._drop_all()
            if self.bytes + len(frame) > self._max_bytes:
                return False
        self.bytes += len(frame)
        self._entries[key] = frame
        return True

    def _drop_all(self) -> None:
        """Make room: whatever may be dropped goes before the reader is given up."""
        drops = (key for key in self._entries if isinstance(key, Droppable))
        for number in {drop.number for drop in drops}:
            self._drop(number)

    def _drop(self, number: int) -> None:
        """Drop what waits of channel *number*."""
        for key in list(self._entries):
            if isinstance(key, Droppable) and key.number == number:
                self.bytes -= len(self._entries.pop(key))
                self._lose(key)

    def _lose(self, drop: Droppable) -> None:
        self._tally.dropped += drop.count
        if drop.position is not None or drop.number not in self._lost:
            self._lost[drop.number] = drop  # the reader stands at the newest position


def _channel_of(key: Hashable) -> int | None:
    """Return the number of the channel to which an entry belongs, if it says so."""
    if isinstance(key, Droppable):
        return key.number
    if isinstance(key, tuple):
        return int(key[0])
    return key if isinstance(key, int) else None
