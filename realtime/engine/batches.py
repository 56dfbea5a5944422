"""
Batches of one origin's events: what is submitted, what is committed, who is told.

An *origin* is whoever sent the events and waits for the acknowledgement: a connection
or one HTTP request. Consecutive submissions of one origin grow into one batch until it
is taken for a commit, so that single-event frames cost one sub-batch per tick.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from realtime.core.cells import CellKey, Delta
from realtime.core.counters import CounterSet
from realtime.core.events import EventRules
from realtime.core.session import Numbered
from realtime.errors import BAD_EVENT, RejectedEvent
from realtime.types import DeviceId, Event, UserId, hot_value
from realtime.wire.messages import Rejection

MAX_BATCH_EVENTS = 1_000
MAX_USER = 255  # characters


@hot_value
class Submission:
    """
    Judged events, ready to be counted: an event or its rejection for every number.

    ``numbered.events`` is what they were made from; only its numbers matter here.
    """

    device: DeviceId
    numbered: Numbered
    judged: Sequence[Event | Rejection]
    now: float
    mark_ttl_s: float | None = None

    @property
    def size(self) -> int:
        """How many events there are, and 1 for a bare declaration of loss."""
        return len(self.judged) or 1


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


@hot_value
class Sender:
    """
    Whose events are judged.

    With ``names_users``, each event may carry a ``user`` of its own: a backend sends
    the events of many.
    """

    device: DeviceId
    user: UserId | None
    may_track: Callable[[str], bool]
    names_users: bool = False


def judge_all(
    rules: EventRules, sender: Sender, numbered: Numbered, now: float, offset_s: float
) -> list[Event | Rejection]:
    """
    Judge raw events one by one: a bad one never spoils the others.

    *now* is when they arrived and *offset_s* what corrects the device's clock.
    """
    judged: list[Event | Rejection] = []
    for seq, raw in enumerate(numbered.events, numbered.first):
        try:
            user = sender.user
            if sender.names_users and isinstance(raw, dict) and "user" in raw:
                user, raw = _named_user(raw, user)
            event = rules.judge(
                raw,
                device=sender.device,
                seq=seq,
                user=user,
                received_at=now,
                offset_s=offset_s,
                may_track=sender.may_track,
            )
        except RejectedEvent as exc:
            judged.append(rejection_of(seq, exc))
        else:
            judged.append(event)
    return judged


def _named_user(
    raw: dict[str, object], otherwise: UserId | None
) -> tuple[UserId | None, dict[str, object]]:
    """Part an event from the user that it names; null counts as left out."""
    user = raw["user"]
    if user is None:
        user = otherwise
    elif not isinstance(user, str) or not 1 <= len(user) <= MAX_USER:
        raise RejectedEvent(
            BAD_EVENT, f"user: must be 1 to {MAX_USER} characters", field="user"
        )
    named = None if user is None else UserId(user)
    return named, {name: raw[name] for name in raw if name != "user"}


class Batch:
    """The consecutive numbers ``first..last`` of one device, and what they add."""

    __slots__ = (
        "deltas",
        "device",
        "events",
        "first",
        "last",
        "mark_ttl_s",
        "now",
        "open",
        "origin",
        "rejected",
        "size",
    )

    def __init__(self, origin: Origin, device: DeviceId, first: int) -> None:
        self.origin = origin
        self.device = device
        self.first = first
        self.last = first - 1
        self.size = 0
        self.now = 0.0
        self.mark_ttl_s: float | None = None
        self.events: list[Event] = []
        self.rejected: list[Rejection] = []
        self.deltas: dict[CellKey, Delta] = {}
        self.open = True

    @property
    def counted(self) -> int:
        """How many events add something or could have."""
        return len(self.events)

    @property
    def lost(self) -> int:
        """How many of the numbers covered will never come."""
        covered = self.last - self.first + 1
        return covered - len(self.events) - len(self.rejected)

    def takes(self, submission: Submission) -> bool:
        """Whether *submission* may grow this batch."""
        numbered = submission.numbered
        return (
            self.open
            and submission.device == self.device
            and numbered.first - numbered.lost == self.last + 1
            and self.size + submission.size <= MAX_BATCH_EVENTS
        )

    def add(self, submission: Submission, counters: CounterSet) -> int:
        """Append; return how many windows were not updated because of lateness."""
        # Hot: once per frame, and the loop once per event.
        late = 0
        now, deltas = submission.now, self.deltas
        self.now = now
        self.mark_ttl_s = submission.mark_ttl_s
        for judged in submission.judged:
            if isinstance(judged, Rejection):
                self.rejected.append(judged)
                continue
            try:
                late += counters.add(judged, now, deltas)
            except RejectedEvent as exc:
                self.rejected.append(rejection_of(judged.seq, exc))
            else:
                self.events.append(judged)
        numbered = submission.numbered
        self.last = numbered.last
        self.size += submission.size
        return late

    def close(self) -> None:
        """Grow no more: a commit has taken it."""
        self.open = False
        if self.origin.batch is self:
            self.origin.batch = None

    def trim(self, mark: int, counters: CounterSet) -> None:
        """Forget the numbers up to *mark*: they were counted before."""
        self.first = mark + 1
        self.events = [event for event in self.events if event.seq > mark]
        self.rejected = [one for one in self.rejected if one.seq > mark]
        self.deltas = {}
        for event in self.events:
            counters.add(event, self.now, self.deltas)
