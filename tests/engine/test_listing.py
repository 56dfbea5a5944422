"""Values read on request: the same rules as for those that are pushed."""

from __future__ import annotations

import pytest

from realtime.adapters.ledger.memory import MemoryLedger
from realtime.core.counters import CounterDefinition, CounterSet
from realtime.core.naming import LiveName
from realtime.engine.listing import Listing
from realtime.settings import LedgerSettings

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0  # where buckets of 10 s begin


def _listing(window: str) -> tuple[Listing, LiveName]:
    table = {"event": "like", "windows": [window], "lateness": "5s", "cadence": "2s"}
    definition = CounterDefinition.parse("likes", table, 0.1)
    counters = CounterSet([definition])
    name = LiveName.of(definition, {})
    return Listing(MemoryLedger(counters, LedgerSettings()), counters), name


@pytest.mark.parametrize(("after_s", "final"), [(0, False), (16.9, False), (17, True)])
async def test_a_tumbling_window_is_final_as_for_watchers(
    after_s: float, final: bool
) -> None:
    """That is one cadence after its end and its lateness."""
    listing, name = _listing("10s")
    value = await listing.value(name, NOW, NOW + after_s)
    assert (value.at, value.final) == (NOW + 10, final)


@pytest.mark.parametrize("window", ["10s/1s", "total"])
async def test_other_windows_are_never_final(window: str) -> None:
    """A sliding window has no end of its own, nor has the total."""
    listing, name = _listing(window)
    value = await listing.value(name, NOW, NOW + 3600)
    assert not value.final
