"""
When to stop asking what does not answer: a circuit breaker.

    CLOSED --failures in a row--> OPEN --pause is over--> TRYING --answered--> CLOSED
                                   ^                         |
                                   `---------- failed -------'

While it is open nothing is asked, and then one call is tried: the others still wait for
how that ends. Answers to calls of an earlier state are history and change nothing.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Whether calls are made."""

    CLOSED = "closed"  # all of them, as a closed circuit carries current
    OPEN = "open"  # none
    TRYING = "trying"  # one is under way


class Breaker:
    """
    One breaker; *failures* in a row open it for *pause_s* seconds.

    Each call takes a ticket with ``admit`` and gives it back, once, to ``succeeded``,
    ``failed`` or ``abandoned``.
    """

    __slots__ = ("_failures", "_limit", "_pause_s", "_ticket", "_until", "state")

    def __init__(self, failures: int, pause_s: float) -> None:
        self.state = State.CLOSED
        self._limit = failures
        self._pause_s = pause_s
        self._failures = 0
        self._ticket = 0  # grows with each change of state
        self._until = 0.0

    def admit(self, now: float) -> int | None:
        """Return a ticket for a call, or None if none is to be made now."""
        if self.state is State.CLOSED:
            return self._ticket
        if self.state is State.TRYING or now < self._until:
            return None
        self._enter(State.TRYING)
        return self._ticket

    def succeeded(self, ticket: int) -> None:
        """Note an answer, whatever it said."""
        if ticket != self._ticket:
            return
        self._failures = 0
        if self.state is State.TRYING:
            self._enter(State.CLOSED)

    def failed(self, ticket: int, now: float) -> bool:
        """Note that no answer came; whether that has opened the breaker."""
        if ticket != self._ticket:
            return False
        self._failures += 1
        if self.state is State.CLOSED and self._failures < self._limit:
            return False
        self._until = now + self._pause_s
        self._enter(State.OPEN)
        return True

    def abandoned(self, ticket: int) -> None:
        """Note that nobody waits for the answer any more: it proves nothing."""
        if ticket == self._ticket and self.state is State.TRYING:
            self._enter(State.OPEN)  # the pause is over: the next call is the trial

    def left_s(self, now: float) -> float:
        """Return how much of the pause is left, in seconds."""
        return 0.0 if self.state is State.CLOSED else max(self._until - now, 0.0)

    def _enter(self, state: State) -> None:
        self.state = state
        self._ticket += 1
