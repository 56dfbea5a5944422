"""
Which events go out when: batching, the window of unacknowledged frames, sending again.

Laws: pure, so ``now`` (monotonic seconds) is an argument and nothing is awaited. An
event leaves the queue only when an acknowledgement has covered its number. A number
that was once sent always means the same event. Sending twice is harmless, so whenever
it is unclear what the server has, it is sent again.

The server expects the numbers of one device without holes. ``_next`` is the number to
be sent next and ``_expected`` the one that the server waits for; where they differ we
no longer have the numbers between, and the next frame declares them lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from realtime_client.errors import CommandError, Retry
from realtime_client.events import decode_event
from realtime_client.queue import EventQueue, Run
from realtime_client.values import (
    Limits,
    Notice,
    NumbersLost,
    Rejection,
    Renumbered,
    TrackingRefused,
)

MAX_IN_FLIGHT = 8
BATCH_INTERVAL_S = 0.05
ACK_TIMEOUT_S = 30.0
RETRY_S = 1.0
EVENT_TOO_LARGE = (203, "event_too_large")


@dataclass(frozen=True, slots=True)
class TrackFrame:
    """One track command: events numbered from *first*, after *lost* that never come."""

    id: int
    first: int
    lost: int
    events: tuple[bytes, ...]


@dataclass(slots=True)
class _InFlight:
    """A frame that is not acknowledged yet."""

    id: int
    first: int
    last: int
    lost: int
    sent: float


class Sender:
    """
    Turns one queue into frames for one server.

    *on_rejected* and *on_notice* are called synchronously and must not raise.
    """

    def __init__(
        self,
        queue: EventQueue,
        *,
        batch_interval_s: float = BATCH_INTERVAL_S,
        max_in_flight: int = MAX_IN_FLIGHT,
        ack_timeout_s: float = ACK_TIMEOUT_S,
        on_rejected: Callable[[Rejection], None] = lambda _: None,
        on_notice: Callable[[Notice], None] = lambda _: None,
    ) -> None:
        self.queue = queue
        self.refusal: CommandError | None = None
        self._interval_s = batch_interval_s
        self._max_in_flight = max_in_flight
        self._ack_timeout_s = ack_timeout_s
        self._on_rejected = on_rejected
        self._on_notice = on_notice
        # From here on, numbers were given by this process and not sent by it yet. What
        # an earlier process gave, it may have sent.
        self._unsent_from = queue.next
        self._reported_lost = (0, 0)
        self._limits: Limits | None = None  # None: offline
        self._room = 0
        self._forget_connection()

    def _forget_connection(self) -> None:
        self.refusal = None
        self._in_flight: deque[_InFlight] = deque()
        self._mark = 0  # the highest number that this connection has acknowledged
        self._next = self._expected = 1
        self._passed_over = (0, 0)  # first and last that were counted without us
        self._rewound_at = self._rewound_to = 0
        self._last_id = 0
        self._paused_until = self._last_sent = float("-inf")
        self._more = False

    # -- what happens ------------------------------------------------------------------

    def welcomed(self, mark: int, limits: Limits, room: int) -> None:
        """
        A connection is up and the server has counted the numbers up to *mark*.

        *room* is how many bytes of events fit into one frame.
        """
        self._forget_connection()
        self._limits, self._room = limits, room
        self._report_lost(mark + 1)
        self._settle(mark)
        self._mark = mark
        self._next = self._expected = mark + 1

    def disconnected(self) -> None:
        """The connection is gone, and whatever was under way with it."""
        self._limits = None
        self._forget_connection()

    def acknowledged(self, mark: int, rejected: tuple[Rejection, ...] = ()) -> None:
        """Every number up to *mark* is done with; *rejected* were not counted."""
        for rejection in rejected:
            self._reject(rejection)
        self._settle(mark)
        self._mark = max(self._mark, mark)
        while self._in_flight and self._in_flight[0].last <= mark:
            self._in_flight.popleft()
        if mark >= self._next:
            # What a former connection had sent: the server counted it meanwhile, but
            # this connection's session may not know.
            self._passed_over = (self._next, mark)
            self._next = self._expected = mark + 1

    def slow_down(self, first: int, retry_after_s: float, now: float) -> None:
        """Numbers from *first* on were not taken; be silent for a while."""
        self._paused_until = max(self._paused_until, now + retry_after_s)
        self._rewind(max(first, self._mark + 1))

    def refused(self, id: int | None, error: CommandError, now: float) -> None:
        """
        A frame (*id*; None: it is not told which) was answered with an error.

        What may pass later is sent again then; after an expired token, the caller must
        not poll until there is a new one. An error that would come back makes us stop
        until the next connection: ``refusal`` says so.
        """
        if error.retry is Retry.RESEND and error.expected is not None:
            self._fill_gap(id, error.expected)
            return
        frame = next((one for one in self._in_flight if one.id == id), None)
        if error.retry is Retry.NEVER:
            self.refusal = error
            self._on_notice(TrackingRefused(error))
            return
        if error.retry is not Retry.REFRESH:
            after_s = error.retry_after_s
            delay_s = RETRY_S if after_s is None else after_s
            self._paused_until = max(self._paused_until, now + delay_s)
        if frame is not None:
            self._rewind(frame.first)

    # -- what follows ------------------------------------------------------------------

    def poll(self, now: float, ids: Iterator[int]) -> TrackFrame | None:
        """
        Return the next frame that is due; None if there is none.

        The caller must send it. *ids* gives it its id.
        """
        if self._in_flight and now >= self._in_flight[0].sent + self._ack_timeout_s:
            self._rewind(self._mark + 1)
        due = self._due()
        if due is None or now < due:
            return None
        run = self._read()
        return None if run is None else self._frame(run, now, next(ids))

    def deadline(self) -> float | None:
        """When ``poll`` must be called again if nothing happens; None: not at all."""
        times = [] if (due := self._due()) is None else [due]
        if self._in_flight:
            times.append(self._in_flight[0].sent + self._ack_timeout_s)
        return min(times, default=None)

    def _due(self) -> float | None:
        """When the next frame may go; None if something else must happen first."""
        if self._limits is None or self.refusal is not None:
            return None
        if len(self._in_flight) >= self._max_in_flight:
            return None
        waiting = self.queue.next - self._next
        if waiting <= 0:
            return None
        if self._more or waiting >= self._limits.max_batch_events:
            return self._paused_until
        return max(self._paused_until, self._last_sent + self._interval_s)

    def _read(self) -> Run | None:
        """Take the next run from the queue; reject what fits into no frame."""
        assert self._limits is not None
        while True:
            most = self._limits.max_batch_events
            run = self.queue.read(self._next, most, self._room)
            if run is None:
                self._next = self.queue.next  # nothing but numbers that were skipped
                return None
            size = len(run.events[0])
            if size < self._room:
                return run
            reason = f"the event takes {size} bytes; the server takes {self._room - 1}"
            self._reject(Rejection(run.first, *EVENT_TOO_LARGE, reason))
            self.queue.skip(run.first)
            self._next = run.first + 1

    def _frame(self, run: Run, now: float, id: int) -> TrackFrame:
        lost = max(run.first - self._expected, 0)
        self._in_flight.append(_InFlight(id, run.first, run.last, lost, now))
        self._next = self._expected = run.last + 1
        self._unsent_from = max(self._unsent_from, run.last + 1)
        self._last_id, self._last_sent, self._more = id, now, run.truncated
        return TrackFrame(id, run.first, lost, run.events)

    # -- going back --------------------------------------------------------------------

    def _rewind(self, to: int) -> None:
        """Send again from number *to* on."""
        if to >= self._next:
            return
        self._rewound_at, self._rewound_to = self._last_id, to
        kept: deque[_InFlight] = deque()
        self._next = self._expected = to
        for frame in self._in_flight:
            if frame.first < to:
                frame.last = min(frame.last, to - 1)
                if frame.last > self._mark:
                    kept.append(frame)
            elif frame.first == to:
                self._expected = to - frame.lost
        self._in_flight = kept
        self._more = True

    def _fill_gap(self, id: int | None, expected: int) -> None:
        stale = id is not None and id <= self._rewound_at
        if stale and expected >= self._rewound_to:
            return  # it was sent before we went back, and says what we know
        first, last = self._passed_over
        if not first <= expected <= last:
            self._report_lost(expected)
        self._settle_unsent(expected - 1)
        self._rewind(expected)
        self._expected = min(self._expected, expected)

    def _report_lost(self, expected: int) -> None:
        """Report what the server waits for again, and was acknowledged before."""
        last = self.queue.acked
        if expected <= last and self._reported_lost != (expected, last):
            self._reported_lost = (expected, last)
            self._on_notice(NumbersLost(expected, last))

    # -- letting go --------------------------------------------------------------------

    def _settle(self, mark: int) -> None:
        self._settle_unsent(mark)
        self.queue.acknowledge(mark)

    def _settle_unsent(self, mark: int) -> None:
        """
        Move numbers never sent out of the way of a mark that covers them.

        The server has counted them before, so they meant other events then.
        """
        if mark < self._unsent_from:
            return
        old_first, new_first = self._unsent_from, mark + 1
        if self.queue.next > old_first:
            self._on_notice(Renumbered(old_first, new_first))
        self.queue.renumber(old_first, new_first)
        self._unsent_from = new_first

    def _reject(self, rejection: Rejection) -> None:
        body = self.queue.get(rejection.seq)
        event = None if body is None else decode_event(body)
        self._on_rejected(
            Rejection(
                rejection.seq, rejection.code, rejection.name, rejection.reason, event
            )
        )
