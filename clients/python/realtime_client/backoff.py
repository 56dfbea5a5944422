"""How long to wait before the next attempt: exponential back-off with full jitter."""

from __future__ import annotations

from collections.abc import Callable

BASE_S = 0.5
CAP_S = 30.0


class Backoff:
    """
    Delays drawn evenly from 0 to ``base_s * 2**attempt``, at most ``cap_s``.

    Drawing from the whole range spreads clients that were cut off together better than
    any jitter around a fixed delay.
    """

    __slots__ = ("_attempt", "_base_s", "_cap_s", "_random")

    def __init__(
        self,
        random: Callable[[], float],
        base_s: float = BASE_S,
        cap_s: float = CAP_S,
    ) -> None:
        self._random = random
        self._base_s = base_s
        self._cap_s = cap_s
        self._attempt = 0

    def reset(self) -> None:
        """It worked: the next delay is short again."""
        self._attempt = 0

    def next_delay(self, at_least_s: float | None = None) -> float:
        """
        Return the next delay in seconds.

        *at_least_s* is what the server asked for; the jitter then comes on top of it.
        """
        # The bound on the exponent only keeps 2**attempt from growing without end.
        most_s = min(self._cap_s, self._base_s * 2.0 ** min(self._attempt, 30))
        self._attempt += 1
        return (at_least_s or 0.0) + self._random() * most_s
