"""Events wait for their tick, are committed once, and acknowledged only afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import pytest
from structlog.testing import capture_logs

from realtime.adapters.ledger.port import Ledger
from realtime.core import counting as counting_module
from realtime.core.counters import CounterDefinition, CounterSet
from realtime.core.counting import Counting
from realtime.core.events import EventRules
from realtime.core.ledger import Outcome, SubBatch, Verdict, judge
from realtime.core.session import Numbered
from realtime.core.totals import total
from realtime.engine.batches import Batch, Submission
from realtime.engine.ingest import Busy, Ingest
from realtime.engine.metrics import Metrics
from realtime.errors import (
    BAD_EVENT,
    EVENT_DENIED,
    EVENT_TOO_OLD,
    LedgerUnavailable,
)
from realtime.settings import EventSettings, LedgerSettings, LimitSettings
from realtime.testing.clock import ManualClock
from realtime.types import DeviceId, Event
from realtime.wire.messages import Rejection

pytestmark = pytest.mark.anyio

PHONE, TABLET = DeviceId("phone"), DeviceId("tablet")
TICK_S = 0.1
LIKES = CounterDefinition.parse(
    "likes", {"event": "like", "measure": "count", "windows": ["total"]}, TICK_S
)


def counting_of(*counters: CounterDefinition) -> Counting:
    """What judges and counts by the default settings."""
    rules = EventRules(EventSettings(), LimitSettings())
    return Counting(rules, CounterSet(counters))


COUNTING = counting_of(LIKES)


def anything(name: str) -> bool:
    """Grant events of every name."""
    return True


def sent_by(device: DeviceId, counting: Counting = COUNTING) -> counting_module.Sender:
    """A device that may send everything."""
    return counting.sender(device, None, anything)


class Marks(Ledger):
    """A ledger that keeps marks and can be told not to answer."""

    def __init__(self) -> None:
        self.marks: dict[DeviceId, int] = {}
        self.commits: list[list[SubBatch]] = []
        self.failures = 0
        self.error: Exception = LedgerUnavailable("stopped by the test")
        self.added = 0

    async def commit(self, batches: Sequence[SubBatch], now: float) -> list[Outcome]:
        self.commits.append(list(batches))
        if self.failures:
            self.failures -= 1
            raise self.error
        return [self._apply(batch) for batch in batches]

    def _apply(self, batch: SubBatch) -> Outcome:
        mark = self.marks.get(batch.device, 0)
        verdict = judge(mark, batch.first, batch.last)
        if verdict is Verdict.APPLIED:
            mark = self.marks[batch.device] = batch.last
            added = total([batch], CounterSet([LIKES])).values()
            self.added += sum(delta[0] for delta in added if isinstance(delta, tuple))
        return Outcome(verdict, mark)


Marks.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]


class Sender:
    """An origin that keeps what it is told."""

    def __init__(self) -> None:
        self.batch: Batch | None = None
        self.marks: list[int] = []
        self.rejected: list[Rejection] = []
        self.expected: list[int] = []

    def counted(self, mark: int, rejected: Sequence[Rejection]) -> None:
        self.marks.append(mark)
        self.rejected.extend(rejected)

    def refused(self, expected: int) -> None:
        self.expected.append(expected)


class Bench:
    """An ingest on a manual clock."""

    def __init__(self, **settings: int) -> None:
        self.clock = ManualClock(monotonic=1000.04)  # between two ticks
        self.ledger = Marks()
        self.metrics = Metrics()
        self.ingest = Ingest(
            self.ledger,
            COUNTING,
            LedgerSettings(tick_s=TICK_S, **settings),
            self.clock,
            self.metrics,
            Random(1),
        )

    def submit(
        self,
        sender: Sender,
        first: int,
        count: int,
        device: DeviceId = PHONE,
        lost: int = 0,
    ) -> None:
        events = [
            Event("like", device, seq, self.clock.time())
            for seq in range(first, first + count)
        ]
        numbered = Numbered(first, events, lost)
        self.ingest.submit(
            sender, Submission(sent_by(device), numbered, self.clock.time())
        )

    async def tick(self) -> None:
        await self.clock.elapse(TICK_S)


@asynccontextmanager
async def running(**settings: int) -> AsyncIterator[Bench]:
    """An ingest whose loop runs."""
    bench = Bench(**settings)
    task = asyncio.create_task(bench.ingest.run())
    try:
        yield bench
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_nothing_is_acknowledged_before_the_tick() -> None:
    """Events wait for their commit, and their sender with them."""
    async with running() as bench:
        sender = Sender()
        bench.submit(sender, 1, 3)
        await bench.clock.elapse(0)
        assert (sender.marks, bench.ledger.commits) == ([], [])

        await bench.tick()

        assert sender.marks == [3]


async def test_consecutive_frames_become_one_sub_batch() -> None:
    """Single events of one sender within a tick cost one sub-batch."""
    async with running() as bench:
        sender = Sender()
        for seq in range(1, 6):
            bench.submit(sender, seq, 1)
        await bench.tick()

        [[batch]] = bench.ledger.commits
        assert (batch.first, batch.last, sender.marks) == (1, 5, [5])


async def test_senders_are_committed_together_and_told_apart() -> None:
    """One commit carries the sub-batches of many devices."""
    async with running() as bench:
        phone, tablet = Sender(), Sender()
        bench.submit(phone, 1, 2)
        bench.submit(tablet, 1, 5, TABLET)
        await bench.tick()

        assert (len(bench.ledger.commits), phone.marks, tablet.marks) == (1, [2], [5])


async def test_what_was_counted_before_is_acknowledged_and_not_added() -> None:
    """A repeated batch changes nothing but is answered."""
    async with running() as bench:
        bench.ledger.marks[PHONE] = 3
        sender = Sender()
        bench.submit(sender, 1, 3)
        await bench.tick()

        assert (sender.marks, bench.ledger.added) == ([3], 0)


async def test_only_the_rest_of_an_overlapping_batch_is_added() -> None:
    """The part after the mark is committed again by itself, in the same tick."""
    async with running() as bench:
        bench.ledger.marks[PHONE] = 3
        sender = Sender()
        bench.submit(sender, 2, 4)
        await bench.tick()

        assert (sender.marks, bench.ledger.added) == ([5], 2)


@pytest.mark.parametrize("mark", [4, 3])
async def test_a_repetition_never_calls_a_counted_event_rejected(mark: int) -> None:
    """It is judged anew, and may be too old or not granted now; then it was not."""
    async with running() as bench:
        bench.ledger.marks[PHONE] = mark
        sender = Sender()
        judged = [
            Rejection(1, EVENT_TOO_OLD.code, EVENT_TOO_OLD.name, "happened long ago"),
            Rejection(2, EVENT_DENIED.code, EVENT_DENIED.name, "not granted"),
            Event("like", PHONE, 3, bench.clock.time()),
            Event("like", PHONE, 4, bench.clock.time()),
        ]
        numbered = Numbered(1, judged, 0)
        submission = Submission(sent_by(PHONE), numbered, bench.clock.time())
        bench.ingest.submit(sender, submission)
        await bench.tick()

        assert (sender.marks, sender.rejected) == ([4], [])


async def test_a_repetition_is_told_again_what_never_was_an_event() -> None:
    """What is wrong with the event itself was so the first time."""
    async with running() as bench:
        bench.ledger.marks[PHONE] = 1
        sender = Sender()
        wrong = Rejection(1, BAD_EVENT.code, BAD_EVENT.name, "is a list")
        numbered = Numbered(1, [wrong], 0)
        submission = Submission(sent_by(PHONE), numbered, bench.clock.time())
        bench.ingest.submit(sender, submission)
        await bench.tick()

        assert (sender.marks, sender.rejected) == ([1], [wrong])


async def test_a_hole_is_told_once_and_withdraws_what_follows() -> None:
    """The sender learns the number expected; its later batches are not tried."""
    async with running(max_commit_events=3) as bench:
        sender = Sender()
        bench.submit(sender, 5, 3)
        sender.batch = None  # so that the next one is a batch of its own
        bench.submit(sender, 8, 3)
        await bench.tick()

        assert (sender.expected, sender.marks) == ([1], [])
        assert bench.ingest.pending_events == 0


async def test_a_declared_hole_is_covered() -> None:
    """Lost numbers are part of the sub-batch and add nothing."""
    async with running() as bench:
        sender = Sender()
        bench.submit(sender, 4, 1, lost=3)
        await bench.tick()

        assert (sender.marks, bench.ledger.added) == ([4], 1)
        assert bench.metrics.total(bench.metrics.events_lost) == 3


async def test_only_what_is_really_lost_is_measured_as_lost() -> None:
    """Of a declared hole, numbers that were counted before are not."""
    async with running() as bench:
        bench.ledger.marks[PHONE] = 2
        bench.submit(Sender(), 5, 1, lost=4)
        await bench.tick()

        assert bench.ledger.added == 1
        assert bench.metrics.total(bench.metrics.events_lost) == 2


async def test_a_commit_without_answer_is_repeated_as_it_is() -> None:
    """Nobody is told anything until the ledger has said what it did."""
    async with running() as bench:
        bench.ledger.failures = 3
        sender = Sender()
        bench.submit(sender, 1, 2)
        await bench.tick()
        assert (sender.marks, bench.ingest.stalled) == ([], True)

        await bench.clock.elapse(5.0)

        assert (sender.marks, bench.ingest.stalled) == ([2], False)
        assert all(commit == bench.ledger.commits[0] for commit in bench.ledger.commits)


async def test_a_defect_in_the_ledger_stops_nothing_for_good() -> None:
    """It is logged, shows in readiness, and the commit is repeated all the same."""
    async with running() as bench:
        bench.ledger.error = ZeroDivisionError("a mistake in an adapter")
        bench.ledger.failures = 2
        sender = Sender()
        bench.submit(sender, 1, 2)
        with capture_logs() as logs:
            await bench.tick()
        assert (sender.marks, bench.ingest.stalled) == ([], True)
        assert [log["event"] for log in logs] == ["ledger_failed"]

        await bench.clock.elapse(5.0)
        assert (sender.marks, bench.ingest.stalled) == ([2], False)


async def test_an_origin_that_fails_is_nobody_elses_problem() -> None:
    """The failure is logged; everybody behind it is told, now and later."""

    class Broken(Sender):
        def counted(self, mark: int, rejected: Sequence[Rejection]) -> None:
            raise ZeroDivisionError

    async with running() as bench:
        sender = Sender()
        with capture_logs() as logs:
            bench.submit(Broken(), 1, 2)
            bench.submit(sender, 1, 2, TABLET)
            await bench.tick()
            bench.submit(sender, 3, 1, TABLET)
            await bench.tick()

        assert (sender.marks, bench.ingest.pending_events) == ([2, 3], 0)
        assert [log["event"] for log in logs] == ["origin_failed"]


async def test_new_events_are_refused_while_the_ledger_does_not_answer() -> None:
    """Refusing is safe: the device keeps its events."""
    async with running() as bench:
        bench.ledger.failures = 1000
        bench.submit(Sender(), 1, 2)
        await bench.tick()
        with pytest.raises(Busy) as caught:
            bench.submit(Sender(), 1, 1, TABLET)

        assert caught.value.retry_after_s > 0


async def test_what_waits_is_bounded() -> None:
    """Past the bound events are refused, and what waits is kept."""
    async with running(max_pending_events=10) as bench:
        sender = Sender()
        bench.submit(sender, 1, 10)
        with pytest.raises(Busy, match="10 events wait"):
            bench.submit(sender, 11, 1)
        await bench.tick()

        assert sender.marks == [10]


async def test_a_batch_over_the_bound_is_taken_when_nothing_waits() -> None:
    """It would be refused for ever otherwise."""
    async with running(max_pending_events=10) as bench:
        sender = Sender()
        bench.submit(sender, 1, 25)
        with pytest.raises(Busy, match="25 events wait"):
            bench.submit(sender, 26, 1)
        await bench.tick()

        assert sender.marks == [25]


async def test_a_full_commit_does_not_wait_for_the_next_tick() -> None:
    """A backlog is committed piece by piece at once."""
    async with running(max_commit_events=4) as bench:
        senders = [Sender() for _ in range(5)]
        for number, sender in enumerate(senders):
            bench.submit(sender, 1, 4, DeviceId(f"d{number}"))
        await bench.tick()

        assert [sender.marks for sender in senders] == [[4]] * 5
        assert len(bench.ledger.commits) == 5


async def test_what_is_left_of_a_full_commit_does_not_wait_either() -> None:
    """Whatever waited at the tick is committed at the tick, in several steps."""
    async with running(max_commit_events=3) as bench:
        phone, tablet = Sender(), Sender()
        bench.submit(phone, 1, 3)
        bench.submit(tablet, 1, 1, TABLET)
        await bench.tick()

        assert (len(bench.ledger.commits), phone.marks, tablet.marks) == (2, [3], [1])


async def test_a_value_that_a_counter_cannot_use_rejects_only_its_event() -> None:
    """The rest of the batch counts, and the bad one is named by number."""
    amounts = CounterDefinition.parse(
        "sales",
        {"event": "buy", "measure": "sum", "of": "amount", "windows": ["total"]},
        TICK_S,
    )
    counting = counting_of(amounts)
    events = [
        Event("buy", PHONE, 1, 0.0, properties={"amount": 5}),
        Event("buy", PHONE, 2, 0.0, properties={"amount": "five"}),
    ]
    part = (1, 2, events, None, sent_by(PHONE, counting), 0.0, 0.0)
    batch = Batch(Sender(), 1, part, 0, [], 3600.0)
    batch.count(events, 0, counting)

    assert [(one.seq, one.name) for one in batch.rejected] == [(2, "bad_value")]
    assert (batch.counted, batch.last) == (1, 2)


async def test_flush_waits_for_what_was_submitted() -> None:
    """Closing a node waits for the last commit."""
    async with running() as bench:
        sender = Sender()
        bench.submit(sender, 1, 1)
        flushed = asyncio.create_task(bench.ingest.flush())
        await bench.clock.elapse(0)
        assert not flushed.done()

        await bench.tick()

        assert flushed.done()
