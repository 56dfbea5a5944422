"""How a commit is tried, whatever others do to the marks meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from realtime.adapters.ledger.attempts import ATTEMPTS, Attempt, Reply, attempts
from realtime.core.ledger import Outcome, SubBatch, Verdict, judge
from realtime.testing.ledger_kit import sub

APPLIED, DUPLICATE = Verdict.APPLIED, Verdict.DUPLICATE
OVERLAP, GAP = Verdict.OVERLAP, Verdict.GAP


class Marks:
    """What the script does, for marks alone; counts how often it is called."""

    def __init__(self, **marks: int) -> None:
        self.marks = marks
        self.applied: list[tuple[str, int, int]] = []
        self.sent: list[int] = []

    def run(self, attempt: Attempt) -> Reply:
        """Judge *attempt*; apply it if it is as expected."""
        self.sent.append(len(attempt.batches))
        marks, outcomes = dict(self.marks), []
        for batch in attempt.batches:
            mark = marks.get(batch.device, 0)
            verdict = judge(mark, batch.first, batch.last)
            mark = batch.last if verdict is APPLIED else mark
            marks[batch.device] = mark
            outcomes.append(Outcome(verdict, mark))
        new = [outcome.verdict is APPLIED for outcome in outcomes]
        if new != list(attempt.expected or [True] * len(new)):
            return Reply(False, outcomes)
        self.marks = marks
        self.applied += [(b.device, b.first, b.last) for b in attempt.counted]
        return Reply(True, None if all(new) else outcomes)


def commit(
    marks: Marks, batches: Sequence[SubBatch], between: Callable[[], None]
) -> list[Outcome]:
    """Commit *batches*; somebody else acts before every attempt."""
    trying = attempts(batches)
    attempt = next(trying)
    try:
        while True:
            between()
            attempt = trying.send(marks.run(attempt))
    except StopIteration as end:
        return list(end.value)


def nothing() -> None:
    """Nobody else is there."""


def test_what_is_new_needs_one_attempt() -> None:
    """Several sub-batches, also of one device, are applied together."""
    marks = Marks(a=4)
    outcomes = commit(marks, [sub("a", 5, 6), sub("b", 1, 1), sub("a", 7, 7)], nothing)
    assert outcomes == [Outcome(APPLIED, 6), Outcome(APPLIED, 1), Outcome(APPLIED, 7)]
    assert marks.sent == [3]


def test_what_is_not_new_needs_one_attempt_more() -> None:
    """The second attempt expects what the first has found."""
    marks = Marks(a=4, b=2, c=3)
    batches = [sub("a", 5, 6), sub("b", 1, 2), sub("c", 2, 9), sub("d", 2, 2)]
    outcomes = commit(marks, [*batches, sub("a", 7, 7)], nothing)
    assert outcomes == [
        Outcome(APPLIED, 6),
        Outcome(DUPLICATE, 2),
        Outcome(OVERLAP, 3),
        Outcome(GAP, 0),
        Outcome(APPLIED, 7),
    ]
    assert marks.sent == [5, 5]
    assert marks.applied == [("a", 5, 6), ("a", 7, 7)]


def test_where_nothing_is_new_nothing_is_sent_again() -> None:
    """A commit that is repeated as a whole is answered by its first attempt."""
    marks = Marks(a=4, b=2)
    outcomes = commit(marks, [sub("a", 1, 4), sub("b", 1, 2)], nothing)
    assert outcomes == [Outcome(DUPLICATE, 4), Outcome(DUPLICATE, 2)]
    assert marks.sent == [2]


def test_one_device_that_is_never_as_expected_ends_up_alone() -> None:
    """Whoever moves one mark before every attempt holds up the others only a little."""
    marks = Marks(x=0)
    batches = [sub(f"d{n}", 1, 1) for n in range(64)]
    # One number after another of x: each is new when the attempt begins.
    batches += [sub("x", n, n) for n in range(1, 40)]

    def between() -> None:
        marks.marks["x"] += 1

    outcomes = commit(marks, batches, between)
    assert all(outcome.verdict is APPLIED for outcome in outcomes[:64])
    assert sum(device != "x" for device, _, _ in marks.applied) == 64
    assert len(marks.sent) < 100


def test_what_is_too_large_is_parted() -> None:
    """No reply at all parts an attempt, by device, until it is small enough."""
    trying = attempts([sub("a", 1, 1), sub("b", 1, 1), sub("a", 2, 2), sub("c", 1, 1)])
    sizes = []
    reply: Reply | None = None
    attempt = next(trying)
    try:
        while True:
            large = len(attempt.batches) > 2
            sizes.append([batch.device for batch in attempt.batches])
            reply = None if large else Reply(True, None)
            attempt = trying.send(reply)
    except StopIteration as end:
        outcomes = end.value
    assert sizes == [["a", "b", "a", "c"], ["a", "a"], ["b", "c"]]
    assert [outcome.mark for outcome in outcomes] == [1, 1, 2, 1]


_batch = st.builds(
    lambda device, first, more: sub(device, first, first + more),
    st.sampled_from("abcd"),
    st.integers(1, 6),
    st.integers(0, 2),
)
_moves = st.lists(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 3)))


@given(batches=st.lists(_batch, min_size=1, max_size=12), moves=_moves)
def test_whoever_interferes_every_event_counts_once(
    batches: list[SubBatch], moves: list[dict[str, int]]
) -> None:
    """
    Marks that others move before any attempt neither keep a commit from ending nor
    have a number counted twice; what is said to be applied is what was.
    """
    marks = Marks()
    counted: dict[str, set[int]] = {device: set() for device in "abcd"}
    left = list(moves)

    def between() -> None:
        for device, steps in (left.pop(0) if left else {}).items():
            mark = marks.marks.get(device, 0)
            counted[device].update(range(mark + 1, mark + steps + 1))
            marks.marks[device] = mark + steps

    outcomes = commit(marks, batches, between)
    pairs = zip(batches, outcomes, strict=True)
    said = [(b.device, b.first, b.last) for b, o in pairs if o.verdict is APPLIED]
    assert sorted(said) == sorted(marks.applied)
    for device, first, last in marks.applied:
        numbers = set(range(first, last + 1))
        assert not numbers & counted[device]
        counted[device] |= numbers
    for batch, outcome in zip(batches, outcomes, strict=True):
        mark = marks.marks.get(batch.device, 0)
        assert counted[batch.device] == set(range(1, mark + 1))
        assert outcome.mark <= mark
        if outcome.verdict is DUPLICATE:
            assert batch.last <= outcome.mark
        elif outcome.verdict is not APPLIED:
            assert batch.first <= outcome.mark < batch.last or (
                outcome.verdict is GAP and batch.first > outcome.mark + 1
            )
    assert len(marks.sent) <= 2 * ATTEMPTS * len(batches)
