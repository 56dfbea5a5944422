"""
Events on their way to the ledger: collected, committed once per tick, then
acknowledged.

Laws: an event is acknowledged only after the commit that counted it. A commit whose
outcome is unknown is repeated as it is until the ledger answers. What waits is bounded:
beyond the bound, and while the ledger does not answer, new events are refused with a
delay.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from random import Random

import structlog

from realtime.adapters.ledger.port import Ledger
from realtime.clock import Clock
from realtime.core.cells import Cells
from realtime.core.counting import Counting
from realtime.core.ledger import Outcome, Verdict
from realtime.core.usual import count_usual
from realtime.engine.batches import Batch, Origin, Part, Submission
from realtime.engine.metrics import Metrics
from realtime.errors import (
    EVENT_DENIED,
    EVENT_REFUSED,
    EVENT_TOO_OLD,
    LedgerUnavailable,
    RealtimeError,
)
from realtime.settings import LedgerSettings

log = structlog.get_logger(__name__)

MAX_COMMIT_BATCHES = 2_000  # each has a mark, which is most of what Redis has to do
RETRY_FIRST_S = 0.05
RETRY_MOST_S = 2.0
SLOW_DOWN_S = 1.0

PASSING = (EVENT_TOO_OLD.code, EVENT_DENIED.code, EVENT_REFUSED.code)
"""Codes of rejections that a repetition may meet though the first batch did not."""

# An enum's member costs more to look up than a name of the module.
_APPLIED, _OVERLAP = Verdict.APPLIED, Verdict.OVERLAP


class Busy(RealtimeError):
    """Events were not taken; the same ones may come again after ``retry_after_s``."""

    def __init__(self, reason: str, retry_after_s: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Ingest:
    """
    One node's queue of events and the loop that commits it.

    Batches are committed in the order of submission, so in the order of each origin.
    """

    def __init__(
        self,
        ledger: Ledger,
        counting: Counting,
        settings: LedgerSettings,
        clock: Clock,
        metrics: Metrics,
        random: Random | None = None,
    ) -> None:
        self._ledger = ledger
        self._counting = counting
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._random = random or Random()
        self.max_pending = settings.max_pending_events
        self._waiting: deque[Batch] = deque()
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self.pending_events = 0
        self.stalled = False
        # Called when all origins of a commit have been told.
        self.settled: Callable[[], None] = _nothing

    def submit(self, origin: Origin, submission: Submission) -> None:
        """
        Take events; *origin* is told once they are committed.

        Raises:
            Busy: If nothing was taken.
        """
        sender, numbered = submission.sender, submission.numbered
        self._check_room(submission.size)
        events, now, offset_s = numbered.events, submission.now, submission.offset_s
        cells: list[Cells] = []
        done = count_usual(events, 0, sender.known, now, offset_s, cells)
        count = len(events)
        part = (numbered.first, count, events, None, sender, now, offset_s)
        batch = self.add(
            origin, part, done, cells, numbered.lost, submission.mark_ttl_s
        )
        if done < count:
            self.count(batch, events, done)

    def add(
        self,
        origin: Origin,
        part: Part,
        done: int,
        cells: list[Cells],
        lost: int = 0,
        mark_ttl_s: float | None = None,
    ) -> Batch:
        """
        Take events, of which the first *done* are usual and add 1 to each of *cells*.

        You must have seen that there is room (`stalled`, `pending_events` and
        `max_pending` say so), and have the others counted at once; see `submit`.
        """
        # Hot: once per frame.
        begin, size, device = part[0] - lost, part[1] or 1, part[4].device
        batch = origin.batch
        if batch is None or not batch.takes(device, begin, size):
            ttl_s = mark_ttl_s or self._settings.marks_ttl_s
            batch = origin.batch = Batch(origin, begin, part, done, cells, ttl_s)
            if not self._waiting:
                self._drained.clear()
                self._wake.set()
            self._waiting.append(batch)
        else:
            batch.cells += cells
            batch.add(part, done)
        self.pending_events += size
        return batch

    def count(self, batch: Batch, events: Sequence[object], done: int) -> None:
        """Count what was added last but for the first *done* of *events*."""
        late = batch.count(events, done, self._counting)
        if late:
            self._metrics.events_late.inc(late)

    def _check_room(self, size: int) -> None:
        if self.stalled:
            self._refuse("the ledger does not answer; events wait")
        # A batch over the bound could otherwise never be taken.
        full = self.pending_events + size > self.max_pending
        if full and self.pending_events:
            self._refuse(f"{self.pending_events} events wait to be counted")

    def _refuse(self, reason: str) -> None:
        self._metrics.slow_downs.inc()
        raise Busy(reason, SLOW_DOWN_S * (1 + self._random.random()))

    async def run(self) -> None:
        """Commit what waits, tick by tick, until cancelled."""
        while True:
            await self._wake.wait()
            await self._clock.sleep(self._until_tick())
            await self._commit_waiting()
            if not self._waiting:
                self._wake.clear()
                self._drained.set()

    async def _commit_waiting(self) -> None:
        """Commit what waits now; what comes meanwhile only if that is a full commit."""
        due = len(self._waiting)
        while self._waiting and (due > 0 or self._full()):
            batches = self._take()
            due -= len(batches)
            await self._commit(batches)

    def _full(self) -> bool:
        return (
            self.pending_events >= self._settings.max_commit_events
            or len(self._waiting) >= MAX_COMMIT_BATCHES
        )

    def _until_tick(self) -> float:
        # By the wall clock: all nodes commit together, so that a value that several
        # of them change needs to be pushed but once.
        tick = self._settings.tick_s
        return tick - self._clock.time() % tick

    async def flush(self) -> None:
        """Wait until everything submitted so far has been committed."""
        await self._drained.wait()

    def _take(self) -> list[Batch]:
        taken: list[Batch] = []
        waiting, room = self._waiting, self._settings.max_commit_events
        while waiting and (not taken or waiting[0].size <= room):
            batch = waiting.popleft()
            room -= batch.size
            taken.append(batch)
            origin = batch.origin
            if origin.batch is batch:  # it grows no more
                origin.batch = None
        return taken

    async def _commit(self, batches: Sequence[Batch]) -> None:
        now = self._clock.time()
        while batches:
            outcomes = await self._answer(batches, now)
            batches = self._settle(batches, outcomes)

    async def _answer(self, batches: Sequence[Batch], now: float) -> list[Outcome]:
        """Repeat the commit until the ledger says what became of it."""
        delay_s = RETRY_FIRST_S
        while True:
            started = self._clock.monotonic()
            try:
                outcomes = await self._ledger.commit(batches, now)
            except LedgerUnavailable as exc:
                if not self.stalled:
                    log.warning("ledger_unavailable", error=str(exc))
            except Exception:
                # A defect of ours: if it ended this loop, nobody would ever be told.
                if not self.stalled:
                    log.exception("ledger_failed")
            else:
                break
            self.stalled = True
            self._metrics.commit_failures.inc()
            await self._clock.sleep(delay_s * (0.5 + self._random.random() / 2))
            delay_s = min(delay_s * 2, RETRY_MOST_S)
        self._metrics.commit_seconds.observe(self._clock.monotonic() - started)
        if self.stalled:
            self.stalled = False
            log.info("ledger_answers_again", waiting_events=self.pending_events)
        return outcomes

    def _settle(
        self, batches: Sequence[Batch], outcomes: Sequence[Outcome]
    ) -> list[Batch]:
        """Tell the origins; return what must be committed again (overlaps, trimmed)."""
        # Hot: once per batch, and most are applied, with nothing to be said of them.
        again: list[Batch] = []
        counted = 0
        for batch, outcome in zip(batches, outcomes, strict=True):
            verdict = outcome.verdict
            if verdict is _OVERLAP:
                self._metrics.events_duplicate.inc(outcome.mark - batch.first + 1)
                batch.trim(outcome.mark, self._counting)
                again.append(batch)
                continue
            self.pending_events -= batch.size
            try:
                if verdict is not _APPLIED:
                    SETTLE[verdict](self, batch, outcome)
                    continue
                counted += batch.counted
                if batch.counted == batch.last - batch.first + 1:
                    batch.origin.counted(batch.last, ())
                else:
                    self._tell_losses(batch)
                    batch.origin.counted(outcome.mark, batch.rejected)
            except Exception:
                log.exception("origin_failed", device=batch.device)
        try:
            self.settled()
        except Exception:
            log.exception("origins_failed")
        self._metrics.events_counted.inc(counted)
        return again

    def _tell_losses(self, batch: Batch) -> None:
        if batch.lost:
            self._metrics.events_lost.inc(batch.lost)
        for rejection in batch.rejected:
            self._metrics.events_rejected.labels(rejection.name).inc()

    def _duplicate(self, batch: Batch, outcome: Outcome) -> None:
        self._metrics.events_duplicate.inc(batch.size)
        # It was judged anew: what depends on when and by whom it was sent may have
        # been counted then.
        lasting = [one for one in batch.rejected if one.code not in PASSING]
        batch.origin.counted(outcome.mark, lasting)

    def _gap(self, batch: Batch, outcome: Outcome) -> None:
        self._metrics.gaps.inc()
        self._withdraw(batch.origin)
        batch.origin.refused(outcome.mark + 1)

    def _withdraw(self, origin: Origin) -> None:
        """Forget what else this origin has waiting: it follows the hole."""
        origin.batch = None
        kept = deque(batch for batch in self._waiting if batch.origin is not origin)
        if len(kept) != len(self._waiting):
            gone = sum(b.size for b in self._waiting if b.origin is origin)
            self.pending_events -= gone
            self._waiting = kept


SETTLE: dict[Verdict, Callable[[Ingest, Batch, Outcome], None]] = {
    Verdict.DUPLICATE: Ingest._duplicate,
    Verdict.GAP: Ingest._gap,
}


def _nothing() -> None:
    """Until somebody wants to know."""
