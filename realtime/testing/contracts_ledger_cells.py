"""
The contract of a ledger, second part: what cells hold.
"""

from __future__ import annotations

import asyncio
import math
import time

import pytest

from realtime.core.cells import CellKey, Delta, State
from realtime.core.ledger import Outcome, Verdict
from realtime.testing.ledger_kit import (
    FEW,
    MAX_SUM,
    OTHER,
    Ledgers,
    add,
    key,
    state,
    states,
    sub,
)

EXACT = 2**53


class CellsContract:
    """Every measure, exactly; bounded in number and in time."""

    @pytest.mark.parametrize(
        ("measure", "deltas", "expected"),
        [
            ("count", [(1,), (2,), (3,)], (6,)),
            ("sum", [(250,), (-1000,), (0,)], (-750,)),
            ("sum", [(0,)], (0,)),
            ("min", [(5,), (-7,), (9,)], (-7,)),
            ("max", [(-5,), (-7,), (-9,)], (-5,)),
            ("min", [(0,), (1,)], (0,)),
            ("max", [(0,), (-1,)], (0,)),
            ("mean", [(10, 2), (-4, 1), (0, 3)], (6, 6)),
        ],
    )
    async def test_additions_are_merged(
        self, ledgers: Ledgers, measure: str, deltas: list[State], expected: State
    ) -> None:
        """Additions of one commit, of several, and of several devices become one."""
        ledger, cell, now = await ledgers.open(), key(measure), time.time()
        batches = [sub(f"d{n}", 1, 1, {cell: d}) for n, d in enumerate(deltas)]
        await ledger.commit(batches, now)
        assert await state(ledger, cell) == expected
        await ledgers.renew()
        ledger = await ledgers.open()
        batches = [sub("d", n + 1, n + 1, {cell: d}) for n, d in enumerate(deltas)]
        await ledger.commit(batches, now)
        assert await state(ledger, cell) == expected
        await ledgers.renew()
        ledger = await ledgers.open()
        for delta in deltas:
            await add(ledger, "d", {cell: delta})
        assert await state(ledger, cell) == expected

    async def test_large_sums_are_exact(self, ledgers: Ledgers) -> None:
        """No digit is lost above 2**53, whatever the grouping."""
        ledger, cell, now = await ledgers.open(), key("sum"), time.time()
        amounts = [EXACT - 1, EXACT - 1, 3, -EXACT + 2, 5 * EXACT + 1, 1, -2, EXACT, 7]
        batches = [sub("d", n + 1, n + 1, {cell: (a,)}) for n, a in enumerate(amounts)]
        await ledger.commit(batches, now)
        assert await state(ledger, cell) == (sum(amounts),)
        for amount in amounts:
            await add(ledger, "d", {cell: (amount,)})
        assert await state(ledger, cell) == (2 * sum(amounts),)

    async def test_large_means_are_exact(self, ledgers: Ledgers) -> None:
        """Both parts of a mean are exact above 2**53."""
        ledger, cell = await ledgers.open(), key("mean")
        for _ in range(3):
            await add(ledger, "d", {cell: (EXACT - 1, 1), key("mean", "2"): (1, EXACT)})
        found = await states(ledger, [cell, key("mean", "2")])
        assert list(found.values()) == [(3 * EXACT - 3, 3), (3, 3 * EXACT)]

    @pytest.mark.parametrize("sign", [1, -1])
    async def test_sums_saturate(self, ledgers: Ledgers, sign: int) -> None:
        """A sum that would leave 64 bits stays at the largest, and can come back."""
        ledger, cell = await ledgers.open(), key("sum")
        await add(ledger, "d", {cell: (sign * (MAX_SUM - 10),)})
        await add(ledger, "d", {cell: (sign * 10,)})
        assert await state(ledger, cell) == (sign * MAX_SUM,)
        await add(ledger, "d", {cell: (sign * 5,)})
        assert await state(ledger, cell) == (sign * MAX_SUM,)
        await add(ledger, "d", {cell: (sign * MAX_SUM,)})
        assert await state(ledger, cell) == (sign * MAX_SUM,)
        await add(ledger, "d", {cell: (-sign * 5,)})
        assert await state(ledger, cell) == (sign * (MAX_SUM - 5),)

    async def test_a_sub_batch_changes_all_its_cells(self, ledgers: Ledgers) -> None:
        """One sub-batch adds to every counter, combination and bucket that it names."""
        ledger = await ledgers.open()
        bucket = int(time.time() // 300)
        deltas: dict[CellKey, Delta] = {
            key("count", "1"): (1,),
            key("count", "2"): (2,),
            key("count", "1", 300, bucket): (3,),
            key("count", "1", 300, bucket - 1): (4,),
            key("all", ""): (5,),
            key("max", "1"): (6,),
        }
        await add(ledger, "d", deltas)
        assert await states(ledger, deltas) == deltas

    async def test_what_nobody_added_to_is_nothing(self, ledgers: Ledgers) -> None:
        """A cell without additions has no state, in any shard."""
        ledger = await ledgers.open()
        await add(ledger, "d", {key("count", "1"): (1,)})
        cells = [key("count", "2"), key("mean", "2"), key("count", "1", 300, 7)]
        found = await ledger.read(cells)
        assert list(found) == cells
        for parts in found.values():
            assert [part.shard for part in parts] == list(range(ledgers.shards))
            assert {part.state for part in parts} == {None}
        assert await ledger.read([]) == {}

    async def test_dims_are_kept_apart(self, ledgers: Ledgers) -> None:
        """Whatever the encoded dims, different ones are different cells."""
        ledger = await ledgers.open()
        names = ["1", "~none", "~empty", "~~", "%00", "%7Bx%7D", "a%3Bb", "r", "n", "0"]
        for kind in ("count", "mean", "unique"):
            deltas: dict[CellKey, Delta] = {}
            for n, dims in enumerate(names, 1):
                members = frozenset(f"{dims}{m}" for m in range(n))
                plain: State = (n,) if kind == "count" else (n, 1)
                deltas[key(kind, dims)] = members if kind == "unique" else plain
            await add(ledger, "d", deltas)
            if kind == "unique":
                counts = await ledger.count_unique([[cell] for cell in deltas])
                assert [each.count for each in counts] == list(range(1, 11))
            else:
                assert await states(ledger, deltas) == deltas
            found = await ledger.combinations(kind, 0, 0, 100)
            assert found == sorted(names)

    async def test_reading_many_cells_at_once(self, ledgers: Ledgers) -> None:
        """A read may name thousands of cells of one bucket, and hundreds of buckets."""
        ledger = await ledgers.open()
        now_bucket = int(time.time() // 300)
        cells = [key("count", str(n)) for n in range(1500)]
        cells += [key("count", "1", 300, now_bucket - n) for n in range(300)]
        recent = [c for c in cells if not c.grain_s or c.bucket > now_bucket - 1]
        await add(ledger, "d", dict.fromkeys(recent, (1,)))
        found = await states(ledger, cells)
        assert {cell for cell, value in found.items() if value == (1,)} == set(recent)

    async def test_the_revision_grows(self, ledgers: Ledgers) -> None:
        """Each change of a cell comes with a larger rev than the one before."""
        ledger, cell = await ledgers.open(), key("count")
        before = -1
        for _ in range(5):
            await add(ledger, "d", {cell: (1,)})
            rev = sum(part.rev for part in (await ledger.read([cell]))[cell])
            assert rev > before
            before = rev

    # -- unique counts -----------------------------------------------------------------

    async def test_unique_members_count_once(self, ledgers: Ledgers) -> None:
        """Members seen again, by any device and in any commit, change nothing."""
        ledger, cell, now = await ledgers.open(), key("unique"), time.time()
        members = [frozenset(f"user-{n}" for n in range(s, s + 20)) for s in (0, 10, 5)]
        for attempt in range(2):
            batches = [
                sub(f"d{n}", attempt + 1, attempt + 1, {cell: part})
                for n, part in enumerate(members)
            ]
            await ledger.commit(batches, now)
            (count,) = await ledger.count_unique([[cell]])
            assert count.count == 30

    async def test_unique_counts_are_close(self, ledgers: Ledgers) -> None:
        """Of thousands of members, the count is within three standard errors."""
        ledger, cell, now = await ledgers.open(), key("unique"), time.time()
        everybody = [f"user-{n}" for n in range(6000)]
        for start in range(0, 6000, 1000):
            part = everybody[start : start + 1000]
            batches = [sub(f"d{start}", 1, 1, {cell: frozenset(part)})]
            batches += [sub(f"e{start}", 1, 1, {cell: frozenset(part[:500])})]
            await ledger.commit(batches, now)
        (count,) = await ledger.count_unique([[cell]])
        assert abs(count.count - 6000) < 3 * 0.0081 * 6000

    async def test_unions_count_members_once(self, ledgers: Ledgers) -> None:
        """The union of cells counts a member of several of them once."""
        ledger = await ledgers.open()
        first, second, nobody = (key("unique", dims) for dims in "123")
        await add(ledger, "d", {first: frozenset("abc"), second: frozenset("cd")})
        await add(ledger, "e", {first: frozenset("ax")})
        counts = await ledger.count_unique(
            [[first, second], [second], [nobody], [first, nobody], []]
        )
        assert [each.count for each in counts] == [5, 2, 0, 4, 0]
        assert await ledger.count_unique([]) == []

    async def test_the_revision_of_a_union_grows_by_changes(
        self, ledgers: Ledgers
    ) -> None:
        """A new member makes the rev larger; one seen before leaves it as it is."""
        ledger, cell = await ledgers.open(), key("unique")
        revs = []
        for member in "aab":
            await add(ledger, "d", {cell: frozenset(member)})
            revs.append((await ledger.count_unique([[cell]]))[0].rev)
        assert 0 < revs[0] == revs[1] < revs[2]

    async def test_members_are_not_interpreted(self, ledgers: Ledgers) -> None:
        """Any string is a member, and different ones are different."""
        ledger, cell = await ledgers.open(), key("unique")
        members = frozenset(
            ["", " ", "\0", "a\nb", "ü€🙂", "{x}", "1", "1.0", "x" * 999]
        )
        await add(ledger, "d", {cell: members})
        assert (await ledger.count_unique([[cell]]))[0].count == len(members)

    # -- bounds ------------------------------------------------------------------------

    @pytest.mark.parametrize("at_once", [True, False])
    @pytest.mark.parametrize("measure", ["count", "sum", "min", "max", "mean"])
    async def test_a_full_bucket_overflows_into_the_other_cell(
        self, ledgers: Ledgers, measure: str, at_once: bool
    ) -> None:
        """Combinations beyond max_cells are added up in the other cell."""
        ledger, counter = await ledgers.open(), f"few-{measure}"
        cells = [key(counter, str(n)) for n in range(FEW + 3)]
        amounts: list[State] = [(n + 1, 1)[: 1 + (measure == "mean")] for n in range(6)]
        if at_once:
            await add(ledger, "d", dict(zip(cells, amounts, strict=True)))
        else:
            for cell, amount in zip(cells, amounts, strict=True):
                await add(ledger, "d", {cell: amount})
        expected = {
            "count": (15,), "sum": (15,), "min": (4,), "max": (6,), "mean": (15, 3)
        }  # fmt: skip
        found = await states(ledger, [*cells, key(counter, OTHER)])
        kept = {cell.dims: value for cell, value in found.items() if value}
        assert len(kept) == FEW + 1
        assert kept[OTHER] == expected[measure] or at_once
        # At once, which combinations are kept is open; that nothing is lost is not.
        if measure in ("count", "sum", "mean"):
            assert sum(value[0] for value in kept.values()) == 21
        assert await ledger.combinations(counter, 0, 0, 10) == sorted(kept)

    @pytest.mark.parametrize("measure", ["sum", "mean"])
    async def test_large_amounts_overflow_exactly(
        self, ledgers: Ledgers, measure: str
    ) -> None:
        """No digit above 2**53 is lost on the way to the other cell."""
        ledger, counter = await ledgers.open(), f"few-{measure}"
        width = 1 + (measure == "mean")
        full = {key(counter, str(n)): (0, 0)[:width] for n in range(FEW)}
        await add(ledger, "d", full)
        large = {
            key(counter, "x"): (EXACT + 1, EXACT + 5)[:width],
            key(counter, "y"): (EXACT - 1, EXACT - 1)[:width],
            key(counter, "z"): (-1, 1)[:width],
        }
        await add(ledger, "d", large)
        expected = (2 * EXACT - 1, 2 * EXACT + 5)[:width]
        assert await state(ledger, key(counter, OTHER)) == expected

    async def test_a_full_bucket_still_counts_what_it_has(
        self, ledgers: Ledgers
    ) -> None:
        """Combinations that were there before the bucket was full go on as before."""
        ledger = await ledgers.open()
        for n in range(FEW + 2):
            await add(ledger, "d", {key("few-count", str(n)): (1,)})
        await add(ledger, "d", {key("few-count", str(n)): (10,) for n in range(6)})
        cells = [key("few-count", dims) for dims in ("0", "1", "2", "3", OTHER)]
        found = await states(ledger, cells)
        assert list(found.values()) == [(11,), (11,), (11,), None, (32,)]

    async def test_unique_counts_overflow_too(self, ledgers: Ledgers) -> None:
        """Members of combinations beyond max_cells are counted in the other cell."""
        ledger = await ledgers.open()
        for n in range(FEW):
            await add(ledger, "d", {key("few-unique", str(n)): frozenset("ab")})
        more = {key("few-unique", str(n)): frozenset(f"x{n}") for n in range(2, 6)}
        await add(ledger, "d", more)
        cells = [[key("few-unique", dims)] for dims in ("0", "2", "3", OTHER)]
        counts = await ledger.count_unique(cells)
        assert [each.count for each in counts] == [2, 4, 0, 4]
        found = await ledger.combinations("few-unique", 0, 0, 10)
        assert found == ["0", "1", "2", OTHER]

    async def test_combinations_are_sorted_and_limited(self, ledgers: Ledgers) -> None:
        """The first combinations in order are listed, each once over all shards."""
        ledger, now = await ledgers.open(), time.time()
        assert await ledger.combinations("count", 0, 0, 10) == []
        batches = [
            sub(f"d{n}", 1, 1, {key("count", f"{n % 60:02}"): (1,)}) for n in range(120)
        ]
        await ledger.commit(batches, now)
        names = [f"{n:02}" for n in range(60)]
        assert await ledger.combinations("count", 0, 0, 1000) == names
        assert await ledger.combinations("count", 0, 0, 7) == names[:7]
        assert await ledger.combinations("count", 300, 1, 7) == []

    async def test_cells_whose_windows_have_passed_are_forgotten(
        self, ledgers: Ledgers
    ) -> None:
        """A bucket goes when nobody can need it; the mark and other buckets stay."""
        ledger, lifetime_s = await ledgers.open(), 62
        late = math.ceil(time.time() + 0.3) - lifetime_s  # kept for 0.3 to 1.3 s more
        old = [key("brief", "1", 1, late), key("brief-unique", "1", 1, late)]
        new = [key("brief", "1", 1, late + 900), key("count")]
        await add(ledger, "d", {old[0]: (1,), old[1]: frozenset("a"), new[0]: (1,)})
        assert await state(ledger, old[0]) == (1,)
        deadline = time.monotonic() + 5
        while await state(ledger, old[0]) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            await add(ledger, "d", {new[1]: (1,)})
        assert await state(ledger, old[0]) is None
        assert await ledger.combinations("brief", 1, late, 10) == []
        assert (await ledger.count_unique([[old[1]]]))[0].count == 0
        assert await state(ledger, new[0]) == (1,)

    async def test_additions_to_what_is_forgotten_are_forgotten(
        self, ledgers: Ledgers
    ) -> None:
        """An addition that comes after its bucket's time only moves the mark."""
        ledger = await ledgers.open()
        cell = key("brief", "1", 1, int(time.time()) - 1000)
        outcomes = await ledger.commit(
            [sub("d", 1, 1, {cell: (1,), key("count"): (1,)})], time.time()
        )
        assert outcomes == [Outcome(Verdict.APPLIED, 1)]
        assert await state(ledger, cell) is None
        assert await state(ledger, key("count")) == (1,)
