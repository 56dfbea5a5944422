"""
A crowd that comes back to one node, client by client.

The kernel keeps a bounded queue of those who knock; the node takes them in turn,
refuses those above the rate by the server's own rules (``core.limits``), lets in the
others, and does so beside its other work. Clients behave as the protocol asks: a random
delay before the first attempt, full jitter after a failure, ``Retry-After`` kept. A
client that waits too long gives up and comes anew, which is what a crowd without
admission suffers from: the work for it is done all the same. Who was let in waits for
Redis, where all nodes' newcomers meet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from random import Random

from realtime.core.limits import Queue, Rate, whole_seconds

SYN_RETRIES_S = (1.0, 2.0, 4.0, 8.0, 16.0)  # tcp_syn_retries of Linux: 1 s, doubled
FULL_S = (2.0, 8.0)  # what a full node adds, as the server does
QUEUE_PER_S = 1_000.0  # how fast the refused return where no rate is set
GIVES_UP = -1


@dataclass(frozen=True, slots=True)
class Clients:
    """How clients come back; the defaults are those of the protocol's page."""

    base_s: float = 0.5
    cap_s: float = 30.0
    timeout_s: float = 10.0
    jitter: bool = True  # without it everybody comes at once, and again after base_s


@dataclass(frozen=True, slots=True)
class Door:
    """
    The node that they come to.

    *busy* is the share of its core that its other clients take, and *busy_each* what
    each one who comes back adds to it. *redis_s* is how long this node's part of Redis
    takes for a connect: the next stage, which nobody leaves before its end.
    """

    connect_s: float
    refuse_s: float
    redis_s: float = 0.0
    connect_rate: float = 0.0
    room: int = 1_000_000
    accept_queue: int = 4_096
    busy: float = 0.0
    busy_each: float = 0.0


@dataclass(slots=True)
class Course:
    """What happened; times are seconds since everybody was cut off."""

    clients: int
    admitted_at: list[float] = field(default_factory=list)  # welcomed, subscribed
    entered_at: list[float] = field(default_factory=list)  # the handshake began
    attempts_at: list[float] = field(default_factory=list)
    refused_at: list[float] = field(default_factory=list)
    gave_up_at: list[float] = field(default_factory=list)
    dropped_at: list[float] = field(default_factory=list)  # SYNs: the queue was full
    queues: list[tuple[float, int]] = field(default_factory=list)
    spent_s: float = 0.0  # processor time for all of it

    @property
    def missing(self) -> int:
        """How many have not come back."""
        return self.clients - len(self.admitted_at)

    def back_s(self, share: float) -> float:
        """Return when *share* of the clients were back; infinite if never."""
        needed = max(1, round(self.clients * share))
        if len(self.admitted_at) < needed:
            return inf
        return self.admitted_at[needed - 1]

    @property
    def longest_queue(self) -> int:
        """How many waited in the kernel at most."""
        return max((size for _, size in self.queues), default=0)


class Crowd:
    """Plays one return; ``play`` does all of it."""

    def __init__(
        self, door: Door, clients: Clients, cut_at: Iterable[float], random: Random
    ) -> None:
        self._door, self._clients, self._random = door, clients, random
        self._rate = Rate.of(door.connect_rate)
        self._rate_state = 0.0
        self._queue = Queue(door.connect_rate or QUEUE_PER_S)
        self._attempts: list[int] = []
        # What happens when: a time, a number that keeps the order, the client, the
        # attempt, and how often it has knocked (or that it gives up).
        self._events: list[tuple[float, int, int, int, int]] = []
        self._order = 0
        self._waiting: deque[tuple[int, int]] = deque()  # client, attempt
        self._free_at = 0.0
        self._redis_free_at = 0.0
        for number, at_s in enumerate(cut_at):
            self._attempts.append(0)
            self._come(number, at_s, 0.0)
        self.course = Course(len(self._attempts))

    def play(self, until_s: float = 3600.0) -> Course:
        """Let all come back, or as many as do until then."""
        while self._events or self._waiting:
            next_at = self._events[0][0] if self._events else inf
            takes = bool(self._waiting) and self._free_at <= next_at
            if min(self._free_at if takes else inf, next_at) > until_s:
                break
            if takes:
                self._take()
            else:
                self._happen(*heappop(self._events))
        return self.course

    # -- clients -------------------------------------------------------------------

    def _come(self, client: int, now: float, at_least_s: float) -> None:
        """Let *client* attempt again, after its delay."""
        tries = self._attempts[client]
        most_s = min(self._clients.cap_s, self._clients.base_s * 2.0 ** min(tries, 30))
        if self._clients.jitter:
            delay_s = self._random.random() * most_s
        else:
            delay_s = most_s if tries else 0.0
        self._attempts[client] += 1
        self._plan(now + at_least_s + delay_s, client, 0)

    def _plan(self, at_s: float, client: int, knocks: int) -> None:
        self._order += 1
        attempt = self._attempts[client]
        heappush(self._events, (at_s, self._order, client, attempt, knocks))

    def _happen(
        self, now: float, order: int, client: int, attempt: int, knocks: int
    ) -> None:
        if attempt != self._attempts[client]:
            return  # it was let in or refused long ago
        if knocks == GIVES_UP:
            self.course.gave_up_at.append(now)
            self._come(client, now, 0.0)
            return
        if not knocks:
            self.course.attempts_at.append(now)
            self._plan(now + self._clients.timeout_s, client, GIVES_UP)
        self._knock(now, client, knocks)

    def _knock(self, now: float, client: int, knocks: int) -> None:
        """A SYN arrives at the kernel, which drops it when its queue is full."""
        if len(self._waiting) >= self._door.accept_queue:
            self.course.dropped_at.append(now)
            if knocks < len(SYN_RETRIES_S):
                self._plan(now + SYN_RETRIES_S[knocks], client, knocks + 1)
            return
        if not self._waiting:
            self._free_at = max(self._free_at, now)
        self._waiting.append((client, self._attempts[client]))
        self.course.queues.append((now, len(self._waiting)))

    # -- the node ------------------------------------------------------------------

    def _take(self) -> None:
        """The node takes the first one who waits."""
        now, course = self._free_at, self.course
        client, attempt = self._waiting.popleft()
        course.queues.append((now, len(self._waiting)))
        if attempt != self._attempts[client]:
            self._work(self._door.refuse_s)  # it has gone: that is found out, too
            return
        refused_s = self._refusal_s(now)
        if refused_s is None:
            ready_at = self._work(self._door.connect_s)
            self._redis_free_at = (
                max(self._redis_free_at, ready_at) + self._door.redis_s
            )
            course.admitted_at.append(self._redis_free_at)
            course.entered_at.append(now)
            self._attempts[client] += 1
        else:
            course.refused_at.append(now)
            self._come(client, self._work(self._door.refuse_s), refused_s)

    def _refusal_s(self, now: float) -> float | None:
        """Return in how many seconds to come back; None: come in."""
        wait_s = self._rate.wait_s(self._rate_state, now) if self._rate else 0.0
        if len(self.course.admitted_at) >= self._door.room:
            wait_s = self._random.uniform(*FULL_S)
        if wait_s <= 0:
            if self._rate:
                self._rate_state = self._rate.take(self._rate_state, now)
            return None
        turn_s = self._queue.join(wait_s, now, self._random.random())
        return float(whole_seconds(turn_s))

    def _work(self, service_s: float) -> float:
        """Do something beside the other work; return when it is done."""
        busy = self._door.busy + self._door.busy_each * len(self.course.admitted_at)
        self.course.spent_s += service_s
        self._free_at += service_s / max(0.02, 1.0 - busy)
        return self._free_at
