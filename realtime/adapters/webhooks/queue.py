"""
Notices that wait to be delivered: what a queue of them promises, and one in memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that has happened; ``at`` is seconds since the epoch."""

    id: str
    event: str
    at: float
    body: Mapping[str, object]


class NoticeQueue(Protocol):
    """
    Keeps notices in their order until they are settled. Bounded: the oldest go first,
    and ``on_dropped`` is told how many.
    """

    on_dropped: Callable[[int], None]

    def start(self) -> None:
        """Begin what the queue does in the background."""

    def put(self, notice: Notice) -> None:
        """Append; never waits."""

    async def take(self, most: int) -> Sequence[Notice]:
        """Wait until there are some, and return the oldest; they stay."""

    async def settle(self, notices: Sequence[Notice]) -> None:
        """Forget these, which ``take`` has returned."""

    @property
    def waiting(self) -> int:
        """How many wait here, those that were taken included."""

    async def drained(self) -> None:
        """Wait until this process may end without a notice being late or lost."""

    async def aclose(self) -> int:
        """Let go; return how many are lost."""


class MemoryQueue:
    """A queue that ends with its process."""

    def __init__(self, most: int) -> None:
        self.on_dropped: Callable[[int], None] = _nobody
        self._most = most
        self._waiting: deque[Notice] = deque()
        self._taken: list[Notice] = []
        self._some = asyncio.Event()
        self._none = asyncio.Event()
        self._none.set()

    def start(self) -> None:
        """Do nothing."""

    def put(self, notice: Notice) -> None:
        """Append; what is under way is not dropped."""
        if self.waiting >= self._most and self._waiting:
            self._waiting.popleft()
            self.on_dropped(1)
        self._waiting.append(notice)
        self._some.set()
        self._none.clear()

    async def take(self, most: int) -> Sequence[Notice]:
        """Return at once if there is something."""
        await self._some.wait()
        while self._waiting and len(self._taken) < most:
            self._taken.append(self._waiting.popleft())
        return tuple(self._taken)

    async def settle(self, notices: Sequence[Notice]) -> None:
        """Forget them."""
        ids = {notice.id for notice in notices}
        self._taken = [notice for notice in self._taken if notice.id not in ids]
        if not self.waiting:
            self._some.clear()
            self._none.set()

    @property
    def waiting(self) -> int:
        """How many there are."""
        return len(self._waiting) + len(self._taken)

    async def drained(self) -> None:
        """Wait until there is none."""
        await self._none.wait()

    async def aclose(self) -> int:
        """Lose what waits."""
        return self.waiting


def _nobody(dropped: int) -> None:
    """Tell nobody."""
