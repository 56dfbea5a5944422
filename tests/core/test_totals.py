"""What several sub-batches add together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realtime.core.cells import Cells
from realtime.core.ledger import SubBatch
from realtime.core.totals import total
from realtime.testing.ledger_kit import COUNTERS, TTL_S, key, sub
from realtime.types import DeviceId


def test_each_cell_is_added_to_once() -> None:
    """Every measure is merged by its own rule; cells of one sub-batch stay as is."""
    batches = [
        sub("a", 1, 1, {key("count"): (1,), key("min"): (5,), key("mean"): (10, 1)}),
        sub("b", 1, 1, {key("count"): (2,), key("min"): (3,), key("max"): (7,)}),
        sub("a", 2, 2, {key("unique"): frozenset("ab"), key("mean"): (-4, 2)}),
        sub("c", 1, 1, {key("unique"): frozenset("bc"), key("count", "2"): (9,)}),
    ]
    assert dict(total(batches, COUNTERS)) == {
        key("count"): (3,),
        key("count", "2"): (9,),
        key("min"): (3,),
        key("max"): (7,),
        key("mean"): (6, 3),
        key("unique"): frozenset("abc"),
    }


def test_nothing_adds_nothing() -> None:
    """Neither no sub-batches nor empty ones add to any cell."""
    assert dict(total([], COUNTERS)) == {}
    assert dict(total([sub("a", 1, 9, {}), sub("b", 1, 1, {})], COUNTERS)) == {}


def test_cells_that_are_named_often_count_as_often() -> None:
    """Each mention of cells adds 1 to each of them, beside what deltas add."""
    both = Cells((key("count"), key("few-count")))
    same, other = Cells((key("count"),)), Cells((key("count", "2"),))
    phone, tablet = DeviceId("phone"), DeviceId("tablet")
    batches = [
        SubBatch(phone, 1, 3, {key("count"): (5,)}, TTL_S, [both, other, both]),
        SubBatch(tablet, 1, 2, {}, TTL_S, [same, both]),
    ]
    assert dict(total(batches, COUNTERS)) == {
        key("count"): (9,),
        key("few-count"): (3,),
        key("count", "2"): (1,),
    }


def test_batches_stay_as_they_are() -> None:
    """The total is a mapping of its own: a commit may be repeated."""
    first, second = sub("a", 1, 1, {key("count"): (1,)}), sub("b", 1, 1)
    total([first, second], COUNTERS)
    assert dict(total([first], COUNTERS)) == {key("count"): (1,)}


@given(st.lists(st.tuples(st.sampled_from("12"), st.integers(1, 9)), max_size=9))
def test_the_order_does_not_show(pairs: list[tuple[str, int]]) -> None:
    """Any order of sub-batches adds the same."""
    batches: list[SubBatch] = [
        sub("a", at, at, {key(name, dims): (amount,)})
        for at, (dims, amount) in enumerate(pairs, 1)
        for name in ("sum", "max")
    ]
    backwards = total(reversed(batches), COUNTERS)
    assert dict(total(batches, COUNTERS)) == dict(backwards)
