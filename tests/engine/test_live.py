"""Live channels of one node, on a ledger that answers when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from realtime.adapters.ledger.memory import MemoryLedger, Store
from realtime.core.cells import CellKey, Delta, ShardCell, UniqueCount
from realtime.core.counters import CounterDefinition, CounterSet
from realtime.core.ledger import SubBatch
from realtime.core.naming import LiveName, parse_live
from realtime.engine.live import Live
from realtime.errors import LedgerUnavailable
from realtime.settings import LedgerSettings
from realtime.testing.clock import ManualClock, settle
from realtime.types import Channel, DeviceId, JSONText

pytestmark = pytest.mark.anyio

LIKES = {"event": "like", "by": ["post"], "windows": ["total", "10s", "20s/1s"]}
FANS = {"event": "like", "measure": "unique", "of": "user", "windows": ["total"]}
COUNTERS = CounterSet(
    [
        CounterDefinition.parse("likes", LIKES, 0.1),
        CounterDefinition.parse("fans", FANS, 0.1),
        CounterDefinition.parse("long", {**LIKES, "windows": ["1000s/1s"]}, 0.1),
    ]
)


class Gate:
    """Open until it is shut; whoever comes then waits until it is opened."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Event] = []
        self._shut = False

    def shut(self) -> None:
        """Let nobody through from now on."""
        self._shut = True

    def let_pass(self) -> None:
        """Let newcomers through; those who wait go on waiting."""
        self._shut = False

    def open(self) -> None:
        """Let everybody through."""
        self._shut = False
        for one in self._waiting:
            one.set()

    async def __call__(self) -> None:
        """Wait until it is open."""
        if self._shut:
            opened = asyncio.Event()
            self._waiting.append(opened)
            await opened.wait()


class SlowLedger(MemoryLedger):
    """
    A node's ledger on a shared store, with a gate before watching and before answering.

    A read that waits has its answer already, as one whose reply is on its way.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(COUNTERS, LedgerSettings(), store)
        self.watching = Gate()
        self.answering = Gate()
        self.error: Exception | None = None
        self.read_error: Exception | None = None
        self.asked: list[int] = []  # the number of cells of each read

    async def watch(self, counter: str, dims: str) -> None:
        """Watch, once the gate is open."""
        await self.watching()
        if self.error is not None:
            raise self.error
        await super().watch(counter, dims)

    async def read(
        self, keys: Sequence[CellKey]
    ) -> Mapping[CellKey, tuple[ShardCell, ...]]:
        """Read now and answer once the gate is open."""
        if self.read_error is not None:
            raise self.read_error
        self.asked.append(len(keys))
        found = await super().read(keys)
        await self.answering()
        return found

    async def count_unique(
        self, unions: Sequence[Sequence[CellKey]]
    ) -> list[UniqueCount]:
        """Read now and answer once the gate is open."""
        found = await super().count_unique(unions)
        await self.answering()
        return found


class Scene:
    """One node's live channels, what they pushed, and another node that counts."""

    def __init__(self) -> None:
        self.clock = ManualClock(1_700_000_000.0)
        self.store = Store(self.clock.monotonic)
        self.ledger = SlowLedger(self.store)
        self.other = MemoryLedger(COUNTERS, LedgerSettings(), self.store)
        self.pushed: list[tuple[Channel, dict[str, Any]]] = []
        self.live = Live(self.ledger, COUNTERS, self.clock, self._push, 15.0)
        self._seq = 0

    def _push(self, channel: Channel, data: JSONText) -> int:
        self.pushed.append((channel, orjson.loads(data)))
        return 1

    def values(self, name: LiveName) -> list[object]:
        """What was pushed on the channel."""
        return [data["value"] for one, data in self.pushed if one == name.channel]

    def value(self, name: LiveName) -> object:
        """What a newcomer is told."""
        return orjson.loads(self.live.current(name.channel))["value"]

    async def count(self, deltas: Mapping[CellKey, Delta]) -> None:
        """Commit on the other node."""
        self._seq += 1
        batch = SubBatch(DeviceId("d"), self._seq, self._seq, deltas, 3600.0)
        await self.other.commit([batch], self.clock.time())

    async def like(self) -> None:
        """Count one like of post 1, now."""
        at = int(self.clock.time())
        keys = [CellKey("likes", s, at // s if s else 0, "1") for s in (0, 1, 10)]
        await self.count(dict.fromkeys(keys, (1,)))

    async def see(self, user: str) -> None:
        """Count *user* among the fans."""
        await self.count({CellKey("fans", 0, 0, ""): frozenset((user,))})


@asynccontextmanager
async def playing() -> AsyncIterator[Scene]:
    """A scene whose tasks end with it."""
    scene = Scene()
    await scene.ledger.start()
    await scene.other.start()
    try:
        yield scene
    finally:
        await scene.live.aclose()


def name(channel: str) -> LiveName:
    """Read a channel's name."""
    return parse_live(channel, COUNTERS)


TOTAL = name("live:likes;post=1;window=total")
TEN = name("live:likes;post=1;window=10s")
SLIDING = name("live:likes;post=1;window=20s/1s")
FANS_TOTAL = name("live:fans;window=total")


async def test_a_change_is_pushed_to_an_open_channel() -> None:
    """The other node's commit is this node's push."""
    async with playing() as it:
        await it.live.open(TOTAL)
        await it.like()
        await it.clock.elapse(0.1)

        assert it.values(TOTAL) == [1]


# -- opening ---------------------------------------------------------------------------


async def test_a_second_window_of_a_cell_waits_until_changes_are_heard() -> None:
    """A value that was read before would stay wrong: nobody would tell of a change."""
    async with playing() as it:
        it.ledger.watching.shut()
        first = asyncio.create_task(it.live.open(TOTAL))
        await settle()
        second = asyncio.create_task(it.live.open(TEN))
        await settle()
        await it.like()
        it.ledger.watching.open()
        await asyncio.gather(first, second)

        assert (it.value(TOTAL), it.value(TEN)) == (1, 1)


async def test_a_cell_that_cannot_be_watched_opens_none_of_its_channels() -> None:
    """Whoever came second is told so too, and is not left with a value that stays."""
    async with playing() as it:
        it.ledger.watching.shut()
        it.ledger.error = LedgerUnavailable("down")
        opening = [asyncio.create_task(it.live.open(one)) for one in (TOTAL, TEN)]
        await settle()
        it.ledger.watching.open()
        results = await asyncio.gather(*opening, return_exceptions=True)
        assert [type(one) for one in results] == [LedgerUnavailable] * 2

        it.ledger.error = None
        await it.live.open(TEN)
        await it.like()
        await it.clock.elapse(0.1)
        assert it.values(TEN) == [1]


async def test_a_unique_count_that_changes_while_it_is_read_first_is_read_again() -> (
    None
):
    """What the first reading missed was told while nobody could be told of it."""
    async with playing() as it:
        it.ledger.answering.shut()
        opening = asyncio.create_task(it.live.open(FANS_TOTAL))
        await settle()
        await it.see("ann")
        await it.clock.elapse(0.01)
        it.ledger.answering.open()
        await opening
        await it.clock.elapse(0.2)

        assert it.value(FANS_TOTAL) == 1


# -- healing ---------------------------------------------------------------------------


async def test_what_was_not_heard_is_read() -> None:
    """Pub/sub may lose a change; the next full read finds it."""
    async with playing() as it:
        await it.live.open(TOTAL)
        it.ledger._watched.clear()
        await it.like()
        await it.live.heal()

        assert it.values(TOTAL) == [1]


async def test_healing_reads_a_bounded_number_of_cells_at_once() -> None:
    """However long the windows are, the loop is not held up for long."""
    async with playing() as it:
        for post in range(10):
            await it.live.open(name(f"live:long;post={post};window=1000s/1s"))
        it.ledger.asked.clear()
        await it.live.heal()

        assert sum(it.ledger.asked) == 10 * 1016
        assert max(it.ledger.asked) < 2000 + 1016


async def test_a_defect_in_reading_ends_no_healing() -> None:
    """It is logged once; the next full read is made all the same."""
    async with playing() as it:
        await it.live.open(TOTAL)
        run = asyncio.create_task(it.live.run())
        it.ledger._watched.clear()
        it.ledger.read_error = ZeroDivisionError("a mistake in an adapter")
        with capture_logs() as logs:
            await it.clock.elapse(31)
        assert [log["event"] for log in logs] == ["live_read_failed"]

        it.ledger.read_error = None
        await it.like()
        await it.clock.elapse(15)
        assert it.values(TOTAL) == [1]
        run.cancel()


@pytest.mark.parametrize("channel", [TOTAL, FANS_TOTAL])
async def test_a_ledger_that_has_lost_data_is_believed(channel: LiveName) -> None:
    """The next full read shows what is left, and changes count on from there."""
    async with playing() as it:
        await it.live.open(channel)
        for user in ("ann", "bob", "cyd"):
            await it.like()
            await it.see(user)
            await it.clock.elapse(0.2)
        it.store.buckets.clear()
        await it.live.heal()
        await it.like()
        await it.see("dan")
        await it.clock.elapse(0.2)

        assert it.values(channel) == [1, 2, 3, 0, 1]
        revs = [data["rev"] for one, data in it.pushed if one == channel.channel]
        assert revs == sorted(set(revs))


# -- closing ---------------------------------------------------------------------------


async def test_a_closed_channel_is_no_longer_heard() -> None:
    """After the last of a cell's channels, the ledger is told."""
    async with playing() as it:
        await it.live.open(TOTAL)
        await it.live.open(TEN)
        it.live.close(TOTAL)
        await settle()
        assert it.ledger._watched == {("likes", "1")}

        it.live.close(TEN)
        await settle()
        assert it.ledger._watched == set()
        assert len(it.live) == 0


async def test_a_read_for_a_channel_that_was_opened_anew_is_not_published() -> None:
    """What belonged to the earlier subscribers hears of no changes any more."""
    async with playing() as it:
        await it.live.open(SLIDING)
        await it.like()
        await it.clock.elapse(0.1)
        it.ledger.answering.shut()
        healing = asyncio.create_task(it.live.heal())
        await settle()
        it.ledger.answering.let_pass()
        it.live.close(SLIDING)
        await settle()
        await it.live.open(SLIDING)
        it.ledger.answering.open()
        await healing
        it.pushed.clear()
        await it.like()
        await it.clock.elapse(30)

        assert it.values(SLIDING) == [2, 0]
        assert it.clock.pending == 0
