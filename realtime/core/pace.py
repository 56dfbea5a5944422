"""
When a live channel may be published: at most once per cadence, with all that changed.

Cadences are fixed stretches of the wall clock, as ticks are, so that those of all nodes
begin together. Counted from the publication before, each would begin a little later
than the last one, until values wait for a whole tick.

All nodes commit when a tick begins, but their changes do not come all at once. Who
publishes the first one at once makes the others wait for the next cadence; published
when that begins, they make the changes of that tick wait, and so on for ever. So where
several changes come in a cadence, it is learned how long to wait for them; where there
is one, it is published at once.
"""

from __future__ import annotations

MOMENT = 0.02  # of a cadence: who is so near its end is in the next one
EASE = 0.9  # what is left of the waiting after a cadence in which nothing came later
MARGIN = 1.1  # how much longer than last time is waited
LONGEST = 0.25  # of a cadence: what comes later is not waited for
SHORTEST_S = 0.001  # of a waiting


class Pace:
    """
    The pace of one channel. Times are monotonic but for *now*, which is the wall clock:
    it tells when cadences begin, and may jump.
    """

    __slots__ = ("_cadence_s", "_first_s", "_last_s", "_late", "_not_before", "_wait_s")

    def __init__(self, cadence_s: float) -> None:
        self._cadence_s = cadence_s
        self._not_before = 0.0
        self._wait_s = 0.0  # from when a cadence begins
        self._late = False  # something changed again after a publication
        # When in a cadence something changed, first and last, since the publication:
        self._first_s = cadence_s
        self._last_s = 0.0

    def changed(self, now: float) -> None:
        """Something has changed."""
        at_s = now % self._cadence_s
        self._first_s = min(self._first_s, at_s)
        self._last_s = max(self._last_s, at_s)

    def delay_s(self, monotonic: float, now: float) -> float:
        """Return how long to wait before what has changed is published."""
        delay_s = self._not_before - monotonic
        if delay_s > 0:
            self._late = True
            return delay_s + self._wait_s
        if self._wait_s:
            return max(self._wait_s - now % self._cadence_s, 0.0)
        return 0.0

    def published(self, monotonic: float, now: float) -> None:
        """Allow no further publication in this cadence."""
        cadence_s = self._cadence_s
        early_s = max(self._not_before - monotonic, 0.0)  # as timers may be
        left_s = cadence_s - (now + early_s) % cadence_s
        if left_s < cadence_s * MOMENT:
            left_s += cadence_s
        self._not_before = monotonic + early_s + left_s
        self._learn()

    def _learn(self) -> None:
        first_s, last_s = self._first_s, self._last_s
        longest_s = self._cadence_s * LONGEST
        several = self._late or last_s > first_s
        self._first_s, self._last_s, self._late = self._cadence_s, 0.0, False
        wait_s = self._wait_s * EASE if self._wait_s > SHORTEST_S else 0.0
        # Changes that are far apart are of nodes whose clocks differ, or come all the
        # time. The far ones are published with the first ones of the next cadence.
        awaited_s = last_s if last_s < longest_s else first_s
        if several and awaited_s < longest_s:
            wait_s = max(wait_s, awaited_s * MARGIN)
        self._wait_s = wait_s
