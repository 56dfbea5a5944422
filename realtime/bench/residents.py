"""
A mixed load that goes on: the processes of ``soak``.

Every connection is a device: it subscribes to a channel and watches a counter, stays
for a while, leaves in good order or is cut, and comes back at once as the same device
with another channel. Publications and events are due at fixed times and are sent by
whoever is there; latencies count from when they were due.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from multiprocessing.synchronize import Event

from realtime.bench.client import Client, End
from realtime.bench.crowd import Share, Worker, clock
from realtime.bench.dialects.port import (
    Acked,
    Delivery,
    Refused,
    Said,
    SlowDown,
    Subscribed,
    Value,
    Welcome,
    due_of,
    stamped,
)
from realtime.bench.histogram import Histogram

RETRY_S = 1.0
CUT_SHARE = 0.3  # of those who leave: without a word
FIRST_S = 3.0  # in which everybody comes in at first
BURST = 64
POSTS = 50  # counter cells


@dataclass(frozen=True, slots=True)
class Settings:
    """
    The load: *publications* and *events* a second of all processes together, how long
    a connection stays on average, over how many channels they are, and whether each
    watches a counter, too.
    """

    publications: float
    events: float
    stay_s: float
    channels: int
    size: int
    namespace: str
    watch: bool = True


@dataclass
class Window:
    """What one process has seen between two samples; may be merged."""

    published: Histogram = field(default_factory=Histogram)
    acked: Histogram = field(default_factory=Histogram)
    came: int = 0
    values: int = 0
    inside: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def merge(self, other: Window) -> None:
        """Add what another process, or a later window, has seen."""
        self.published.merge(other.published)
        self.acked.merge(other.acked)
        self.came += other.came
        self.values += other.values
        self.inside += other.inside
        self.errors.update(other.errors)


class Resident(Client):
    """A device that comes and goes."""

    __slots__ = ("awaited", "channel", "dues", "last")

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.channel = 0
        self.awaited = 0  # answers to subscriptions
        self.last = 0  # the number of the last event
        self.dues: deque[tuple[int, float]] = deque()  # events that are not counted yet


class Residents(Worker):
    """The connections of one process."""

    def __init__(self, share: Share, report: Callable[[float], None], event: Event):
        super().__init__(share, report, event)
        self._settings: Settings = share.settings
        self._chance = random.Random(share.index)
        self._everybody = {number: Resident(number) for number in share.numbers}
        self._inside: list[Resident] = []
        self._places: dict[int, int] = {}  # by number: where in the list
        self._plans: list[tuple[float, int, bool]] = []  # when, who, come or leave
        self._sent = [0, 0]  # publications, events
        self._window = Window()
        self._start = 0.0

    # -- orders --------------------------------------------------------------------

    def settle_in(self, start: float) -> None:
        """Plan the first arrivals; the load begins when they are over."""
        self._start = start + FIRST_S
        for number in self._everybody:
            heappush(
                self._plans, (start + self._chance.uniform(0, FIRST_S), number, True)
            )

    def change(self, start: float, publications: float, events: float) -> None:
        """From *start* on, so many a second are due."""
        self._settings = replace(
            self._settings, publications=publications, events=events
        )
        self._start, self._sent = start, [0, 0]

    def live(self, until: float) -> Window:
        """Go on until then; return what was seen since the last time."""
        while not self.stopped and clock() < until:
            now = clock()
            self._come_and_go(now)
            self._publish(now)
            self._track(now)
            self.turn(min(until, self._next_moment(now)))
        window, self._window = self._window, Window()
        window.inside = len(self._inside)
        return window

    def _next_moment(self, now: float) -> float:
        moments = [now + 1.0, self._due(0), self._due(1)]
        if self._plans:
            moments.append(self._plans[0][0])
        return min(moments)

    # -- coming and going ----------------------------------------------------------

    def _come_and_go(self, now: float) -> None:
        while self._plans and self._plans[0][0] <= now:
            due, number, comes = heappop(self._plans)
            one = self._everybody[number]
            if comes:
                self._come(one, due)
            elif number in self._places:
                self._go(one, now)

    def _come(self, one: Resident, due: float) -> None:
        self.share.sign_in(one, device=True)
        one.channel = self._chance.randrange(self._settings.channels)
        one.dues.clear()
        self.clients.open(one, due)

    def _go(self, one: Resident, now: float) -> None:
        self._leave(one)
        if self._chance.random() < CUT_SHARE:
            self.clients.cut(one)
        else:
            self.clients.close(one)
        heappush(self._plans, (now, one.number, True))

    def _leave(self, one: Resident) -> None:
        """Take it off the list in no time: the last one takes its place."""
        place, last = self._places.pop(one.number), self._inside.pop()
        if last is not one:
            self._inside[place] = last
            self._places[last.number] = place

    def _enter(self, one: Resident, now: float) -> None:
        self._places[one.number] = len(self._inside)
        self._inside.append(one)
        self._window.came += 1
        stay_s = self._chance.expovariate(1 / self._settings.stay_s)
        heappush(self._plans, (now + stay_s, one.number, False))

    # -- what they do --------------------------------------------------------------

    def _due(self, kind: int) -> float:
        """When the next publication (0) or event (1) of this process is due."""
        settings = self._settings
        rate = (settings.publications, settings.events)[kind]
        if not rate:
            return float("inf")
        index = self._sent[kind] * self.share.processes + self.share.index
        return self._start + index / rate

    def _publish(self, now: float) -> None:
        for _ in range(BURST):
            due = self._due(0)
            if due > now:
                return
            self._sent[0] += 1
            if self._inside:
                channel = self._channel(self._chance.randrange(self._settings.channels))
                data = stamped(self.share.run, due, self._settings.size)
                payload = self.share.dialect.publish(channel, data)
                self.clients.send(self._chance.choice(self._inside), payload)
            else:
                self._window.errors["not published: nobody is connected"] += 1

    def _track(self, now: float) -> None:
        for _ in range(BURST):
            due = self._due(1)
            if due > now:
                return
            self._sent[1] += 1
            if self._inside:
                one = self._chance.choice(self._inside)
                one.last += 1
                one.dues.append((one.last, due))
                post = str(self._chance.randrange(POSTS))
                event = {"name": "bench", "properties": {"post": post}}
                self.clients.send(one, self.share.dialect.track(one.last, [event]))
            else:
                self._window.errors["not tracked: nobody is connected"] += 1

    def _channel(self, number: int) -> str:
        return f"{self._settings.namespace}:{self.share.label}-{number}"

    # -- Listener ------------------------------------------------------------------

    def ready(self, client: Client, now: float) -> None:
        one = _resident(client)
        channels = [self._channel(one.channel)]
        if self._settings.watch:
            post = self._chance.randrange(POSTS)
            channels.append(f"live:bench;post={post};window=total")
        for channel in channels:
            for payload in self.share.dialect.subscribe(channel):
                self.clients.send(one, payload)
        one.awaited = len(channels)

    def said(self, client: Client, said: Said, now: float) -> None:
        one = _resident(client)
        if isinstance(said, Delivery):
            due = due_of(said.stamp, self.share.run)
            if due is not None:
                self._window.published.add(now - due)
        elif isinstance(said, Value):
            self._window.values += 1
        elif isinstance(said, Acked):
            self._acked(one, said, now)
        elif isinstance(said, Welcome):
            one.last = said.acked
        elif isinstance(said, Subscribed):
            one.awaited -= 1
            if not one.awaited:
                self._enter(one, now)
        elif isinstance(said, SlowDown):
            self._window.errors[f"slow_down: {said.reason}"] += 1
            self._resend_from(one, said.first)
        elif isinstance(said, Refused):
            self._window.errors[said.sentence] += 1
            if one.number not in self._places:
                self.clients.cut(one)
                heappush(self._plans, (now + RETRY_S, one.number, True))

    def _acked(self, one: Resident, said: Acked, now: float) -> None:
        while one.dues and one.dues[0][0] <= said.acked:
            self._window.acked.add(now - one.dues.popleft()[1])
        if said.rejected:
            self._window.errors[f"rejected: {said.reason}"] += said.rejected

    def _resend_from(self, one: Resident, first: int) -> None:
        """Forget events that were not taken; their numbers are used again."""
        while one.dues and one.dues[-1][0] >= first:
            one.dues.pop()
        one.last = min(one.last, first - 1)

    def ended(self, client: Client, end: End, now: float) -> None:
        one = _resident(client)
        if end.kind == "ours":
            return
        self._window.errors[f"lost: {end.sentence}"] += 1
        if one.number in self._places:
            self._leave(one)
        pause_s = RETRY_S if end.retry_after_s is None else end.retry_after_s
        again_at = now + pause_s * self._chance.uniform(1.0, 1.5)
        heappush(self._plans, (again_at, one.number, True))


def _resident(client: Client) -> Resident:
    assert isinstance(client, Resident)
    return client
