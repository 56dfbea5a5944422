"""
The parts of a channel's history that a node remembers for a short time.

Thousands of clients that come back at once ask for the same publications: one read is
remembered and answers them all. What is remembered ends at the node's own position
(the *tail*, which grows with what arrives) or is a page from further back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

from realtime.core.stream_values import offset_of
from realtime.types import Publication

OVERHEAD_BYTES = 300  # of one publication beside its data, roughly
GROWTH_BYTES = 64 * 1024  # by which the tail grows on its own, beyond what was read
MAX_PAGES = 8  # from further back; each is at most one reply


_NONE: deque[Publication] = deque(maxlen=0)
"""Stands for all that are empty; nothing is ever added to it."""


class Run:
    """
    Publications without a hole: those after offset *low*, up to ``high``. Offsets in
    between may have been left out by the broker; nothing is missing there, but they are
    no places in this history.
    """

    __slots__ = ("cost", "low", "publications")

    def __init__(self, low: int, publications: Iterable[Publication] = ()) -> None:
        self.low = low
        # Empty nearly always and nearly everywhere: an empty deque has 760 bytes.
        found = tuple(publications)
        self.publications = deque(found) if found else _NONE
        self.cost = sum(map(cost_of, self.publications))

    @property
    def high(self) -> int:
        """The last offset; *low* when it is empty."""
        return offset_of(self.publications[-1]) if self.publications else self.low

    def append(self, publication: Publication) -> None:
        """Add the one after ``high``."""
        if self.publications is _NONE:
            self.publications = deque()
        self.publications.append(publication)
        self.cost += cost_of(publication)

    def prepend(self, older: Run) -> None:
        """Add what *older*, which reaches at least to ``low``, has before it."""
        before = list(islice(older.publications, older.index_after(self.low)))
        if before and self.publications is _NONE:
            self.publications = deque()
        self.publications.extendleft(reversed(before))
        self.cost += sum(map(cost_of, before))
        self.low = older.low

    def shrink(self) -> None:
        """Drop the oldest."""
        oldest = self.publications.popleft()
        self.cost -= cost_of(oldest)
        self.low = offset_of(oldest)

    def has(self, offset: int) -> bool:
        """Whether this is a place in the run, so that what follows it is known."""
        return offset == self.low or self.at(offset) is not None

    def at(self, offset: int) -> Publication | None:
        """Return the publication of this offset, if it is here."""
        index = self.index_after(offset) - 1
        found = self.publications[index] if index >= 0 else None
        return found if found is not None and offset_of(found) == offset else None

    def after(self, offset: int, count: int, max_bytes: int) -> list[Publication]:
        """Return at most *count* after *offset*; their data are bounded, but one."""
        found: list[Publication] = []
        size, start = 0, self.index_after(offset)
        for publication in islice(self.publications, start, start + count):
            size += len(publication.data)
            if found and size > max_bytes:
                break
            found.append(publication)
        return found

    def index_after(self, offset: int) -> int:
        """Return how many there are up to *offset*."""
        return bisect_right(self.publications, offset, key=offset_of)


class Recent:
    """What one channel's stream remembers. Bounded in bytes by what was read."""

    __slots__ = ("_most", "pages", "tail")

    def __init__(self) -> None:
        self.tail: Run | None = None
        self.pages: Sequence[Run] = ()
        self._most = GROWTH_BYTES

    @property
    def cost(self) -> int:
        """Bytes, roughly."""
        tail = 0 if self.tail is None else self.tail.cost
        return tail + sum(page.cost for page in self.pages)

    def begin(self, offset: int) -> None:
        """Remember what follows the node's present *offset*, if that is not done."""
        if self.tail is None:
            self.tail = Run(offset)

    def add(self, publication: Publication) -> None:
        """Remember the next one, while anything is remembered."""
        tail = self.tail
        if tail is not None:
            tail.append(publication)
            while tail.cost > self._most and len(tail.publications) > 1:
                tail.shrink()

    def learn(self, run: Run) -> None:
        """Remember what was read, apart from what the tail has already."""
        tail = self.tail
        assert tail is not None
        if run.low >= tail.low:
            return
        if run.high >= tail.low:
            tail.prepend(run)
            self._most = max(self._most, tail.cost + GROWTH_BYTES)
        elif run.publications:
            self.pages = [*self.pages[1 - MAX_PAGES :], run]

    def find(self, offset: int) -> Run | None:
        """Return the run that says what follows *offset*; None if there is none."""
        tail = self.tail
        if tail is not None and tail.has(offset):
            return tail
        for page in reversed(self.pages):
            if offset < page.high and page.has(offset):
                return page
        return None

    def clear(self) -> None:
        """Forget everything."""
        self.tail = None
        self.pages = ()
        self._most = GROWTH_BYTES


def cost_of(publication: Publication) -> int:
    """Return what keeping a publication costs, in bytes, roughly."""
    return len(publication.data) + OVERHEAD_BYTES
