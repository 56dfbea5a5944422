"""Subscribers of one channel and their publisher, who is the first of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event

from realtime.bench.client import Client, End
from realtime.bench.crowd import Share, Worker, clock
from realtime.bench.dialects.port import (
    Delivery,
    Refused,
    Said,
    Subscribed,
    due_of,
    stamped,
)
from realtime.bench.histogram import Histogram

CHANNEL = "bench:compare"
AT_ONCE = 32  # connections under way in one process
PATIENCE_S = 30.0  # without anything that is waited for


@dataclass(frozen=True, slots=True)
class Heard:
    """What came in one measurement, and how late."""

    frames: int
    latencies: Histogram


class Audience(Worker):
    """The subscribers of one process. *settings* is the size of the data."""

    def __init__(self, share: Share, report: Callable[[float], None], event: Event):
        super().__init__(share, report, event)
        self._waiting = deque(Client(number) for number in share.numbers)
        self._inside: dict[int, Client] = {}
        self._under_way: set[Client] = set()
        self._failures: Counter[str] = Counter()
        self._forget()

    def _forget(self) -> None:
        self._frames, self._latencies, self._heard_at = 0, Histogram(), clock()

    # -- orders --------------------------------------------------------------------

    def join(self, until: int) -> dict[str, int]:
        """Connect and subscribe all with a number below *until*; tell what failed."""
        self._forget()
        while not self.stopped and (self._is_due(until) or self._under_way):
            while self._is_due(until) and len(self._under_way) < AT_ONCE:
                client = self._waiting.popleft()
                self._under_way.add(client)
                self.share.sign_in(client, device=False)
                self.clients.open(client, clock())
            self.turn(clock() + 1.0)
            if clock() > self._heard_at + PATIENCE_S:
                self._failures[f"nobody comes in for {PATIENCE_S:g} s"] += 1
                break
            self.progress(len(self._inside))
        failures, self._failures = dict(self._failures), Counter()
        return failures

    def _is_due(self, until: int) -> bool:
        return bool(self._waiting) and self._waiting[0].number < until

    def stay(self, seconds: float) -> int:
        """Be quiet for a while; return how many are inside afterwards."""
        self.wait_until(clock() + seconds)
        return len(self._inside)

    def measure(self, start: float, rounds: int, gap_s: float) -> Heard:
        """
        Publish *rounds* times, every *gap_s* from *start* on, and wait until everybody
        here has all of it, or nothing comes any more.
        """
        self._forget()
        published, expected = 0, rounds * len(self._inside)
        publisher = self._inside.get(0)
        last = start + rounds * gap_s
        while not self.stopped and self._frames < expected:
            now, due = clock(), start + published * gap_s
            if publisher is not None and published < rounds and now >= due:
                self._publish(publisher, due)
                published += 1
                continue
            if now > max(self._heard_at, last) + PATIENCE_S:
                break
            self.turn(due if published < rounds else now + 1.0)
            self.progress(self._frames)
        return Heard(self._frames, self._latencies)

    def _publish(self, publisher: Client, due: float) -> None:
        data = stamped(self.share.run, due, self.share.settings)
        self.clients.send(publisher, self.share.dialect.publish(CHANNEL, data))

    # -- Listener ------------------------------------------------------------------

    def ready(self, client: Client, now: float) -> None:
        for payload in self.share.dialect.subscribe(CHANNEL):
            self.clients.send(client, payload)
        if not self.share.dialect.answers:
            self._enter(client, now)

    def _enter(self, client: Client, now: float) -> None:
        self._under_way.discard(client)
        self._inside[client.number] = client
        self._heard_at = now

    def said(self, client: Client, said: Said, now: float) -> None:
        if isinstance(said, Delivery):
            due = due_of(said.stamp, self.share.run)
            if due is not None:
                self._frames += 1
                self._latencies.add(now - due)
                self._heard_at = now
        elif isinstance(said, Subscribed):
            self._enter(client, now)
        elif isinstance(said, Refused):
            self._failures[said.sentence] += 1
            self._under_way.discard(client)

    def ended(self, client: Client, end: End, now: float) -> None:
        self._failures[end.sentence] += 1
        self._under_way.discard(client)
        self._inside.pop(client.number, None)
