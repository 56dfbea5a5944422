"""
Who goes first when commands of one key have to be sent again: the order of their calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heappop, heappush


class _Queue:
    """Those who wait for one key, by number, and whose turn it is."""

    __slots__ = ("holder", "waiting")

    def __init__(self) -> None:
        self.waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.holder: asyncio.Future[None] | None = None

    def grant(self) -> None:
        while self.holder is None and self.waiting:
            _, place = heappop(self.waiting)
            if not place.done():  # else it has been cancelled
                self.holder = place
                place.set_result(None)


class Turns:
    """
    One at a time for each key, the lowest number first.

    Turns are given on the next turn of the event loop. When a connection is lost, all
    whose commands were under way are told at once, but wake one after another: by then
    every one of them stands here, and none is overtaken by who came later.
    """

    def __init__(self) -> None:
        self._queues: dict[bytes, _Queue] = {}

    def are_taken(self, key: bytes) -> bool:
        """Whether somebody has or awaits a turn: who comes now must await one too."""
        return key in self._queues

    @asynccontextmanager
    async def turn(self, key: bytes, number: int) -> AsyncIterator[None]:
        """Wait for one's turn; it ends with the block."""
        loop = asyncio.get_running_loop()
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue()
        place: asyncio.Future[None] = loop.create_future()
        heappush(queue.waiting, (number, place))
        loop.call_soon(queue.grant)
        try:
            await place
            yield
        finally:
            place.cancel()
            if queue.holder is place:
                queue.holder = None
                loop.call_soon(queue.grant)
            if queue.holder is None and all(p.done() for _, p in queue.waiting):
                self._queues.pop(key, None)
