"""When the values of live channels are published: once a cadence, and no later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from realtime.adapters.ledger.memory import MemoryLedger
from realtime.core.cells import CellKey
from realtime.core.counters import CounterDefinition, CounterSet
from realtime.core.ledger import SubBatch
from realtime.core.naming import parse_live
from realtime.engine.live import Live
from realtime.settings import LedgerSettings
from realtime.testing.clock import ManualClock, settle
from realtime.types import Channel, DeviceId, JSONText

pytestmark = pytest.mark.anyio

TICK_S = 0.1
COUNTERS = CounterSet([CounterDefinition.parse("likes", {"event": "like"}, TICK_S)])
CELL = CellKey("likes", 0, 0, "")


class Watcher:
    """One open live channel; ``heard`` has when which value was published."""

    def __init__(self) -> None:
        self.clock = ManualClock(monotonic=1_000.0)
        self.heard: list[tuple[float, int]] = []
        self.ledger = MemoryLedger(COUNTERS, LedgerSettings())
        self.live = Live(self.ledger, COUNTERS, self.clock, self._push, heal_s=15.0)
        self._seq = 0

    def _push(self, channel: Channel, data: JSONText) -> int:
        at = round(self.clock.monotonic() - 1_000.0, 3)
        self.heard.append((at, orjson.loads(data)["value"]))
        return 1

    async def like_after(self, delay_s: float) -> None:
        """Let time pass, then count one more."""
        await self.clock.elapse(delay_s)
        self._seq += 1
        batch = SubBatch(DeviceId("d"), self._seq, self._seq, {CELL: (1,)}, 3600.0)
        await self.ledger.commit([batch], self.clock.time())
        self.clock.advance(0.0)
        await settle()


@asynccontextmanager
async def watching() -> AsyncIterator[Watcher]:
    """A watcher of the total."""
    watcher = Watcher()
    await watcher.ledger.start()
    await watcher.live.open(parse_live("live:likes", COUNTERS))
    try:
        yield watcher
    finally:
        await watcher.live.aclose()


async def test_commits_of_every_tick_are_published_at_once() -> None:
    """A commit that took longer than the next one does not delay the next values."""
    async with watching() as watcher:
        await watcher.like_after(0.03)
        await watcher.like_after(0.08)
        await watcher.like_after(0.10)

        assert watcher.heard == [(0.03, 1), (0.11, 2), (0.21, 3)]


async def test_two_changes_in_one_cadence_are_two_publications_of_two() -> None:
    """The second one waits until the next cadence begins, not a whole one."""
    async with watching() as watcher:
        await watcher.like_after(0.02)
        await watcher.like_after(0.07)
        await watcher.clock.elapse(0.2)

        assert watcher.heard == [(0.02, 1), (0.1, 2)]


async def test_what_changes_all_the_time_is_published_once_a_cadence() -> None:
    """Each publication has all that was counted until then."""
    async with watching() as watcher:
        for _ in range(10):
            await watcher.like_after(0.024)
        await watcher.clock.elapse(0.2)

        assert watcher.heard == [(0.024, 1), (0.1, 4), (0.2, 8), (0.322, 10)]
