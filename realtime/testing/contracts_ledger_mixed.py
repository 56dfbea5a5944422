"""
The contract of a ledger, further part: commits in which only some sub-batches count.

A ledger may add what a commit's sub-batches add together. These tests see to it that
nothing of those that do not count is in it, for every measure, and that the others
count all the same.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from realtime.adapters.ledger.port import DeviceTaken
from realtime.core.cells import CellKey, Delta
from realtime.core.ledger import Outcome, SubBatch, Verdict
from realtime.testing.ledger_kit import (
    FEW,
    OTHER,
    TTL_S,
    Heard,
    Ledgers,
    eventually,
    key,
    state,
    states,
    sub,
)
from realtime.types import DeviceId

APPLIED, DUPLICATE = Verdict.APPLIED, Verdict.DUPLICATE
OVERLAP, GAP = Verdict.OVERLAP, Verdict.GAP

PLAIN = [key(name) for name in ("count", "sum", "min", "max", "mean")]


def _every_measure(amount: int, member: str) -> dict[CellKey, Delta]:
    count, total, least, most, mean = PLAIN
    return {
        count: (1,),
        total: (amount,),
        least: (amount,),
        most: (amount,),
        mean: (amount, 1),
        key("unique"): frozenset([member]),
    }


def _many(first: int, last: int) -> list[SubBatch]:
    """Thirty devices with the same numbers, each with one of everything."""
    return [
        sub(f"d{n}", first, last, _every_measure(n, f"user-{n}")) for n in range(30)
    ]


class MixedContract:
    """What is not new is left out, and nothing else."""

    @pytest.mark.parametrize(
        ("first", "last", "verdict"),
        [(1, 5, DUPLICATE), (5, 5, DUPLICATE), (4, 6, OVERLAP), (7, 7, GAP)],
    )
    @pytest.mark.parametrize("place", [0, 15, 30])
    async def test_one_of_many_does_not_count(
        self, ledgers: Ledgers, place: int, first: int, last: int, verdict: Verdict
    ) -> None:
        """Wherever it stands, it adds to no cell, and its mark stays."""
        ledger, now = await ledgers.open(), time.time()
        await ledger.commit([sub("x", 1, 5, {})], now)
        batches, extreme = _many(1, 1), _every_measure(-1000, "nobody")
        extreme[key("max")] = (1000,)
        batches.insert(place, sub("x", first, last, extreme))
        outcomes = await ledger.commit(batches, now)
        assert outcomes.pop(place) == Outcome(verdict, 5)
        assert outcomes == [Outcome(APPLIED, 1)] * 30
        total = sum(range(30))
        assert await states(ledger, PLAIN) == dict(
            zip(PLAIN, [(30,), (total,), (0,), (29,), (total, 30)], strict=True)
        )
        assert (await ledger.count_unique([[key("unique")]]))[0].count == 30
        assert await ledger.claim(DeviceId("x"), ["me"], 0, TTL_S) == 5

    async def test_many_reasons_in_one_commit(self, ledgers: Ledgers) -> None:
        """Duplicates, overlaps and gaps of many devices, between those that count."""
        ledger, now = await ledgers.open(), time.time()
        await ledger.commit([sub(f"d{n}", 1, 4, {}) for n in range(40)], now)
        numbers = [(5, 6), (1, 4), (3, 5), (6, 6)]
        batches = [
            sub(
                f"d{n}",
                *numbers[n % 4],
                {key("count", str(n)): (1,), key("all", ""): (1,)},
            )
            for n in range(40)
        ]
        outcomes = await ledger.commit(batches, now)
        expected = [(APPLIED, 6), (DUPLICATE, 4), (OVERLAP, 4), (GAP, 4)]
        assert outcomes == [Outcome(*expected[n % 4]) for n in range(40)]
        assert await state(ledger, key("all", "")) == (10,)
        found = await ledger.combinations("count", 0, 0, 100)
        assert found == sorted(str(n) for n in range(0, 40, 4))

    async def test_a_device_whose_first_part_does_not_count(
        self, ledgers: Ledgers
    ) -> None:
        """Each sub-batch of a device is judged by what those before it have left."""
        ledger, now = await ledgers.open(), time.time()
        await ledger.commit([sub("a", 1, 2, {}), sub("c", 1, 2, {})], now)
        numbers = [
            ("a", 1, 2), ("b", 2, 3), ("c", 2, 3), ("d", 1, 1),
            ("a", 3, 4), ("b", 1, 1), ("c", 3, 4), ("d", 3, 3),
            ("a", 6, 6), ("b", 2, 3), ("c", 4, 5), ("d", 2, 4),
        ]  # fmt: skip
        batches = [
            sub(device, first, last, {key("sum"): (10**at,)})
            for at, (device, first, last) in enumerate(numbers)
        ]
        assert await ledger.commit(batches, now) == [
            Outcome(DUPLICATE, 2), Outcome(GAP, 0), Outcome(OVERLAP, 2),
            Outcome(APPLIED, 1), Outcome(APPLIED, 4), Outcome(APPLIED, 1),
            Outcome(APPLIED, 4), Outcome(GAP, 1), Outcome(GAP, 4),
            Outcome(APPLIED, 3), Outcome(OVERLAP, 4), Outcome(APPLIED, 4),
        ]  # fmt: skip
        applied = 10**3 + 10**4 + 10**5 + 10**6 + 10**9 + 10**11
        assert await state(ledger, key("sum")) == (applied,)

    async def test_owners_stay_in_a_mixed_commit(self, ledgers: Ledgers) -> None:
        """A mark keeps its owner, or none, whether it moves or not."""
        ledger, now = await ledgers.open(), time.time()
        for device in ("mine", "idle"):
            await ledger.claim(DeviceId(device), ["me|and|me"], 7, TTL_S)
        batches = [sub("free", 1, 1), sub("mine", 8, 9), sub("idle", 7, 7)]
        outcomes = await ledger.commit([*batches, sub("mine", 10, 10)], now)
        assert [outcome.mark for outcome in outcomes] == [1, 9, 7, 10]
        for device, mark in (("mine", 10), ("idle", 7)):
            with pytest.raises(DeviceTaken):
                await ledger.claim(DeviceId(device), ["you"], 0, TTL_S)
            found = await ledger.claim(DeviceId(device), ["me|and|me"], 0, TTL_S)
            assert found == mark
        assert await ledger.claim(DeviceId("free"), ["you"], 0, TTL_S) == 1

    async def test_a_commit_of_which_a_part_was_counted_elsewhere(
        self, ledgers: Ledgers
    ) -> None:
        """What another node has counted of it meanwhile is left out, however often."""
        one, two = await ledgers.open(), await ledgers.open()
        now, batches = time.time(), _many(1, 3)
        await two.commit(batches[::3], now)
        outcomes = await one.commit(batches, now)
        again = await two.commit(batches, now)
        expected = [DUPLICATE, APPLIED, APPLIED] * 10
        assert outcomes == [Outcome(verdict, 3) for verdict in expected]
        assert again == [Outcome(DUPLICATE, 3)] * 30
        assert await state(one, key("mean")) == (sum(range(30)), 30)

    async def test_nodes_that_send_parts_of_the_same_at_once(
        self, ledgers: Ledgers
    ) -> None:
        """Nodes that race for the marks of many devices count everything once."""
        nodes = [await ledgers.open() for _ in range(3)]
        now = time.time()
        applied: list[int] = []

        async def send(place: int) -> None:
            for number in range(1, 9):
                batches = [
                    sub(f"d{n}", number, number, {key("sum"): (1,), key("count"): (1,)})
                    for n in range(place, 20 + place)
                ]
                outcomes = await nodes[place].commit(batches, now)
                applied.extend(o.mark for o in outcomes if o.verdict is APPLIED)

        await asyncio.gather(*map(send, range(3)))
        assert len(applied) == 22 * 8
        assert await state(nodes[0], key("count")) == (22 * 8,)
        assert await state(nodes[2], key("sum")) == (22 * 8,)

    async def test_a_full_bucket_in_a_mixed_commit(self, ledgers: Ledgers) -> None:
        """Only what counts takes up room, or is added to the other cell."""
        ledger, now = await ledgers.open(), time.time()
        names = [key("few-sum", str(n)) for n in range(FEW + 2)]
        for number in (1, 2):
            batches = [
                sub(f"d{n}", number, number, {cell: (1,)})
                for n, cell in enumerate(names)
            ]
            gone = sub("x", 9, 9, {key("few-sum", "gone"): (1000,)})
            await ledger.commit([gone, *batches], now)
        found = await states(ledger, [*names, key("few-sum", OTHER)])
        assert sum(value[0] for value in found.values() if value) == 2 * (FEW + 2)
        assert "gone" not in await ledger.combinations("few-sum", 0, 0, 10)

    async def test_times_of_marks_may_differ(self, ledgers: Ledgers) -> None:
        """Each device's mark is kept for as long as its own sub-batch says."""
        ledger, now = await ledgers.open(), time.time()
        await ledger.commit(
            [sub("brief", 1, 3, ttl_s=0.05), sub("long", 1, 3), sub("x", 9, 9)], now
        )
        await asyncio.sleep(0.1)
        outcomes = await ledger.commit([sub("brief", 1, 1), sub("long", 4, 4)], now)
        assert outcomes == [Outcome(APPLIED, 1), Outcome(APPLIED, 4)]

    async def test_a_mixed_commit_tells_once(self, ledgers: Ledgers) -> None:
        """Who watches hears of each changed cell once, with what really counted."""
        ledger, now = await ledgers.open(), time.time()
        heard = Heard(ledger)
        await ledger.watch("count", "1")
        batches = [sub(f"d{n}", 1 + n % 2, 2) for n in range(10)]
        await ledger.commit(batches, now)
        await eventually(lambda: heard.total(key("count")) == 10, "all shards tell")
        assert len(heard.changes) <= ledgers.shards
        await ledger.commit([sub("d1", 7, 7), sub("d0", 2, 2)], now)
        await ledger.commit([sub("d0", 3, 3)], now)
        await eventually(lambda: heard.total(key("count")) == 11, "the next is heard")
        assert len(heard.changes) <= ledgers.shards + 1
