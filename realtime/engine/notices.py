"""
Telling who has come and who has gone, so that the last word is always true.

The store decides in one step who is the first and the last of a user's connections;
telling it takes another one, and two nodes may tell in the wrong order. So whoever has
told something looks whether it is still so, and tells again if not. The last to tell
anything of a user has looked after that, and what changes later is told by whoever
changes it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

import structlog

from realtime.adapters.presence.port import Presence
from realtime.clock import Clock
from realtime.engine.metrics import Metrics
from realtime.engine.tasks import Tasks
from realtime.errors import Unavailable
from realtime.types import Channel, Member

log = structlog.get_logger(__name__)

Announce = Callable[[Channel, Member, bool], Awaitable[None]]
"""Tells that a member (its user) has come, or gone. May raise Unavailable."""

AT_ONCE = 32  # notices under way together
MAX_WAITING = 500_000  # users of whom something is to be told
CLOSE_S = 3.0  # how long closing waits
RETRY_S = 0.5  # and up to twice that, while Redis does not answer

Key = tuple[Channel, bool, str]


class Notices:
    """
    What is to be told, a user (or a member without one) at a time.

    What has changed back before it was told is not told at all.
    """

    def __init__(
        self,
        presence: Presence,
        clock: Clock,
        tasks: Tasks,
        metrics: Metrics,
        announce: Announce,
    ) -> None:
        self._presence = presence
        self._clock = clock
        self._tasks = tasks
        self._metrics = metrics
        self._announce = announce
        self._wanted: dict[Key, tuple[Member, bool]] = {}
        self._told: dict[Key, bool] = {}  # what was told last of those in _wanted
        self._queue: deque[Key] = deque()
        self._working = 0
        self._idle: asyncio.Event | None = None  # set when closing may go on
        self._random = Random()

    def __len__(self) -> int:
        return len(self._wanted)

    def tell(self, channel: Channel, member: Member, there: bool) -> None:
        """See to it that this is told."""
        key = _key(channel, member)
        if key not in self._wanted:
            if len(self._wanted) >= MAX_WAITING:
                self._metrics.presence_notices_lost.inc()
                return
            self._queue.append(key)
            self._told[key] = not there
            if self._working < AT_ONCE:
                self._working += 1
                self._tasks.spawn(self._work())
        self._wanted[key] = member, there

    async def aclose(self) -> None:
        """Wait until everything has been told, within reason."""
        idle = self._idle = asyncio.Event()
        if not self._working:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await idle.wait()

    async def _work(self) -> None:
        try:
            while self._queue:
                key = self._queue.popleft()
                try:
                    await self._settle(key)
                except Exception:  # a defect of ours; the others are told all the same
                    log.exception("presence_not_told")
                finally:
                    del self._wanted[key], self._told[key]
        finally:
            self._working -= 1
            if not self._working and self._idle is not None:
                self._idle.set()

    async def _settle(self, key: Key) -> None:
        """Tell what is wanted until that is what the store says, too."""
        while True:
            try:
                await self._tell(key)
                told = self._told[key]
                member, _ = self._wanted[key]
                now = await self._is_there(key[0], member, told)
            except Unavailable:
                await self._clock.sleep(RETRY_S * (1 + self._random.random()))
                continue
            if self._wanted[key][1] is told:  # else it has changed meanwhile
                if now is told:
                    return
                self._wanted[key] = member, now

    async def _tell(self, key: Key) -> None:
        member, there = self._wanted[key]
        if there is self._told[key]:
            return
        await self._announce(key[0], member, there)
        self._told[key] = there
        kind = "join" if there else "leave"
        self._metrics.presence_notices.labels(kind).inc()

    async def _is_there(self, channel: Channel, member: Member, told: bool) -> bool:
        if member.user is None:  # comes once, and goes once
            return told
        return bool(await self._presence.connections(channel, member.user))


def _key(channel: Channel, member: Member) -> Key:
    if member.user is None:
        return channel, False, member.client
    return channel, True, member.user
