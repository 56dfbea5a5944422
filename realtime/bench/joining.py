"""
Coming in, where that is not what is measured: a few at a time, and again when told to.

``Joining`` is the worker that most scenarios derive from: it opens its connections,
says what each has to say first, and keeps those that are ``inside``.
"""

from __future__ import annotations

import random
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any

from realtime.bench.client import Client, End
from realtime.bench.crowd import Crowd, Share, Worker, clock, sum_up
from realtime.bench.dialects.port import Refused, Said, Subscribed
from realtime.bench.errors import BenchError
from realtime.bench.hints import explained, hint_of
from realtime.bench.report import counted

AT_ONCE = 100  # handshakes under way in one process
RETRIES = 20  # of those who are told when to come back
PATIENCE_S = 30.0  # without anybody coming in
REASONS = 8  # that are told
# Names of channels and what holds a digit, but for codes: "closed with 4008".
_VARYING = re.compile(r"(?<!\S)(?<!with )\S*(?:\d|:(?=\S))\S*")


@dataclass(frozen=True, slots=True)
class Joined:
    """How many are inside in one process, and why others are not."""

    inside: int
    failures: dict[str, int]


class Joining(Worker):
    """
    A worker whose clients are inside before anything is measured.

    Override ``make`` (the client of a number), ``begin`` (what it says when it is
    signed in) and ``lost`` (somebody who was inside is gone).
    """

    def __init__(self, share: Share, report: Callable[[float], None], event: Event):
        super().__init__(share, report, event)
        self.inside: dict[int, Client] = {}
        self._awaited: dict[int, int] = {}  # by number: answers still to come
        self._tries: Counter[int] = Counter()
        self._again: list[tuple[float, int]] = []
        self._why: Counter[str] = Counter()
        self._progress_at = 0.0

    # -- what scenarios say --------------------------------------------------------

    def make(self, number: int) -> Client:
        """Return the client of a number, with its token; here, one without device."""
        client = Client(number)
        self.share.sign_in(client, device=False)
        return client

    def begin(self, client: Client) -> int:
        """
        Say what must be said first; return how many ``Subscribed`` are awaited.

        ``return self.subscribe(client, channel)`` is the usual.
        """
        return 0

    def lost(self, client: Client, end: End) -> None:
        """Somebody who was inside has lost the connection; called after the fact."""

    def subscribe(self, client: Client, channel: str) -> int:
        """Subscribe; return how many answers that has in this dialect."""
        for payload in self.share.dialect.subscribe(channel):
            self.clients.send(client, payload)
        return int(self.share.dialect.answers)

    # -- orders --------------------------------------------------------------------

    def join(self) -> Joined:
        """Let everybody come in; call it once, before all other orders."""
        due = deque(self.share.numbers)
        self._progress_at = clock()
        while not self.stopped and (due or self._awaited or self._again):
            now = clock()
            while due and len(self._awaited) < AT_ONCE:
                self._knock(due.popleft(), now)
            for one in [one for one in self._again if one[0] <= now]:
                self._again.remove(one)
                self._knock(one[1], now)
            if now > self._progress_at + PATIENCE_S and not self._again:
                self._why[f"not in within {PATIENCE_S:g} s"] += len(self._awaited)
                break
            self.turn(now + 1)
            self.progress(len(self.inside))
        return Joined(len(self.inside), dict(self._why))

    def leave(self) -> None:
        """Let everybody close in good order."""
        clients, self.inside = self.inside, {}
        for client in clients.values():
            self.clients.close(client)

    def _knock(self, number: int, now: float) -> None:
        client = self.make(number)
        self._awaited[number] = 1
        self.clients.open(client, now)

    # -- Listener: call super() from what overrides it -----------------------------

    def ready(self, client: Client, now: float) -> None:
        self._awaited[client.number] = self.begin(client)
        self._enter_if_answered(client, now)

    def said(self, client: Client, said: Said, now: float) -> None:
        number = client.number
        if number not in self._awaited:
            return
        if isinstance(said, Subscribed):
            self._awaited[number] -= 1
            self._enter_if_answered(client, now)
        elif isinstance(said, Refused):
            self._why[said.sentence] += 1
            del self._awaited[number]
            self.clients.cut(client)

    def ended(self, client: Client, end: End, now: float) -> None:
        number = client.number
        if self.inside.pop(number, None) is not None:
            self.lost(client, end)
        elif self._awaited.pop(number, None) is not None:
            self._tries[number] += 1
            if end.retry_after_s is not None and self._tries[number] <= RETRIES:
                late = end.retry_after_s * random.uniform(1.0, 1.5)
                self._again.append((now + late, number))
            else:
                self._why[end.sentence] += 1

    def _enter_if_answered(self, client: Client, now: float) -> None:
        if self._awaited[client.number] <= 0:
            del self._awaited[client.number]
            self.inside[client.number] = client
            self._progress_at = now


def join(bench: Any, crowd: Crowd[Any], connections: int) -> list[str]:
    """
    Let the whole crowd in; return warnings about those who are not.

    Raises:
        BenchError: If nobody is inside; says why.
    """
    with bench.display.step("connecting", connections) as step:
        joined: list[Joined] = crowd.do("join", on_progress=step)
    why = sum_up([one.failures for one in joined])
    warnings = failures_of(why, "connections failed")
    if not any(one.inside for one in joined) and not bench.stop:
        raise BenchError("; ".join(warnings) or "nobody came in")
    return warnings


def failures_of(why: Mapping[str, int], what: str) -> list[str]:
    """
    Return a sentence for each of the most frequent reasons, with the setting of the
    server behind it, and one for all others.

    Reasons that differ in names and numbers only are one; the most frequent of them is
    its example.
    """
    alike: dict[tuple[str, str | None], list[tuple[str, int]]] = {}
    for sentence, times in sorted(why.items(), key=lambda one: -one[1]):
        kind = _VARYING.sub("...", sentence), hint_of(sentence)
        alike.setdefault(kind, []).append((sentence, times))
    reasons = [(sum(times for _, times in each), each) for each in alike.values()]
    reasons.sort(key=lambda one: -one[0])
    said = []
    for times, each in reasons[:REASONS]:
        such_as = ", such as" if len(each) > 1 else ""
        said.append(f"{counted(times, what)}{such_as}: {explained(each[0][0])}")
    if rest := reasons[REASONS:]:
        times = sum(count for count, _ in rest)
        word = "reason" if len(rest) == 1 else "reasons"
        said.append(f"{counted(times, what)}, for {len(rest)} other {word}")
    return said
