"""
Batches of one origin's events: what is submitted, what is committed, who is told.

An *origin* is whoever sent the events and waits for the acknowledgement: a connection
or one HTTP request. Consecutive submissions of one origin grow into one batch until it
is taken for a commit, so that single-event frames cost one sub-batch per tick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, cast

from realtime.core.cells import CellKey, Cells, Delta
from realtime.core.counting import Counting, Sender
from realtime.core.ledger import SubBatch
from realtime.core.session import Numbered
from realtime.core.usual import count_usual
from realtime.errors import RejectedEvent
from realtime.types import DeviceId, Event, hot_value
from realtime.wire.messages import Rejection

MAX_BATCH_EVENTS = 1_000


@hot_value
class Submission:
    """
    Events to be counted, as they came at *now*; ``offset_s`` corrects their clock.

    Those in ``numbered`` are raw, or judged already: an ``Event`` or a ``Rejection``.
    """

    sender: Sender
    numbered: Numbered
    now: float
    offset_s: float = 0.0
    mark_ttl_s: float | None = None

    @property
    def size(self) -> int:
        """How many events there are, and 1 for a bare declaration of loss."""
        return len(self.numbered.events) or 1


class Origin(Protocol):
    """
    Who waits. Both calls come from the commit loop, are synchronous and never raise.
    """

    batch: Batch | None  # the batch that still grows; kept here for the ingest's use

    def counted(self, mark: int, rejected: Sequence[Rejection]) -> None:
        """Everything up to *mark* has been counted or rejected."""

    def refused(self, expected: int) -> None:
        """Nothing was counted: the ledger waits for number *expected*."""


def rejection_of(seq: int, exc: RejectedEvent) -> Rejection:
    """Put a rejection into the words of the wire."""
    return Rejection(seq, exc.code.code, exc.code.name, exc.reason)


def judge_all(
    counting: Counting, sender: Sender, numbered: Numbered, now: float, offset_s: float
) -> list[Event | Rejection]:
    """
    Judge raw events one by one: a bad one never spoils the others.

    *now* is when they arrived and *offset_s* what corrects the device's clock.
    """
    judged: list[Event | Rejection] = []
    for seq, raw in enumerate(numbered.events, numbered.first):
        try:
            judged.append(counting.judge(sender, raw, seq, now, offset_s))
        except RejectedEvent as exc:
            judged.append(rejection_of(seq, exc))
    return judged


class Reads(Protocol):
    """What reads events out of a message (a ``Dialect`` does)."""

    def events(self, message: bytes) -> list[object]:
        """Return the events of a ``track`` message that has been taken."""


Part = tuple[int, int, Sequence[object] | bytes, Reads | None, Sender, float, float]
"""
What one submission brought: the first number, how many events, the events or the
message that has them and who can read it, whose they are, when they came and what
corrects their clock. It is judged again if a part of it must not count.

A message takes a tenth of the memory of its events and is nothing to the garbage
collector, and hardly ever read again.
"""

_NO_DELTAS: Mapping[CellKey, Delta] = MappingProxyType({})


class Batch(SubBatch):
    """A sub-batch that grows; the rest of it is for us, not for the ledger."""

    __slots__ = ("_rejected", "counted", "origin", "parts", "size")

    cells: list[Cells]

    def __init__(
        self,
        origin: Origin,
        begin: int,
        part: Part,
        done: int,
        cells: list[Cells],
        mark_ttl_s: float,
    ) -> None:
        """Begin with *part*; the numbers from *begin* to its first one are lost."""
        # Hot: once per device and tick.
        first, count, _, _, sender, _, _ = part
        self.origin = origin
        self.device = sender.device
        self.first = begin
        self.last = first + count - 1
        self.mark_ttl_s = mark_ttl_s
        self.deltas = _NO_DELTAS
        self.cells = cells
        self._rejected: list[Rejection] | None = None
        self.parts = [part]
        self.size = count or 1
        self.counted = done  # events that add something or could have

    @property
    def rejected(self) -> Sequence[Rejection]:
        """The events that are not counted, and why."""
        return self._rejected or ()

    @property
    def lost(self) -> int:
        """How many of the numbers covered will never come."""
        covered = self.last - self.first + 1
        return covered - self.counted - len(self.rejected)

    def takes(self, device: DeviceId, first: int, size: int) -> bool:
        """Whether *size* events of *device* from number *first* on may be added."""
        return (
            first == self.last + 1
            and self.size + size <= MAX_BATCH_EVENTS
            and device == self.device
        )

    def add(self, part: Part, done: int) -> None:
        """Append a part, of which so far the first *done* are counted in ``cells``."""
        # Hot: once per frame.
        first, count = part[0], part[1]
        self.parts.append(part)
        self.last = first + count - 1
        self.size += count or 1
        self.counted += done

    def count(self, events: Sequence[object], done: int, counting: Counting) -> int:
        """
        Count *events* of the latest part but for the first *done*.

        Returns how many windows were not updated because of lateness.
        """
        first, count, _, _, sender, now, offset_s = self.parts[-1]
        if self.deltas is _NO_DELTAS:
            self.deltas = {}
        deltas = cast(dict[CellKey, Delta], self.deltas)
        late = 0
        while done < count:
            raw, seq = events[done], first + done
            try:
                if isinstance(raw, Rejection):
                    self._reject(raw)
                else:
                    if not isinstance(raw, Event):
                        raw = counting.judge(sender, raw, seq, now, offset_s)
                    late += counting.add(sender, raw, now, deltas)
                    self.counted += 1
            except RejectedEvent as exc:
                rejection = rejection_of(seq, exc)
                self._reject(rejection)
                if type(events) is list:
                    events[done] = rejection  # of itself, it may be of any size
            start = done + 1
            done = count_usual(events, start, sender.known, now, offset_s, self.cells)
            self.counted += done - start
        return late

    def _reject(self, rejection: Rejection) -> None:
        if self._rejected is None:
            self._rejected = []
        self._rejected.append(rejection)

    def trim(self, mark: int, counting: Counting) -> None:
        """Forget the numbers up to *mark*: they were counted before."""
        parts, size, last = self.parts, self.size, self.last
        self.first = mark + 1
        self.deltas, self.cells, self.parts = _NO_DELTAS, [], []
        self.counted, self._rejected = 0, None
        for first, count, source, reads, sender, now, offset_s in parts:
            skip = max(mark + 1 - first, 0)
            if skip < count:
                if reads is not None:
                    source = reads.events(cast(bytes, source))
                rest = source[skip:]
                part = (first + skip, count - skip, rest, None, sender, now, offset_s)
                self.add(part, 0)
                self.count(rest, 0, counting)
        self.size, self.last = size, last
