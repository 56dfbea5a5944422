"""One way through a network that is slow, narrow or stalled."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

CHUNK = 64 * 1024
WINDOW = 256 * 1024  # bytes under way; who sends more has to wait
STEP_S = 0.005  # how soon a changed setting is noticed
PIECE_S = 0.02  # a narrow link passes on what it carries in this time


@dataclass(slots=True)
class Link:
    """
    What is wrong with one way. Everything may be changed at any time, by any thread;
    bytes that are already under way keep the latency that they began with.
    """

    latency_s: float = 0.0
    bytes_per_s: float | None = None  # of each connection; None: as fast as it goes
    stalled: bool = False  # all bytes are taken; none is passed on until it is over

    @property
    def is_perfect(self) -> bool:
        """Whether bytes are passed on at once."""
        return not (self.latency_s or self.bytes_per_s or self.stalled)


class Carrier:
    """
    Carries what a reader gives to *take*, all of it and in order, as a link does.

    *link* is asked for each chunk, so that one may be put in another's place.
    """

    def __init__(
        self, link: Callable[[], Link], take: Callable[[bytes], Awaitable[None]]
    ) -> None:
        self._link = link
        self._take = take
        self._under_way: deque[tuple[float, bytes]] = deque()  # when due, in order
        self._held = 0  # bytes, with those that are being taken
        self._arrived = asyncio.Event()
        self._free_at = 0.0  # when a narrow link has carried all it was given

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Carry until the reader ends and all of it has been taken."""
        carrying = asyncio.create_task(self._carry())
        reading = asyncio.create_task(self._read(reader))
        try:
            await asyncio.wait({carrying, reading}, return_when="FIRST_COMPLETED")
            while self._held and not carrying.done():
                await asyncio.sleep(STEP_S)
        finally:
            for task in (carrying, reading):
                task.cancel()
            await asyncio.wait({carrying, reading})

    async def _read(self, reader: asyncio.StreamReader) -> None:
        now = asyncio.get_running_loop().time
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                link = self._link()
                if link.is_perfect and not self._held:
                    await self._take(data)
                    continue
                self._held += len(data)
                self._under_way.append((now() + link.latency_s, data))
                self._arrived.set()
                while self._held >= WINDOW and not self._link().stalled:
                    await asyncio.sleep(STEP_S)

    async def _carry(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                await self._arrived.wait()
                due, data = self._under_way.popleft()
                if not self._under_way:
                    self._arrived.clear()
                await _sleep_until(due)
                while data:
                    data = data[await self._pass_on(data) :]

    async def _pass_on(self, data: bytes) -> int:
        """Give as much as fits at once; return how many bytes."""
        while self._link().stalled:
            await asyncio.sleep(STEP_S)
        if rate := self._link().bytes_per_s:
            data = data[: max(int(rate * PIECE_S), 1)]
            now = asyncio.get_running_loop().time()
            self._free_at = max(self._free_at, now) + len(data) / rate
            await _sleep_until(self._free_at)
        await self._take(data)
        self._held -= len(data)
        return len(data)


async def _sleep_until(when: float) -> None:
    wait_s = when - asyncio.get_running_loop().time()
    if wait_s > 0:
        await asyncio.sleep(wait_s)
