"""
How a commit is tried: all of it at once first, then without what does not count.

A ledger that adds a total cannot leave out the part of one device. So it is told which
sub-batches are expected to be new, and what these add together; it judges them all and
either adds the total, if exactly these are new, or changes nothing and says what it
found. What it found is expected the next time. Usually the first attempt does it, and
after a device has sent something twice, the second. Somebody may change the marks of a
few devices between any two attempts, again and again; so after a few of them the commit
is parted, until those devices are alone. A single sub-batch needs one attempt: it is
either new, or there is nothing to add.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

from realtime.core.ledger import Outcome, SubBatch, Verdict

ATTEMPTS = 3  # of the same sub-batches together

_APPLIED = Verdict.APPLIED


class Attempt(NamedTuple):
    """
    What to send: ``expected`` says of each of ``batches`` whether it is expected to be
    new; None if all are.
    """

    batches: Sequence[SubBatch]
    expected: Sequence[bool] | None

    @property
    def counted(self) -> Sequence[SubBatch]:
        """The sub-batches that are expected to be new."""
        if self.expected is None:
            return self.batches
        pairs = zip(self.batches, self.expected, strict=True)
        return [batch for batch, new in pairs if new]


class Reply(NamedTuple):
    """
    What became of an attempt: ``done``, or nothing was changed.

    ``outcomes`` of its sub-batches, or what they would have been; None if all are new.
    """

    done: bool
    outcomes: list[Outcome] | None


Attempts = Generator[Attempt, Reply | None, list[Outcome]]


def attempts(batches: Sequence[SubBatch]) -> Attempts:
    """
    Yield what to send, expect the reply, and return the outcomes at last.

    None instead of a reply parts the attempt, because it is too large; that of a single
    sub-batch is not.
    """
    expected: Sequence[bool] | None = None
    for _ in range(ATTEMPTS):
        reply = yield Attempt(batches, expected)
        if reply is None:
            break
        outcomes = reply.outcomes
        if outcomes is None:
            return [Outcome(_APPLIED, batch.last) for batch in batches]
        expected = [outcome.verdict is _APPLIED for outcome in outcomes]
        if reply.done or not any(expected):
            return outcomes
    return (yield from _parted(batches))


def _parted(batches: Sequence[SubBatch]) -> Attempts:
    found: dict[int, Outcome] = {}
    for places in _halves(batches):
        outcomes = yield from attempts([batches[place] for place in places])
        found.update(zip(places, outcomes, strict=True))
    return [found[place] for place in range(len(batches))]


def _halves(batches: Sequence[SubBatch]) -> tuple[Sequence[int], Sequence[int]]:
    """Part by devices, or a single device's in its order."""
    devices = list(dict.fromkeys(batch.device for batch in batches))
    if len(devices) == 1:
        middle = len(batches) // 2
        return range(middle), range(middle, len(batches))
    first = set(devices[: len(devices) // 2])
    one = [at for at, batch in enumerate(batches) if batch.device in first]
    two = [at for at, batch in enumerate(batches) if batch.device not in first]
    return one, two
