"""The ledger in Redis while servers crash, hang, forget and refuse."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from realtime.adapters.ledger.redis import RedisLedger
from realtime.core.counters import CounterSet
from realtime.core.counters_definition import CounterDefinition
from realtime.core.ledger import Outcome, SubBatch, Verdict
from realtime.errors import ConfigError, LedgerUnavailable
from realtime.settings import LedgerSettings
from realtime.testing.ledger_kit import (
    COUNTERS,
    Heard,
    add,
    eventually,
    key,
    state,
    states,
    sub,
)
from realtime.testing.relay import Relay
from realtime.testing.servers import ValkeyServer
from realtime.types import DeviceId
from tests.adapters.conftest import MakeLink, MakePubSub

pytestmark = pytest.mark.anyio

MakeLedger = Callable[..., RedisLedger]

APPLIED, DUPLICATE = Verdict.APPLIED, Verdict.DUPLICATE


@pytest.fixture
def make_ledger(make_link: MakeLink, make_pubsub: MakePubSub) -> MakeLedger:
    """Make ledgers, each with connections of its own, that are not started."""

    def make(
        url: str,
        timeout_s: float = 1.0,
        prefix: str = "t",
        counters: CounterSet = COUNTERS,
        **settings: int,
    ) -> RedisLedger:
        link = make_link(url, timeout_s)
        pubsub = make_pubsub(link)
        return RedisLedger(link, pubsub, counters, LedgerSettings(**settings), prefix)

    return make


@pytest.mark.parametrize("device", ["a", "b", "c"])
async def test_what_was_acknowledged_survives_a_crash(
    victim: ValkeyServer, make_ledger: MakeLedger, device: str
) -> None:
    """With appendfsync always, every commit that was answered is there afterwards."""
    ledger, acknowledged = make_ledger(victim.url, timeout_s=10), [0]
    await ledger.start()

    async def send() -> None:
        for number in range(1, 100_000):
            await ledger.commit([sub(device, number, number)], time.time())
            acknowledged.append(number)

    sending = asyncio.create_task(send())
    await eventually(lambda: len(acknowledged) > 100, "some are acknowledged")
    victim.kill()
    sending.cancel()
    await asyncio.wait([sending])
    await asyncio.to_thread(victim.restart)
    mark = await ledger.claim(DeviceId(device), ["me"], 0, 60)
    assert mark - acknowledged[-1] in (0, 1)  # one may have been under way
    assert await state(ledger, key("count")) == (mark,)
    outcomes = await ledger.commit([sub(device, mark + 1, mark + 1)], time.time())
    assert outcomes == [Outcome(APPLIED, mark + 1)]


async def test_a_commit_that_hangs_is_repeated_safely(
    victim: ValkeyServer, make_ledger: MakeLedger
) -> None:
    """Whether a commit that timed out was applied is unknown, and does not matter."""
    ledger = make_ledger(victim.url, timeout_s=0.2)
    await ledger.start()
    batches = [sub(f"d{number}", 1, 2) for number in range(50)]
    with victim.paused():
        for _ in range(3):
            with pytest.raises(LedgerUnavailable, match=r"0\.2 s"):
                await ledger.commit(batches, time.time())
    outcomes = await ledger.commit(batches, time.time())
    assert {outcome.mark for outcome in outcomes} == {2}
    assert await state(ledger, key("count")) == (100,)


async def test_a_commit_whose_answer_was_lost(
    valkey: ValkeyServer, make_ledger: MakeLedger
) -> None:
    """A commit that was applied but not answered is answered when it is repeated."""
    async with Relay(valkey.port) as relay:
        url = f"redis://127.0.0.1:{relay.port}"
        ledger = make_ledger(url, timeout_s=5, prefix="lost")
        await ledger.start()
        await ledger.commit([sub("d", 1, 1)], time.time())
        (line,) = relay.which_sent(b"EVAL")
        line.deaf = True
        before = valkey.calls("evalsha")
        commit = asyncio.create_task(ledger.commit([sub("d", 2, 2)], time.time()))
        await eventually(lambda: valkey.calls("evalsha") > before, "it has arrived")
        line.cut()
        # The link repeats it by itself, because that is safe.
        assert await commit == [Outcome(DUPLICATE, 2)]
        assert await state(ledger, key("count")) == (2,)


async def test_nobody_to_connect_to(
    victim: ValkeyServer, make_ledger: MakeLedger
) -> None:
    """Without a server, every method says that the ledger is unavailable."""
    ledger = make_ledger(victim.url, timeout_s=0.05)
    victim.kill()
    cell = key("count")
    for attempt in (
        ledger.start(),
        ledger.claim(DeviceId("d"), ["me"], 0, 60),
        ledger.commit([sub("d", 1, 1)], time.time()),
        ledger.read([cell]),
        ledger.count_unique([[key("unique")]]),
        ledger.combinations("count", 0, 0, 10),
        ledger.watch("count", "1"),
    ):
        with pytest.raises(LedgerUnavailable):
            await attempt
    await ledger.unwatch("count", "1")


async def test_a_server_that_forgot_its_scripts(
    valkey: ValkeyServer, make_ledger: MakeLedger
) -> None:
    """Scripts are taught again, in the middle of everything."""
    ledger = make_ledger(valkey.url, prefix="scripts")
    await ledger.start()
    for number in range(1, 6):
        valkey.command("SCRIPT", "FLUSH")
        outcomes = await ledger.commit([sub("d", number, number)], time.time())
        assert outcomes == [Outcome(APPLIED, number)]


async def test_changes_are_told_after_a_reconnect(
    valkey: ValkeyServer, make_ledger: MakeLedger
) -> None:
    """Watches survive the loss of connections, and reads give what was missed."""
    ledger = make_ledger(valkey.url, prefix="again")
    await ledger.start()
    heard, cell = Heard(ledger), key("count")
    await ledger.watch("count", "1")
    await add(ledger, "d", {cell: (1,)})
    await eventually(lambda: heard.total(cell) == 1, "the change is heard")
    whole = asyncio.Event()
    ledger._pubsub.on_reconnected.append(whole.set)
    for kind in ("pubsub", "normal"):
        valkey.command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    await add(ledger, "d", {cell: (1,)})
    assert await state(ledger, cell) == (2,)
    await asyncio.wait_for(whole.wait(), 10)
    await add(ledger, "d", {cell: (1,)})
    await eventually(lambda: heard.total(cell) == 3, "the change is heard")


async def test_large_commits_are_split(
    victim: ValkeyServer, make_ledger: MakeLedger
) -> None:
    """A commit beyond the bound is several calls, in the order of each device."""
    ledger = make_ledger(victim.url, timeout_s=5, max_commit_events=50)
    await ledger.start()
    before = victim.calls("evalsha") + victim.calls("eval")
    batches: list[SubBatch] = [
        sub(f"d{device}", number * 10 + 1, number * 10 + 10)
        for number in range(5)
        for device in range(10)
    ]
    batches.append(sub("big", 1, 500))
    outcomes = await ledger.commit(batches, time.time())
    assert outcomes == [Outcome(APPLIED, batch.last) for batch in batches]
    assert victim.calls("evalsha") + victim.calls("eval") - before == 11
    assert await state(ledger, key("count")) == (1000,)


async def test_thousands_of_cells_in_one_commit(
    valkey: ValkeyServer, make_ledger: MakeLedger
) -> None:
    """Neither Lua's stack nor the size of a commit bounds what is counted."""
    ledger = make_ledger(valkey.url, timeout_s=10, prefix="many")
    await ledger.start()
    counts = {key("count", str(n)): (n,) for n in range(9000)}
    means = {key("mean", str(n)): (n, 1) for n in range(5000)}
    members = frozenset(map(str, range(9000)))
    await ledger.commit(
        [
            sub("d", 1, 1, counts),
            sub("d", 2, 2, means),
            sub("e", 1, 1, {key("unique"): members}),
        ],
        time.time(),
    )
    assert await states(ledger, counts) == counts
    assert await states(ledger, means) == means
    (count,) = await ledger.count_unique([[key("unique")]])
    assert abs(count.count - 9000) < 250


async def test_other_settings_are_refused(
    valkey: ValkeyServer, make_ledger: MakeLedger
) -> None:
    """A node with another number of shards would count twice, so it does not start."""
    await make_ledger(valkey.url, prefix="layout", shards=2).start()
    await make_ledger(valkey.url, prefix="layout", shards=2).start()
    with pytest.raises(ConfigError, match="shards=2") as caught:
        await make_ledger(valkey.url, prefix="layout", shards=3).start()
    assert caught.value.key == "ledger.shards"


SALES = {"event": "sale", "measure": "sum", "of": "amount", "by": ["shop"]}


def declared(**tables: dict[str, object]) -> CounterSet:
    """Counters as the configuration declares them."""
    return CounterSet(
        CounterDefinition.parse(name, table, 0.1) for name, table in tables.items()
    )


@pytest.mark.parametrize(
    "change",
    [
        {"measure": "max"},
        {"measure": "count", "of": None},
        {"of": "price"},
        {"by": []},
        {"by": ["city"]},
        {"decimals": 2},
    ],
)
async def test_a_counter_that_was_another_is_refused(
    valkey: ValkeyServer, make_ledger: MakeLedger, change: dict[str, object]
) -> None:
    """What is stored would be misread, so the node does not start, and says why."""
    valkey.command("DEL", "meanings:counters")
    before, new = declared(sales=SALES), declared(new=SALES, sales={**SALES, **change})
    await make_ledger(valkey.url, prefix="meanings", counters=before).start()
    with pytest.raises(ConfigError, match="meanings:counters") as caught:
        await make_ledger(valkey.url, prefix="meanings", counters=new).start()
    assert caught.value.key == "counters.sales"
    stored = 'measure = "sum", of = "amount", by = ["shop"], decimals = 6'
    assert f"was counted with {stored};" in str(caught.value)
    assert valkey.command("HKEYS", "meanings:counters") == [b"sales"]
    valkey.command("HDEL", "meanings:counters", "sales")
    await make_ledger(valkey.url, prefix="meanings", counters=new).start()


async def test_what_does_not_change_cells_may_change(
    valkey: ValkeyServer, make_ledger: MakeLedger
) -> None:
    """Windows, filters and bounds; counters come and go; a count has no decimals."""
    more = {"windows": ["5m"], "where": {"a": 1}, "max_cells": 5, "event": "bill"}
    for counters in (
        declared(sales=SALES, likes={"event": "like"}),
        declared(sales={**SALES, **more}, likes={"event": "like", "decimals": 2}),
        declared(views={"event": "view"}),
        declared(),
        declared(sales=SALES),
    ):
        await make_ledger(valkey.url, prefix="same", counters=counters).start()
    found = valkey.command("HKEYS", "same:counters")
    assert set(found) == {b"sales", b"likes", b"views"}


@pytest.mark.parametrize(
    "denied", ["hset", "pfadd", "expireat", "hincrby", "publish", "pubsub|numsub"]
)
async def test_commands_that_are_not_permitted_show_at_start(
    make_ledger: MakeLedger, denied: str
) -> None:
    """A user without a command that commits need is told before the first one."""
    with ValkeyServer() as server:
        rights = ("on", ">p", "~*", "&*", "+@all", f"-{denied}")
        server.command("ACL", "SETUSER", "u", *rights)
        ledger = make_ledger(f"redis://u:p@127.0.0.1:{server.port}")
        with pytest.raises(LedgerUnavailable, match=r"(?i)permission"):
            await ledger.start()


async def test_no_memory_left(victim: ValkeyServer, make_ledger: MakeLedger) -> None:
    """A commit that Redis refuses for want of memory leaves everything as it was."""
    ledger = make_ledger(victim.url)
    await ledger.start()
    await ledger.commit([sub("d", 1, 1)], time.time())
    victim.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(LedgerUnavailable, match="maxmemory"):
        await ledger.commit([sub("d", 2, 2)], time.time())
    victim.command("CONFIG", "SET", "maxmemory", "0")
    assert await state(ledger, key("count")) == (1,)
    outcomes = await ledger.commit([sub("d", 2, 2)], time.time())
    assert outcomes == [Outcome(APPLIED, 2)]


async def test_a_key_that_somebody_has_spoilt(
    victim: ValkeyServer, make_ledger: MakeLedger
) -> None:
    """A cell that cannot be changed does not keep the others from being counted."""
    ledger = make_ledger(victim.url)
    await ledger.start()
    deltas = {key("unique"): frozenset("a"), key("count"): (1,)}
    await ledger.commit([sub("d", 1, 1, deltas)], time.time())
    (name,) = victim.command("KEYS", "*:u:unique:*")
    victim.command("SET", name, "spoilt")
    outcomes = await ledger.commit([sub("d", 2, 2, deltas)], time.time())
    assert outcomes == [Outcome(APPLIED, 2)]
    assert await state(ledger, key("count")) == (2,)


async def test_what_is_kept_is_small(
    victim: ValkeyServer, make_ledger: MakeLedger
) -> None:
    """Marks and buckets expire by themselves; totals do not; nothing else is kept."""
    ledger = make_ledger(victim.url)
    await ledger.start()
    bucket = int(time.time() // 300)
    cells = [key(name, "1", 300, bucket) for name in ("count", "mean")]
    await add(ledger, "d", {cells[0]: (1,), cells[1]: (1, 1), key("count"): (1,)})
    await add(ledger, "d", {key("unique", "1", 300, bucket): frozenset("a")})
    names = {name.decode().split("}")[-1]: name for name in victim.command("KEYS", "*")}
    ends = {short: victim.command("TTL", name) for short, name in names.items()}
    assert ends.pop(":m:d") == pytest.approx(3600, abs=5)
    for kept in (":c:count:0:0", "t:ledger", "t:counters"):
        assert ends.pop(kept) == -1
    lifetime = 300 + 300 + 120 + 300  # the bucket, its window, lateness, a margin
    assert set(ends) == {
        f":c:count:300:{bucket}",
        f":c:mean:300:{bucket}",
        f":c:unique:300:{bucket}",
        f":u:unique:300:{bucket}:1",
    }
    assert all(lifetime - 305 < end <= lifetime for end in ends.values())
