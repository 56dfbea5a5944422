"""
From raw events to what they add: judged, then counted.

This is the general way, for every event that is not usual (core/usual.py), and from
these it is learned what is usual. Both ways count the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from realtime.core.cells import CellKey, Delta
from realtime.core.counters import CounterSet
from realtime.core.events import EventRules
from realtime.core.usual import Known, Names
from realtime.errors import BAD_EVENT, RejectedEvent
from realtime.types import DeviceId, Event, UserId

MAX_TRACKERS = 1_000  # different rights for which usual names are remembered
MAX_USER = 255  # characters

MayTrack = Callable[[str], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Sender:
    """
    Whose events are judged; ``Counting.sender`` makes it.

    With ``names_users``, each event may carry a ``user`` of its own: a backend sends
    the events of many.
    """

    device: DeviceId
    user: UserId | None
    may_track: MayTrack
    names_users: bool
    known: Known  # its names are shared by all who may track the same


class Counting:
    """Judges events and counts them, by the rules and counters of one node."""

    def __init__(self, rules: EventRules, counters: CounterSet) -> None:
        self._rules = rules
        self._counters = counters
        self._names: dict[MayTrack, Names] = {}

    def sender(
        self,
        device: DeviceId,
        user: UserId | None,
        may_track: MayTrack,
        names_users: bool = False,
    ) -> Sender:
        """Return a sender; what may be tracked is asked of *may_track*, by name."""
        names = self._names.get(may_track)
        if names is None:
            if len(self._names) >= MAX_TRACKERS:
                self._names.clear()
            names = self._names[may_track] = {}
        known = Known(names, (user, device), self._rules.bounds)
        return Sender(device, user, may_track, names_users, known)

    def judge(
        self, sender: Sender, raw: object, seq: int, now: float, offset_s: float
    ) -> Event:
        """
        Return event number *seq*, which arrived at *now*.

        Raises:
            RejectedEvent: With a code and a sentence naming the field and its value.
        """
        user = sender.user
        if sender.names_users and isinstance(raw, dict) and "user" in raw:
            user, raw = _named_user(raw, user)
        return self._rules.judge(
            raw,
            device=sender.device,
            seq=seq,
            user=user,
            received_at=now,
            offset_s=offset_s,
            may_track=sender.may_track,
        )

    def add(
        self, sender: Sender, event: Event, now: float, into: dict[CellKey, Delta]
    ) -> int:
        """
        Add what *event* changes to *into*; its name may be usual from now on.

        Returns and raises what ``CounterSet.add`` does.
        """
        late = self._counters.add(event, now, into)
        if event.name not in sender.known.names:
            recipes = self._counters.recipes(event.name)
            if recipes:
                sender.known.names[event.name] = recipes
        return late


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
