"""
The contract of a ledger, third part: who is told of changes.

Changes arrive in their own time. That something does *not* arrive is shown by what was
made to arrive after it on the same way.
"""

from __future__ import annotations

import asyncio
import time

from realtime.adapters.ledger.port import Ledger
from realtime.testing.ledger_kit import (
    FEW,
    OTHER,
    Deltas,
    Heard,
    Ledgers,
    add,
    eventually,
    key,
    state,
    sub,
)


async def _flush(ledger: Ledger, heard: Heard) -> None:
    """Wait until everything that was told before has been heard."""
    marker = key("all", "")
    await ledger.watch("all", "")
    before = heard.total(marker)
    # Every shard has its own way: tell something on each of them.
    for number in range(40):
        await add(ledger, f"flush-{number}", {marker: (1,)})
    total = await state(ledger, marker)
    assert total is not None
    await eventually(lambda: heard.total(marker) == total[0], "the marker is heard")
    assert heard.total(marker) > before


class ChangesContract:
    """Whoever watches a combination is told what it has become."""

    async def test_a_change_is_told(self, ledgers: Ledgers) -> None:
        """A change carries the new state, as a read would give it, shard by shard."""
        ledger, cell = await ledgers.open(), key("count")
        heard = Heard(ledger)
        await ledger.watch("count", "1")
        for number in range(20):
            await add(ledger, f"d{number % 7}", {cell: (number,)})
        await eventually(lambda: heard.total(cell) == 190, "all changes are heard")
        for part in (await ledger.read([cell]))[cell]:
            change = heard.latest(cell).get(part.shard)
            assert (change.state if change else None) == part.state
            assert change is None or change.rev <= part.rev

    async def test_states_have_the_shape_of_their_measure(
        self, ledgers: Ledgers
    ) -> None:
        """Changes of every measure carry exact states; those of unique counts none."""
        ledger = await ledgers.open()
        heard = Heard(ledger)
        deltas: Deltas = {
            key("count"): (3,),
            key("sum"): (-(2**60),),
            key("min"): (-5,),
            key("max"): (-6,),
            key("mean"): (2**55 + 1, 2),
            key("unique"): frozenset("ab"),
        }
        for cell in deltas:
            await ledger.watch(cell.counter, cell.dims)
        await add(ledger, "d", deltas)
        await eventually(lambda: len(heard.changes) == 6, "six changes are heard")
        states = {change.key: change.state for change in heard.changes}
        assert states == {**deltas, key("unique"): None}

    async def test_all_grains_of_a_combination_are_told(self, ledgers: Ledgers) -> None:
        """One watch covers the total and every bucket."""
        ledger, bucket = await ledgers.open(), int(time.time() // 300)
        heard = Heard(ledger)
        await ledger.watch("count", "1")
        cells = [key("count"), *(key("count", "1", 300, bucket - n) for n in (0, 1))]
        await add(ledger, "d", dict.fromkeys(cells, (1,)))
        await eventually(lambda: len(heard.changes) == 3, "three changes are heard")
        assert {change.key for change in heard.changes} == set(cells)

    async def test_a_commit_tells_of_a_cell_once(self, ledgers: Ledgers) -> None:
        """Many additions to a cell in one commit are one change per shard."""
        ledger, cell = await ledgers.open(), key("count")
        heard = Heard(ledger)
        await ledger.watch("count", "1")
        await ledger.watch("count", "1")  # twice is once
        batches = [sub(f"d{n % 9}", n // 9 + 1, n // 9 + 1) for n in range(90)]
        await ledger.commit(batches, time.time())
        await eventually(lambda: heard.total(cell) == 90, "the change is heard")
        await _flush(ledger, heard)
        told = [change.shard for change in heard.changes if change.key == cell]
        assert len(told) == len(set(told)) <= ledgers.shards

    async def test_only_what_is_watched_is_told(self, ledgers: Ledgers) -> None:
        """Neither other combinations are told, nor anything after unwatch."""
        ledger = await ledgers.open()
        heard = Heard(ledger)
        for dims in ("1", "2"):
            await ledger.watch("count", dims)
        await ledger.unwatch("count", "2")
        await ledger.unwatch("count", "3")
        deltas = {key("count", dims): (1,) for dims in ("1", "2", "3")}
        await add(ledger, "d", {**deltas, key("sum"): (1,)})
        await _flush(ledger, heard)
        told = {change.key for change in heard.changes} - {key("all", "")}
        assert told == {key("count", "1")}

    async def test_watching_again_is_told_again(self, ledgers: Ledgers) -> None:
        """A watch that follows an unwatch at once is in force when it returns."""
        ledger, cell = await ledgers.open(), key("count")
        heard = Heard(ledger)
        for _ in range(3):
            await ledger.watch("count", "1")
            await ledger.unwatch("count", "1")
        await asyncio.gather(ledger.unwatch("count", "1"), ledger.watch("count", "1"))
        await add(ledger, "d", {cell: (1,)})
        await eventually(lambda: heard.total(cell) == 1, "the change is heard")

    async def test_what_changes_nothing_is_not_told(self, ledgers: Ledgers) -> None:
        """Duplicates, gaps, known members and lesser extremes are no changes."""
        ledger, now = await ledgers.open(), time.time()
        deltas: Deltas = {
            key("max"): (5,),
            key("min"): (-5,),
            key("unique"): frozenset("a"),
        }
        await ledger.commit([sub("d", 1, 1, deltas)], now)
        heard = Heard(ledger)
        for cell in (*deltas, key("count")):
            await ledger.watch(cell.counter, cell.dims)
        lesser: Deltas = {**deltas, key("max"): (4,), key("min"): (4,)}
        await ledger.commit([sub("d", 1, 1), sub("d", 7, 9)], now)
        await ledger.commit([sub("d", 2, 2, deltas), sub("d", 3, 3, lesser)], now)
        await _flush(ledger, heard)
        assert {change.key for change in heard.changes} == {key("all", "")}

    async def test_the_other_cell_is_told_once(self, ledgers: Ledgers) -> None:
        """What overflows is told as a change of the other cell."""
        ledger, other = await ledgers.open(), key("few-count", OTHER)
        heard = Heard(ledger)
        await ledger.watch("few-count", OTHER)
        deltas = {key("few-count", str(n)): (1,) for n in range(FEW + 4)}
        await add(ledger, "d", deltas)
        await eventually(lambda: heard.total(other) == 4, "the change is heard")
        await _flush(ledger, heard)
        assert sum(change.key == other for change in heard.changes) == 1

    async def test_every_node_is_told(self, ledgers: Ledgers) -> None:
        """Ledgers on one storage hear of each other's changes, if they watch."""
        one, two, three = [await ledgers.open() for _ in range(3)]
        heard = [Heard(ledger) for ledger in (one, two, three)]
        await one.watch("count", "1")
        await two.watch("count", "1")
        await three.watch("count", "2")
        await add(one, "d", {key("count"): (1,)})
        await add(two, "e", {key("count"): (2,)})
        for each in heard[:2]:
            await eventually(lambda e=each: e.total(key("count")) == 3, "both hear")  # type: ignore[misc]
        await _flush(three, heard[2])
        assert {change.key for change in heard[2].changes} == {key("all", "")}

    async def test_changes_come_in_order(self, ledgers: Ledgers) -> None:
        """The changes of one cell in one shard come with growing revs and states."""
        one, two = await ledgers.open(), await ledgers.open()
        heard = Heard(two)
        await two.watch("count", "1")
        now = time.time()

        async def send(ledger: Ledger, name: str) -> None:
            for number in range(1, 41):
                await ledger.commit([sub(name, number, number)], now)

        await asyncio.gather(send(one, "a"), send(two, "b"), send(one, "c"))
        cell = key("count")
        await eventually(lambda: heard.total(cell) == 120, "all changes are heard")
        for shard in range(ledgers.shards):
            told = [change for change in heard.changes if change.shard == shard]
            revs = [change.rev for change in told]
            assert revs == sorted(set(revs))
            states = [change.state for change in told if change.state]
            assert states == sorted(set(states))

    async def test_a_closed_ledger_tells_nothing(self, ledgers: Ledgers) -> None:
        """After aclose, which may be repeated, on_change is not called any more."""
        one, two = await ledgers.open(), await ledgers.open()
        quiet, loud = Heard(one), Heard(two)
        await one.watch("count", "1")
        await one.aclose()
        await one.aclose()
        await two.watch("count", "1")
        await add(two, "d", {key("count"): (1,)})
        await eventually(lambda: loud.total(key("count")) == 1, "the change is heard")
        assert quiet.changes == []
