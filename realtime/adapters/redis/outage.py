"""
Which servers are known to be away, so that nobody who is in a hurry waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from realtime.adapters.redis.address import Address
from realtime.adapters.redis.backoff import Backoff
from realtime.adapters.redis.line import end

Attempt = Callable[[Address], Awaitable[bool]]
"""Tries to reach a server; returns whether to try again. Must not raise."""


class Outages:
    """
    Servers to which the last attempt to connect has failed.

    One is known to be away when that has been so for *after_s* since somebody first
    asked. From then on somebody has to go on trying, for those who hurry do not: one
    task for each server does, with *backoff*, until it is back.
    """

    def __init__(self, after_s: float, backoff: Backoff, attempt: Attempt) -> None:
        self._after_s = after_s
        self._backoff = backoff
        self._attempt = attempt
        self._failed: set[Address] = set()
        self._trials: dict[Address, tuple[float, asyncio.Task[None]]] = {}

    def began(self, address: Address) -> None:
        """Note that an attempt has failed."""
        self._failed.add(address)

    def ended(self, address: Address) -> None:
        """Note that there is a connection, or that none is needed any more."""
        self._failed.discard(address)

    def is_known(self, address: Address) -> bool:
        """Whether it is useless to wait for *address* now."""
        if address not in self._failed:
            return False
        now = asyncio.get_running_loop().time()
        trial = self._trials.get(address)
        if trial is None:
            task = asyncio.create_task(self._try(address))
            trial = self._trials[address] = now, task
        return now - trial[0] >= self._after_s

    async def aclose(self) -> None:
        """Try no more."""
        self._failed.clear()
        await end([task for _, task in self._trials.values()])

    async def _try(self, address: Address) -> None:
        failures = 0
        try:
            while address in self._failed:
                failures += 1
                await asyncio.sleep(self._backoff.delay_s(failures))
                if not await self._attempt(address):
                    break
        finally:
            self._trials.pop(address, None)
