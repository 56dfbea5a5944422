"""
Writing to many subscribers: joined within a turn of the event loop, and without keeping
the loop from all others.

Laws: every subscriber gets the deliveries of a channel in order, each at most once, and
none after it has left. What arrives within one turn of the loop leaves at its end,
joined for each subscriber (``rounds``); an answer that is given meanwhile keeps its
place. Very many are served in parts, between which the loop does its other work; what
is delivered to their channel meanwhile waits, and leaves joined in the next round.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from realtime.clock import Clock, Timer
from realtime.engine.deliveries import Plain, hand
from realtime.engine.rounds import CHUNK, JOIN_BYTES, Entry, Members, Round
from realtime.engine.subscriber import Delivery, Subscriber

TURN = 512
"""Subscribers that are served before others get their turn, at most."""

TURN_S = 0.002
"""
After this, others get their turn.

benchmarks/spread.py shows what it does to others, and to the last of 10,000.
"""

LINE_BYTES = 1024 * 1024
"""
With more than this waiting for one channel, frames and whom they are for, all of it is
served at once: publications come faster than they can be written, and must wait.
"""

Soon = Callable[[Callable[[], None]], Timer]
"""Runs something at the end of the loop's turn."""


class Line:
    """What waits for a channel's subscribers, and the round that serves them."""

    __slots__ = ("bytes", "entries", "round")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.bytes = 0
        self.round: Round | None = None

    def add(self, entry: Entry) -> None:
        """Let a delivery wait behind the others."""
        self.entries.append(entry)
        self.bytes += entry.size

    def take(self) -> list[Entry]:
        """Remove what waits."""
        entries, self.entries, self.bytes = self.entries, [], 0
        return entries

    def freeze(self) -> None:
        """Let nobody who joins from now on have what waits."""
        for entry in self.entries:
            entry.freeze()

    def left(self, topic: Lined, subscriber: Subscriber) -> None:
        """See to it that *subscriber* gets nothing more of what is under way."""
        for entry in self.entries:
            entry.leave(subscriber)
        if self.round is not None:
            self.round.left(topic, subscriber)


class Lined(Protocol):
    """What has a line, while it needs one: a topic of the hub."""

    line: Line | None


class Fanout:
    """
    The lines of one process. *soon* runs a callback at the end of the loop's turn;
    without it, whatever is written leaves at once.
    """

    __slots__ = (
        "_clock",
        "_next",
        "_rounds",
        "_size",
        "_soon",
        "_timer",
        "entries",
        "turn",
    )

    def __init__(
        self, clock: Clock, soon: Soon | None = None, turn: int = TURN
    ) -> None:
        self.turn = turn
        self.entries: list[Entry] = []
        """What leaves at the end of this turn, in order."""
        self._size = 0
        self._clock = clock
        self._soon = soon
        self._rounds: deque[Round] = deque()
        self._next: list[Entry] = []  # has waited for rounds that are over now
        self._timer: Timer | None = None  # of the next part of a round

    def write(self, topic: Lined, delivery: Delivery, members: Members) -> None:
        """
        Hand *delivery* to *members*, in its turn: the hub's own dictionary, or others.
        """
        line = topic.line
        if line is None:
            line = topic.line = Line()
        entry = Entry(topic, delivery, members)
        line.add(entry)
        if line.round is None:
            self._add(entry)
        else:
            while line.bytes > LINE_BYTES and line.round is not None:
                self._finish(line.round)

    def answer(self, subscriber: Subscriber, frame: bytes) -> None:
        """Hand an answer to one subscriber, after what is to reach it before."""
        self._add(Entry(None, Plain(frame), (subscriber,)))

    def _add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._size += len(entry.delivery.frame)
        if self._soon is None or self._size > JOIN_BYTES:
            self.flush()
        elif len(self.entries) == 1:
            self._soon(self.flush)

    def flush(self) -> None:
        """Write what this turn has brought so far; harmless if it is nothing."""
        entries, self.entries, self._size = self.entries, [], 0
        if entries:
            self._begin(entries)

    def leaving(self, line: Line) -> None:
        """Somebody is about to leave: what came before is still for him."""
        if line.entries and line.round is None:
            self.flush()

    def stop(self) -> None:
        """Forget what is under way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.entries = []
        self._rounds.clear()

    # -- rounds --------------------------------------------------------------------

    def _begin(self, entries: Sequence[Entry]) -> None:
        """Serve *entries*, of topics that have no round; the first part at once."""
        first = entries[0]
        if len(entries) == 1 and len(first.members) <= self._chunk:
            # Hot: once per publication of a small channel.
            if first.topic is not None:
                first.topic.line = None
            hand(first.delivery, first.there())
            return
        started = self._bind(entries)
        if not self._serve(started):
            self._rounds.append(started)
            self._go_on()

    def _bind(self, entries: Sequence[Entry]) -> Round:
        bound = Round(entries, self._chunk, self._through)
        for entry in entries:
            if entry.topic is not None and entry.topic.line is not None:
                entry.topic.line.take()
                entry.topic.line.round = bound
        return bound

    @property
    def _chunk(self) -> int:
        return min(CHUNK, self.turn)

    def _serve(self, one: Round) -> bool:
        """Serve a part of *one*; return whether it is through."""
        clock = self._clock.monotonic
        end = clock() + TURN_S
        done = one.serve(self.turn, lambda: clock() >= end)
        self._resume()
        return done

    def _finish(self, one: Round) -> None:
        """Serve all of *one*, however long it takes."""
        one.serve(sys.maxsize, lambda: False)
        self._rounds.remove(one)
        self._resume()

    def _through(self, topic: Lined) -> None:
        """Everybody in *topic* is served; what waited meanwhile is next."""
        line = topic.line
        if line is None:
            return
        line.round = None
        if line.entries:
            self._next += line.entries
        else:
            topic.line = None

    def _resume(self) -> None:
        """Let what has waited for the end of a round have a round of its own."""
        if self._next:
            entries, self._next = self._next, []
            self._rounds.append(self._bind(entries))
            self._go_on()

    def _go_on(self) -> None:
        if self._timer is None:
            self._timer = self._clock.call_later(0.0, self._part)

    def _part(self) -> None:
        """Serve a part of the first round, and come back while there are rounds."""
        self._timer = None
        if self._rounds:
            one = self._rounds.popleft()
            if not self._serve(one):
                self._rounds.append(one)
        if self._rounds:
            self._go_on()
