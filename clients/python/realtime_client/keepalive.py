"""Finding out that the server is gone: ask after silence, then give up."""

from __future__ import annotations

from enum import Enum

ANSWER_S = 10.0
EARLIER = 0.9  # than the server, which would ping at the whole: one exchange, not two


class Check(Enum):
    """What is to be done now."""

    NOTHING = "nothing"
    PING = "ping"
    GONE = "gone"


class Keepalive:
    """
    Watches one connection; ``now`` is monotonic seconds.

    Any message counts as life, so a connection that talks is never pinged. Until
    ``start`` it waits for the answer to hello.
    """

    __slots__ = ("_answer_s", "_asked", "_heard", "_silence_s")

    def __init__(self, now: float, answer_s: float = ANSWER_S) -> None:
        self._heard = now
        self._asked: float | None = now  # when we said what must be answered
        self._silence_s: float | None = None
        self._answer_s = answer_s

    def start(self, silence_s: float) -> None:
        """The connection is up; ping before *silence_s* without a message are over."""
        self._silence_s = silence_s
        self._asked = None

    def asked(self, now: float) -> None:
        """Something was said that must be answered."""
        self._asked = now

    def heard(self, now: float) -> None:
        """A message came."""
        self._heard = now
        if self._silence_s is not None:
            self._asked = None

    def deadline(self) -> float | None:
        """When to ``check`` next, if nothing is heard; None: not at all."""
        if self._asked is not None:
            return self._asked + self._answer_s
        return (
            None if self._silence_s is None else self._heard + self._silence_s * EARLIER
        )

    def check(self, now: float) -> Check:
        """Say what is due; PING only once per silence."""
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return Check.NOTHING
        if self._asked is not None:
            return Check.GONE
        self._asked = now
        return Check.PING
