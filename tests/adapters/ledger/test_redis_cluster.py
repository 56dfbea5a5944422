"""The ledger over several masters, one of which goes away."""

from __future__ import annotations

import asyncio
import time

import pytest

from realtime.adapters.ledger.redis import RedisLedger
from realtime.adapters.redis.keys import LedgerKeys
from realtime.core.ledger import Verdict
from realtime.errors import LedgerUnavailable
from realtime.settings import LedgerSettings
from realtime.testing.ledger_kit import COUNTERS, Heard, eventually, key, state, sub
from realtime.testing.servers import ValkeyCluster
from tests.adapters.conftest import MakeLink, MakePubSub

pytestmark = pytest.mark.anyio


async def test_a_commit_over_shards_is_repeated_safely(
    shaky: ValkeyCluster, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """When one shard of a commit fails, repeating all of it counts everything once."""
    link = make_link(shaky.url, timeout_s=0.5)
    settings = LedgerSettings(shards=3)
    ledger = RedisLedger(link, make_pubsub(link), COUNTERS, settings, "t")
    await ledger.start()
    masters = {link.master_of(tag) for tag in LedgerKeys("t", 3).tags}
    assert len(masters) == 3  # shards spread over the masters
    batches = [sub(f"d{number}", 1, 2) for number in range(30)]
    shaky.servers[1].kill()
    with pytest.raises(LedgerUnavailable):
        await ledger.commit(batches, time.time())
    await asyncio.to_thread(shaky.servers[1].restart)
    await asyncio.to_thread(shaky.await_whole)
    outcomes = await ledger.commit(batches, time.time())
    verdicts = {outcome.verdict for outcome in outcomes}
    assert verdicts == {Verdict.APPLIED, Verdict.DUPLICATE}
    assert await state(ledger, key("count")) == (60,)
    heard = Heard(ledger)
    await ledger.watch("count", "1")
    await ledger.commit([sub(f"d{n}", 3, 3) for n in range(30)], time.time())
    await eventually(lambda: heard.total(key("count")) == 90, "all shards tell")
