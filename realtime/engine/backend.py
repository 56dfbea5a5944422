"""
Events that come by request and reply instead of a socket: the HTTP API and the demo.

Each request is an origin of its own that waits for the commit of its events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from realtime.adapters.ledger.port import DeviceTaken, Ledger
from realtime.clock import Clock
from realtime.core.counting import Counting
from realtime.core.event_time import ClockOffset
from realtime.core.session import Numbered, check_batch
from realtime.engine.batches import Batch, Submission, judge_all
from realtime.engine.hooks.events import EventHooks
from realtime.engine.ingest import Busy, Ingest
from realtime.errors import (
    DEVICE_TAKEN,
    GAP,
    RATE_LIMITED,
    CommandError,
)
from realtime.settings import LedgerSettings, LimitSettings
from realtime.types import DeviceId, UserId
from realtime.wire.messages import Rejection


@dataclass(frozen=True, slots=True)
class TrackResult:
    """The device's mark after the commit, and what was not counted."""

    acked: int
    rejected: Sequence[Rejection]


@dataclass(frozen=True, slots=True)
class BackendBatch:
    """
    Numbered events of a backend device, as a request brings them.

    ``proofs`` says whose the device is; ``mark_ttl_s`` overrides how long its mark is
    kept; with ``names_users`` each event may name its own user. ``hooked``: the hook
    ``on_events`` has a word in it, since the sender is not a backend of its developer.
    """

    device: DeviceId
    proofs: Sequence[str]
    first: int
    events: Sequence[object]
    may_track: Callable[[str], bool]
    lost: int = 0
    sent_at: float | None = None
    user: UserId | None = None
    acked: int = 0
    mark_ttl_s: float | None = None
    names_users: bool = False
    hooked: bool = False


class _Waiter:
    """An origin that waits for one batch."""

    __slots__ = ("batch", "result")

    def __init__(self) -> None:
        self.batch: Batch | None = None
        self.result: asyncio.Future[TrackResult] = (
            asyncio.get_running_loop().create_future()
        )

    def counted(self, mark: int, rejected: Sequence[Rejection]) -> None:
        if not self.result.done():
            self.result.set_result(TrackResult(mark, tuple(rejected)))

    def refused(self, expected: int) -> None:
        if not self.result.done():
            self.result.set_exception(
                CommandError(
                    GAP,
                    f"first: number {expected} is expected",
                    field="first",
                    expected=expected,
                )
            )


class Backend:
    """Counts batches that are not a connection's."""

    def __init__(
        self,
        ledger: Ledger,
        ingest: Ingest,
        counting: Counting,
        hooks: EventHooks,
        settings: LedgerSettings,
        limits: LimitSettings,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._ingest = ingest
        self._counting = counting
        self._hooks = hooks
        self._settings = settings
        self._limits = limits
        self._clock = clock

    async def mark(
        self,
        device: DeviceId,
        proofs: Sequence[str],
        acked: int = 0,
        mark_ttl_s: float | None = None,
    ) -> int:
        """
        Return how far *device* has been counted.

        Raises:
            CommandError: DEVICE_TAKEN.
            LedgerUnavailable: If the ledger does not answer.
        """
        try:
            return await self._ledger.claim(
                device, proofs, acked, mark_ttl_s or self._settings.marks_ttl_s
            )
        except DeviceTaken as exc:
            raise CommandError(
                DEVICE_TAKEN,
                f"device: {device} belongs to another key, user or secret",
                field="device",
            ) from exc

    async def track(self, request: BackendBatch) -> TrackResult:
        """
        Count a batch; return after the commit. Repeating it is safe.

        Cancelling leaves the batch on its way to the ledger.

        Raises:
            CommandError: LIMIT_EXCEEDED, DEVICE_TAKEN, GAP (naming the number
                expected), RATE_LIMITED (naming the delay), or UNAVAILABLE (a hook).
            LedgerUnavailable: If the ledger does not answer.
        """
        check_batch(request.first, len(request.events), self._limits)
        await self.mark(
            request.device, request.proofs, request.acked, request.mark_ttl_s
        )
        now = self._clock.time()
        waiter = _Waiter()
        submission = self._submission(request, now)
        if request.hooked and self._hooks.used:
            submission = await self._ask(request, submission)
        try:
            self._ingest.submit(waiter, submission)
        except Busy as exc:
            raise CommandError(
                RATE_LIMITED, exc.reason, retry_after_s=exc.retry_after_s
            ) from exc
        return await waiter.result

    def _submission(self, request: BackendBatch, now: float) -> Submission:
        offset = ClockOffset()
        if request.sent_at is not None:
            offset.sample(request.sent_at, now)
        numbered = Numbered(request.first, request.events, request.lost)
        sender = self._counting.sender(
            request.device, request.user, request.may_track, request.names_users
        )
        ttl_s = request.mark_ttl_s
        return Submission(sender, numbered, now, offset.seconds, ttl_s)

    async def _ask(self, request: BackendBatch, submission: Submission) -> Submission:
        """Judge the events and let the hook have its word."""
        numbered, now = submission.numbered, submission.now
        judged = judge_all(
            self._counting, submission.sender, numbered, now, submission.offset_s
        )
        judged = await self._hooks.ask(judged, request.device, request.user)
        return replace(submission, numbered=replace(numbered, events=judged))
