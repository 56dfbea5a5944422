"""
Batches of one origin's events: what is submitted, what is committed, who is told.

An *origin* is whoever sent the events and waits for the acknowledgement: a connection
or one HTTP request. Consecutive submissions of one origin grow into one batch until it
is taken for a commit, so that single-event frames cost one sub-batch per tick.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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


Part = tuple[int, Sequence[object], Sender, float, float]
"""
What one submission brought: the first number, the events, whose they are, when they
came and what corrects their clock. It is judged again if a part of it must not count.
"""


class Batch(SubBatch):
    """A sub-batch that grows; the rest of it is for us, not for the ledger."""

    __slots__ = ("counted", "open", "origin", "parts", "rejected", "size")

    deltas: dict[CellKey, Delta]
    cells: list[Cells]

    def __init__(
        self,
        origin: Origin,
        device: DeviceId,
        first: int,
        mark_ttl_s: float,
        cells: list[Cells],
    ) -> None:
        # Hot: once per device and tick.
        self.origin = origin
        self.device = device
        self.first = first
        self.last = first - 1
        self.mark_ttl_s = mark_ttl_s
        self.deltas = {}
        self.cells = cells
        self.rejected: list[Rejection] = []
        self.parts: list[Part] = []
        self.size = 0
        self.counted = 0  # events that add something or could have
        self.open = True

    @property
    def lost(self) -> int:
        """How many of the numbers covered will never come."""
        covered = self.last - self.first + 1
        return covered - self.counted - len(self.rejected)

    def takes(self, device: DeviceId, first: int, size: int) -> bool:
        """Whether *size* events of *device* from number *first* on may be added."""
        return (
            first == self.last + 1
            and self.open
            and self.size + size <= MAX_BATCH_EVENTS
            and device == self.device
        )

    def add(self, part: Part, done: int, counting: Counting) -> int:
        """
        Append a part whose first *done* events are in ``cells`` already.

        Returns how many windows were not updated because of lateness.
        """
        # Hot: once per frame; the loop only for what is not usual.
        first, events, *_ = part
        count = len(events)
        self.parts.append(part)
        self.last = first + count - 1
        self.size += count or 1
        self.counted += done
        return 0 if done == count else self._count(part, done, counting)

    def _count(self, part: Part, done: int, counting: Counting) -> int:
        """Count the events of *part* after the first *done*; return as above."""
        first, events, sender, now, offset_s = part
        late, count, cells = 0, len(events), self.cells
        while done < count:
            try:
                raw, seq = events[done], first + done
                if isinstance(raw, Rejection):
                    self.rejected.append(raw)
                else:
                    if not isinstance(raw, Event):
                        raw = counting.judge(sender, raw, seq, now, offset_s)
                    late += counting.add(sender, raw, now, self.deltas)
                    self.counted += 1
            except RejectedEvent as exc:
                self.rejected.append(rejection_of(seq, exc))
            before = done + 1
            done = count_usual(events, before, sender.known, now, offset_s, cells)
            self.counted += done - before
        return late

    def close(self) -> None:
        """Grow no more: a commit has taken it."""
        self.open = False
        if self.origin.batch is self:
            self.origin.batch = None

    def trim(self, mark: int, counting: Counting) -> None:
        """Forget the numbers up to *mark*: they were counted before."""
        parts, size, last = self.parts, self.size, self.last
        self.first = mark + 1
        self.deltas, self.cells, self.rejected, self.parts = {}, [], [], []
        self.counted = 0
        for first, events, sender, now, offset_s in parts:
            skip = max(mark + 1 - first, 0)
            if skip < len(events):
                part = (first + skip, events[skip:], sender, now, offset_s)
                self.add(part, 0, counting)
        self.size, self.last = size, last
