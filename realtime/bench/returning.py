"""
Clients that are cut off and come back: the processes of ``recovery``.

Connections below *publishers* publish and are left alone; the others subscribe, keep
their position and a journal, and are cut when their time has come.
"""

from __future__ import annotations

import random
import socket
import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from heapq import heappop, heappush
from multiprocessing.synchronize import Event

from realtime.bench.client import Client, End, Phase
from realtime.bench.crowd import Share, clock
from realtime.bench.cuts import RETRY_S, Settings, Step, Travelled, Traveller
from realtime.bench.dialects.port import (
    Delivery,
    Gap,
    Published,
    Recovering,
    Refused,
    Said,
    Subscribed,
    due_of,
    stamped,
)
from realtime.bench.histogram import Histogram
from realtime.bench.joining import Joining
from realtime.bench.journal import Account, Journal

PATIENCE_S = 10.0  # after the last publication, without anything that is waited for
LONGEST_RETRY_S = 8.0
BURST = 32  # publications that are overdue, before what has come is read
AT_ONCE = 200  # clients of one process that are coming back at the same time
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a RST in place of a FIN


class Travellers(Joining):
    """The connections of one process."""

    def __init__(self, share: Share, report: Callable[[float], None], event: Event):
        super().__init__(share, report, event)
        self._settings: Settings = share.settings
        self._step = Step(0.0, 1.0, 0)
        self._mine: dict[int, Traveller] = {}
        self._away: dict[int, Traveller] = {}
        self._begin(self._step)

    def make(self, number: int) -> Client:
        client = Traveller(number)
        self.share.sign_in(client, device=False)
        if number >= self._settings.publishers:
            self._mine[number] = client
        return client

    def begin(self, client: Client) -> int:
        if client.number < self._settings.publishers:
            return 0
        return self.subscribe(client, self._channel(self._place(client.number)))

    def _channel(self, place: int) -> str:
        return f"bench_history:{self.share.label}-{place}"

    def _place(self, number: int) -> int:
        return (number - self._settings.publishers) % self._settings.channels

    # -- orders --------------------------------------------------------------------

    def travel(self, step: Step) -> Travelled:
        """Publish, cut and come back, until everybody has everything."""
        self._begin(step)
        here = self.inside.keys() | self._away.keys()
        self._mine = {number: self._mine[number] for number in self._mine.keys() & here}
        for number, one in self._away.items():
            if one.phase is Phase.ENDED:
                heappush(self._plans, (step.start, number, False))
        for number, one in self._mine.items():
            place = self._place(number)
            one.journal = Journal(step.count, self._settings.channels, place)
            for moment in step.cut_times(number):
                heappush(self._plans, (moment, number, True))
        while not self.stopped:
            now = clock()
            self._publish(now)
            self._act(now)
            if self._is_complete or now > self._patient_until:
                break
            self.turn(self._next_moment(now))
            self.progress((now - step.start) / self.share.processes)
        return Travelled(
            self._caught_up,
            self._counts["cuts"],
            self._counts["dropped"],
            self._counts["retries"],
            len(self._away),
            self._counts["recovered"],
            self._counts["unrecovered"],
            dict(self._failures),
            self._unpublished(),
        )

    def account(self, unpublished: Collection[int]) -> Account:
        """Add up what the subscribers of this process have got that are here."""
        total = Account()
        for number, one in self._mine.items():
            if number not in self._away:
                total += one.journal.close(unpublished)
        return total

    def _begin(self, step: Step) -> None:
        self._step = step
        self._caught_up = Histogram()
        self._counts: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._plans: list[tuple[float, int, bool]] = []  # when, who, cut or come back
        self._unanswered: set[int] = set()
        self._refused: set[int] = set()
        self._left = self._indices()
        self._upcoming = next(self._left, None)
        self._heard_at = clock()

    def _indices(self) -> Iterator[int]:
        """The publications that are ours to publish."""
        publishers = self._settings.publishers
        # Also of those who are gone: what they cannot publish, nobody is owed.
        ours = [number for number in self.share.numbers if number < publishers]
        for first in range(0, self._step.count, publishers):
            for number in ours:
                if first + number < self._step.count:
                    yield first + number

    @property
    def _is_complete(self) -> bool:
        nothing = self._upcoming is None and not self._plans and not self._unanswered
        return (
            nothing
            and not self._away
            and all(one.journal.has_all for one in self._mine.values())
        )

    @property
    def _patient_until(self) -> float:
        last = self._step.due(self._step.count)
        return max(last, self._heard_at) + PATIENCE_S

    def _next_moment(self, now: float) -> float:
        moments = [now + 1.0]
        if self._upcoming is not None:
            moments.append(self._step.due(self._upcoming))
        if self._plans:
            moments.append(self._plans[0][0])
        return min(moments)

    def _unpublished(self) -> set[int]:
        found = self._refused | self._unanswered
        if self._upcoming is not None:  # stopped before the end
            found |= {self._upcoming, *self._left}
        return found

    # -- publishing ----------------------------------------------------------------

    def _publish(self, now: float) -> None:
        for _ in range(BURST):
            index = self._upcoming
            if index is None or self._step.due(index) > now:
                return
            self._upcoming = next(self._left, None)
            publisher = self.inside.get(index % self._settings.publishers)
            if publisher is None:
                self._refused.add(index)
                continue
            channel = self._channel(index % self._settings.channels)
            due = self._step.due(index)
            data = stamped(self.share.run, due, self._settings.size)
            self._unanswered.add(index)
            self.clients.send(
                publisher, self.share.dialect.publish(channel, data, index)
            )

    # -- cutting and coming back ---------------------------------------------------

    def _act(self, now: float) -> None:
        while self._plans and self._plans[0][0] <= now:
            if not self._plans[0][2] and len(self._under_way()) >= AT_ONCE:
                return
            due, number, is_cut = heappop(self._plans)
            if is_cut:
                self._cut(self._mine[number], due)
            elif one := self._away.get(number):
                self.share.sign_in(one, device=False)
                self.clients.open(one, due)

    def _under_way(self) -> list[Traveller]:
        return [one for one in self._away.values() if one.phase is not Phase.ENDED]

    def _cut(self, one: Traveller, due: float) -> None:
        if one.number in self._away:
            return  # the server was faster
        self._counts["cuts"] += 1
        if self._step.reset and one.sock is not None:
            one.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._leave(one, due + self._step.down_s)
        self.clients.cut(one)

    def _leave(self, one: Traveller, back_at: float) -> None:
        self.inside.pop(one.number, None)
        self._away[one.number] = one
        one.away_since, one.pause_s = back_at, RETRY_S
        heappush(self._plans, (back_at, one.number, False))

    def _arrive(self, one: Traveller, now: float) -> None:
        del self._away[one.number]
        self.inside[one.number] = one
        if one.away_since is not None and not self._publishes(one):
            self._caught_up.add(now - one.away_since)
        one.away_since = None
        self._heard_at = now

    # -- Listener ------------------------------------------------------------------

    def ready(self, client: Client, now: float) -> None:
        if client.number not in self._away:
            super().ready(client, now)
        elif self._publishes(client):
            self._arrive(_traveller(client), now)
        else:
            self._resume(_traveller(client))

    def _publishes(self, client: Client) -> bool:
        return client.number < self._settings.publishers

    def _resume(self, one: Traveller) -> None:
        channel = self._channel(self._place(one.number))
        for payload in self.share.dialect.subscribe(channel, one.since):
            self.clients.send(one, payload)

    def said(self, client: Client, said: Said, now: float) -> None:
        one = _traveller(client)
        if isinstance(said, Delivery):
            self._take(one, said.stamp)
            one.offset = said.offset
            self._heard_at = now
        elif isinstance(said, Subscribed):
            self._subscribed(one, said, now)
        elif isinstance(said, Recovering):
            for stamp in said.missed:
                self._take(one, stamp)
            one.offset, one.epoch = said.offset, said.epoch
            self._heard_at = now
            self._resume(one)
        elif isinstance(said, Gap):
            self._counts["unrecovered"] += 1
            one.journal.admit()
            if said.offset is not None:
                one.offset, one.epoch = said.offset, said.epoch
        elif isinstance(said, Published):
            self._unanswered.discard(-1 if said.request is None else said.request)
        elif isinstance(said, Refused):
            self._be_refused(one, said, now)
        else:
            super().said(client, said, now)

    def _take(self, one: Traveller, stamp: bytes) -> None:
        due = due_of(stamp, self.share.run)
        index = None if due is None else self._step.index(due)
        if index is not None:
            one.journal.take(index)

    def _subscribed(self, one: Traveller, said: Subscribed, now: float) -> None:
        is_back = one.number in self._away
        if is_back:
            # Without a history there is no position, and nobody says that it is lost.
            whole = bool(said.recovered)
            self._counts["recovered" if whole else "unrecovered"] += 1
            if not whole:
                one.journal.admit()
        for stamp in said.missed:
            self._take(one, stamp)
        one.offset, one.epoch = said.offset, said.epoch
        if is_back:
            self._arrive(one, now)
        else:
            super().said(one, said, now)

    def _be_refused(self, one: Traveller, said: Refused, now: float) -> None:
        if one.number in self._away:
            self._failures[said.sentence] += 1
            self.clients.cut(one)
            self._try_again(one, said.retry_after_s, now)
        elif said.request is not None and said.request in self._unanswered:
            self._unanswered.discard(said.request)
            self._refused.add(said.request)
            self._failures[said.sentence] += 1
        else:
            super().said(one, said, now)

    def ended(self, client: Client, end: End, now: float) -> None:
        one = _traveller(client)
        if one.number in self._away:
            if end.kind != "ours":
                self._try_again(one, end.retry_after_s, now)
        elif one.number in self.inside:
            if self._publishes(one):
                # What it had under way may or may not be published.
                self._failures[f"a publisher was lost: {end.sentence}"] += 1
            else:
                self._counts["dropped"] += 1
                self._failures[f"a connection was lost: {end.sentence}"] += 1
            self._leave(one, now + random.uniform(0.0, RETRY_S))
        else:
            super().ended(client, end, now)

    def _try_again(self, one: Traveller, after_s: float | None, now: float) -> None:
        self._counts["retries"] += 1
        pause_s = one.pause_s if after_s is None else after_s
        one.pause_s = min(one.pause_s * 2, LONGEST_RETRY_S)
        again_at = now + pause_s * random.uniform(1.0, 1.5)
        heappush(self._plans, (again_at, one.number, False))
        self._heard_at = now


def _traveller(client: Client) -> Traveller:
    assert isinstance(client, Traveller)
    return client
