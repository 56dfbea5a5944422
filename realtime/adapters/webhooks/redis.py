"""
Notices that wait in Redis: they outlive the process that made them.

All nodes append to one stream, and one of them delivers: it holds a lease, so that
notices go in their order from whichever node they come. When it is gone, another takes
over. What was delivered but could not be removed is delivered again, under the same id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import msgpack
import structlog

from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.keys import check_prefix, notices_lease, notices_stream
from realtime.adapters.redis.script import Script
from realtime.adapters.webhooks.queue import Notice
from realtime.clock import Clock
from realtime.errors import Unavailable

log = structlog.get_logger(__name__)

ADD = Script.load(__package__, "add")
TAKE = Script.load(__package__, "take")
HOLD = Script.load(__package__, "hold")

LEASE_S = 10.0
POLL_S = 0.25  # of who delivers, for what other nodes have appended
IDLE_S = 1.0  # of the others, for the lease
RETRY_S = 1.0  # while Redis does not answer
MAX_ADDED = 500  # notices in one script


class RedisQueue:
    """
    See ``NoticeQueue``. The link is shared and closed by its owner.

    *most* bounds the stream, and also what waits here while Redis is away.
    """

    def __init__(
        self, link: RedisLink, prefix: str, node: str, most: int, clock: Clock
    ) -> None:
        self.on_dropped: Callable[[int], None] = lambda dropped: None
        self._link = link
        self._stream = notices_stream(check_prefix(prefix))
        self._lease = notices_lease(prefix)
        self._node = node
        self._most = most
        self._clock = clock
        self._unwritten: deque[Notice] = deque()
        self._entries: dict[str, list[bytes]] = {}  # of what was taken, by its id
        self._settled: set[bytes] = set()  # entries that are still to be removed
        self._some = asyncio.Event()
        self._leads = False
        self._idle = False  # nothing was found the last time
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to write what is put, and to keep the lease."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._write()), loop.create_task(self._hold())]

    def put(self, notice: Notice) -> None:
        """Append here; it is in Redis a moment later."""
        if len(self._unwritten) >= self._most:
            self._unwritten.popleft()
            self.on_dropped(1)
        self._unwritten.append(notice)
        self._idle = False
        self._some.set()

    async def take(self, most: int) -> Sequence[Notice]:
        """Wait for the lease, and for something to deliver."""
        while True:
            delay_s = IDLE_S
            try:
                found = await self._read(most)
            except Unavailable:
                self._leads = False
                delay_s = RETRY_S
            else:
                if found:
                    return found
                delay_s = POLL_S if self._leads else IDLE_S
            await self._clock.sleep(delay_s)

    async def settle(self, notices: Sequence[Notice]) -> None:
        """Remove them; if Redis is away, before the next are taken."""
        for one in notices:
            self._settled.update(self._entries.pop(one.id, ()))
        try:
            await self._remove()
        except Unavailable as exc:
            log.info("notices_not_removed", error=str(exc))

    @property
    def waiting(self) -> int:
        """How many are not in Redis yet, or are being delivered by this node."""
        return len(self._unwritten) + len(self._entries)

    async def drained(self) -> None:
        """Wait until all are in Redis, and delivered if this node delivers."""
        while self._unwritten or (self._leads and not self._idle):
            await self._clock.sleep(POLL_S / 5)

    async def aclose(self) -> int:
        """Give the lease back; what is not in Redis is lost."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._leads:
            try:
                await self._link.run_script(HOLD, [self._lease], self._node, "0")
            except Unavailable as exc:
                log.info("lease_not_given_back", error=str(exc))
        return len(self._unwritten)

    # -- Redis ---------------------------------------------------------------------

    async def _read(self, most: int) -> Sequence[Notice]:
        await self._remove()
        entries = await self._link.run_script(
            TAKE,
            [self._stream, self._lease],
            self._node,
            str(int(LEASE_S * 1000)),
            str(most),
        )
        self._leads = entries is not None
        self._idle = self._leads and not entries and not self._unwritten
        self._entries, found = {}, []
        for entry, fields in entries or ():
            notice = _unpack(fields[1])
            if notice.id not in self._entries:  # else it was written twice
                found.append(notice)
            self._entries.setdefault(notice.id, []).append(entry)
        return found

    async def _remove(self) -> None:
        if self._settled:
            gone = tuple(self._settled)
            await self._link.call("XDEL", self._stream, *gone, key=self._stream)
            self._settled.difference_update(gone)

    async def _write(self) -> None:
        """Move what is put into Redis, for ever."""
        while True:
            await self._some.wait()
            some = [self._unwritten[i] for i in range(self._chunk())]
            try:
                dropped = await self._link.run_script(
                    ADD, [self._stream], str(self._most), *map(_pack, some)
                )
            except Unavailable:
                await self._clock.sleep(RETRY_S)
                continue
            self.on_dropped(int(dropped))
            written = {notice.id for notice in some}
            while self._unwritten and self._unwritten[0].id in written:
                self._unwritten.popleft()
            if not self._unwritten:
                self._some.clear()

    def _chunk(self) -> int:
        return min(len(self._unwritten), MAX_ADDED)

    async def _hold(self) -> None:
        """Keep the lease while something is being delivered, for ever."""
        lease_ms = str(int(LEASE_S * 1000))
        while True:
            await self._clock.sleep(LEASE_S / 4)
            if not self._leads:
                continue
            try:
                held = await self._link.run_script(
                    HOLD, [self._lease], self._node, lease_ms
                )
            except Unavailable:
                continue
            self._leads = bool(held)


def _pack(notice: Notice) -> bytes:
    packed: bytes = msgpack.packb(
        [notice.id, notice.event, notice.at, dict(notice.body)]
    )
    return packed


def _unpack(packed: bytes) -> Notice:
    return Notice(*msgpack.unpackb(packed))
