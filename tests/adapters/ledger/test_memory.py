"""What is particular to the ledger in memory: it forgets in time, and cheaply."""

from __future__ import annotations

import pytest

from realtime.adapters.ledger.memory import MemoryLedger, Store
from realtime.adapters.ledger.port import DeviceTaken
from realtime.settings import LedgerSettings
from realtime.testing.ledger_kit import COUNTERS, key, sub
from realtime.types import DeviceId

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0


class Watch:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_marks_are_swept_when_their_time_is_over() -> None:
    """Marks that were not renewed are gone from memory after the next commit."""
    watch = Watch()
    store = Store(watch)
    ledger = MemoryLedger(COUNTERS, LedgerSettings(), store)
    for number in range(100):
        await ledger.commit([sub(f"d{number}", 1, 1, ttl_s=10)], NOW)
    watch.now = 6
    await ledger.commit([sub("d7", 2, 2, ttl_s=10)], NOW)
    watch.now = 11
    await ledger.commit([], NOW)
    assert list(store.marks) == ["d7"]
    watch.now = 17
    await ledger.commit([], NOW)
    assert store.marks == {}


async def test_a_mark_whose_time_is_over_is_not_used() -> None:
    """Even before it is swept, a mark that is over belongs to nobody."""
    watch = Watch()
    ledger = MemoryLedger(COUNTERS, LedgerSettings(), Store(watch))
    device = DeviceId("d")
    assert await ledger.claim(device, ["me"], 5, 10) == 5
    watch.now = 9.9
    with pytest.raises(DeviceTaken):
        await ledger.claim(device, ["you"], 1, 10)
    watch.now = 10
    assert await ledger.claim(device, ["you"], 1, 10) == 1


async def test_buckets_are_swept_when_their_windows_have_passed() -> None:
    """Buckets go with the wall clock of the commits; totals stay."""
    store = Store()
    ledger = MemoryLedger(COUNTERS, LedgerSettings(), store)
    bucket = int(NOW // 300)
    deltas = {key("count", "1", 300, bucket): (1,), key("count"): (1,)}
    await ledger.commit([sub("d", 1, 1, deltas)], NOW)
    assert len(store.buckets) == 2
    await ledger.commit([], NOW + 2000)
    assert list(store.buckets) == [("count", 0, 0)]


async def test_ledgers_are_apart_unless_they_share() -> None:
    """Two ledgers know of each other only through a common store."""
    one, two = (MemoryLedger(COUNTERS, LedgerSettings()) for _ in range(2))
    await one.commit([sub("d", 1, 1)], NOW)
    assert (await two.read([key("count")]))[key("count")][0].state is None
