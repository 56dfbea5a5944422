"""Measures: exact, whatever the order and the grouping of the events."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.cells import State
from realtime.core.measures import (
    AMOUNTS,
    MAX_AMOUNT,
    MAX_SUM,
    Measure,
    merge,
    scaled,
    value_of,
)
from realtime.errors import BAD_VALUE, RejectedEvent

AMOUNT = st.floats(-1e6, 1e6, allow_nan=False) | st.integers(-(10**6), 10**6)
CENTS = st.integers(-(10**9), 10**9)


def state_of(measure: Measure, amount: int) -> State:
    """Return the state of one event with this scaled *amount*."""
    if measure is Measure.COUNT:
        return (1,)
    return (amount, 1) if measure is Measure.MEAN else (amount,)


@given(st.lists(st.decimals(-(10**6), 10**6, places=6), min_size=1))
def test_a_sum_of_decimals_is_exact(amounts: list[Decimal]) -> None:
    """Numbers with at most six decimals add up as they do on paper."""
    states: list[State] = [(scaled(float(each), 6, "amount"),) for each in amounts]
    total = reduce(lambda a, b: merge(Measure.SUM, a, b), states)
    assert Fraction(total[0], 10**6) == sum(map(Fraction, amounts), Fraction(0))


@given(AMOUNT, st.integers(0, 6))
def test_a_number_is_rounded_half_to_even_as_it_was_written(
    amount: float, decimals: int
) -> None:
    """Scaling rounds the decimal that was written, and halves go to the even side."""
    expected = round(Fraction(Decimal(repr(amount))) * 10**decimals)
    assert scaled(amount, decimals, "amount") == expected


@pytest.mark.parametrize(
    ("amount", "result"), [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2)]
)
def test_halves_go_to_the_even_side(amount: float, result: int) -> None:
    """Without decimals, 1.5 and 2.5 both become 2."""
    assert scaled(amount, 0, "amount") == result


@given(
    st.sampled_from([measure for measure in Measure if measure is not Measure.UNIQUE]),
    st.lists(CENTS, min_size=1, max_size=20),
    st.randoms(use_true_random=False),
    st.integers(0, 20),
)
def test_neither_order_nor_grouping_shows(
    measure: Measure, amounts: list[int], random: object, cut: int
) -> None:
    """Any order of events, split in two parts anywhere, gives the same state."""
    states = [state_of(measure, amount) for amount in amounts]
    straight = reduce(lambda a, b: merge(measure, a, b), states)
    random.shuffle(states)  # type: ignore[attr-defined]
    parts = [part for part in (states[:cut], states[cut:]) if part]
    merged = [reduce(lambda a, b: merge(measure, a, b), part) for part in parts]
    assert reduce(lambda a, b: merge(measure, a, b), merged) == straight


@given(st.lists(CENTS, min_size=1, max_size=20))
def test_values_are_what_arithmetic_says(cents: list[int]) -> None:
    """Sum, min, max and mean are the exact result, rounded once to a double."""
    exact = [Fraction(amount, 100) for amount in cents]
    expected = {
        Measure.SUM: float(sum(exact)),
        Measure.MIN: float(min(exact)),
        Measure.MAX: float(max(exact)),
        Measure.MEAN: float(sum(exact) / len(exact)),
    }
    for measure, result in expected.items():
        states = [state_of(measure, amount) for amount in cents]
        state = reduce(lambda a, b: merge(measure, a, b), states)
        assert value_of(measure, state, 2) == result


@pytest.mark.parametrize(
    ("measure", "state", "result"),
    [
        (Measure.COUNT, (7,), "7"),
        (Measure.SUM, (1_500_000,), "1.5"),
        (Measure.SUM, (3_000_000,), "3"),
        (Measure.MEAN, (3_000_000, 2), "1.5"),
        (Measure.MEAN, (4_000_000, 2), "2"),
        (Measure.COUNT, None, "0"),
        (Measure.SUM, None, "0"),
        (Measure.UNIQUE, None, "0"),
        (Measure.MIN, None, "None"),
        (Measure.MAX, None, "None"),
        (Measure.MEAN, None, "None"),
    ],
)
def test_values_are_integers_when_integral(
    measure: Measure, state: State | None, result: str
) -> None:
    """A value is an int when it is whole, and nothing has a value of its own."""
    assert repr(value_of(measure, state, 6)) == result


def test_a_sum_saturates_instead_of_wrapping() -> None:
    """A sum stays at the largest 64-bit integer, on either side."""
    assert merge(Measure.SUM, (MAX_SUM,), (1,)) == (MAX_SUM,)
    assert merge(Measure.SUM, (-MAX_SUM,), (-1,)) == (-MAX_SUM,)
    assert merge(Measure.MEAN, (MAX_SUM, 5), (1, 1)) == (MAX_SUM, 6)


@pytest.mark.parametrize(
    ("amount", "problem"),
    [
        (True, "is True; it must be a number"),
        ("12", "is '12'; it must be a number"),
        (None, "must be a number"),
        (float("nan"), "with 6 decimals it must be between"),
        (float("inf"), "between"),
        (-float("inf"), "between"),
        (1e10, "between -9007199254.740991 and 9007199254.740991"),
        pytest.param(10**5000, "is a huge int", id="huge"),
        (-(2**53), "between"),
    ],
)
def test_what_cannot_be_added_is_rejected(amount: object, problem: str) -> None:
    """The sentence names the property, its value and the range."""
    with pytest.raises(RejectedEvent, match=problem) as caught:
        scaled(amount, 6, "amount")
    assert caught.value.code is BAD_VALUE
    assert caught.value.field == "properties.amount"


def test_the_largest_amount_is_accepted() -> None:
    """The limit itself is inside."""
    assert scaled(MAX_AMOUNT, 0, "amount") == MAX_AMOUNT
    assert scaled(-float(MAX_AMOUNT), 0, "amount") == -MAX_AMOUNT


def test_amounts_are_the_measures_of_a_number() -> None:
    """Count and unique do not need a number."""
    assert set(Measure) - AMOUNTS == {Measure.COUNT, Measure.UNIQUE}
