"""
What a counter measures, and how two parts of it become one: exactly, in any order.

Amounts are kept as integers scaled by ``10**decimals``, so addition is exact and
neither the order of events nor the way they were split over nodes and shards can show.
One amount is at most 2**53 - 1 when scaled; a sum saturates at the 64 bits of Redis'
integers (which takes a thousand of the largest amounts; until then every sum is exact).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from types import MappingProxyType

from realtime.core.cells import State
from realtime.errors import BAD_VALUE, RejectedEvent
from realtime.units import shown

MAX_AMOUNT = 2**53 - 1  # scaled; what a double holds exactly, as JSON and Lua have them
MAX_SUM = 2**63 - 1

_SURE = 2.0**49  # half a unit in the last place, twice over, is below 0.25

# Wide enough that scaling never rounds: a double has at most 17 significant digits.
_SCALING = Context(prec=64, rounding=ROUND_HALF_EVEN)


class Measure(StrEnum):
    """What is made of the events of a cell."""

    COUNT = "count"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    MEAN = "mean"
    UNIQUE = "unique"  # how many different ones; its states live in the ledger only


AMOUNTS = frozenset({Measure.SUM, Measure.MIN, Measure.MAX, Measure.MEAN})
"""The measures of a number that events carry."""


def merge(measure: Measure, a: State, b: State) -> State:
    """Return the state of the events of *a* and *b* together; not for unique."""
    return MERGE[measure](a, b)


def value_of(
    measure: Measure, state: State | None, decimals: int
) -> int | float | None:
    """
    Return what *state* says, as JSON has it: an int when integral, else a float.

    Of nothing, count, sum and unique are 0, and min, max and mean are None.
    """
    if state is None:
        return EMPTY_VALUE[measure]
    return _VALUE[measure](state, decimals)


def scaled(amount: object, decimals: int, name: str) -> int:
    """
    Return the amount in property *name* times ``10**decimals``, half rounded to even.

    Raises:
        RejectedEvent: ``bad_value`` if it is no finite number, or too large to keep.
    """
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        reason = f"property {name!r} is {shown(amount)}; it must be a number"
        raise RejectedEvent(BAD_VALUE, reason, field=f"properties.{name}")
    # The comparison is false for NaN, and keeps huge integers from being scaled.
    if not -MAX_AMOUNT <= amount <= MAX_AMOUNT:
        raise _too_large(amount, decimals, name)
    power: int = 10**decimals
    if isinstance(amount, int):
        result = amount * power
    elif amount.is_integer():
        result = int(amount) * power
    else:
        result = _rounded(amount, decimals, power)
    if not -MAX_AMOUNT <= result <= MAX_AMOUNT:
        raise _too_large(amount, decimals, name)
    return result


def _rounded(amount: float, decimals: int, power: int) -> int:
    product = amount * power
    nearest = round(product)
    # The product's error is below 0.25 up to here, so the nearest integer is certain.
    if -_SURE < product < _SURE and -0.25 < product - nearest < 0.25:
        return nearest
    # The decimal that was written, not the binary fraction nearest to it.
    exact = Decimal(repr(amount)).scaleb(decimals, _SCALING)
    return int(exact.to_integral_value(ROUND_HALF_EVEN, _SCALING))


def _too_large(amount: float, decimals: int, name: str) -> RejectedEvent:
    limit = Decimal(MAX_AMOUNT).scaleb(-decimals)
    return RejectedEvent(
        BAD_VALUE,
        f"property {name!r} is {shown(amount)}; with {decimals} decimals it must be "
        f"between {-limit} and {limit}",
        field=f"properties.{name}",
    )


def _add(a: State, b: State) -> State:
    total = a[0] + b[0]  # Hot: once per event and cell, so the usual case is in line
    return (total,) if -MAX_SUM <= total <= MAX_SUM else (_saturated(total),)


def _add_both(a: State, b: State) -> State:
    return (_saturated(a[0] + b[0]), _saturated(a[1] + b[1]))


def _saturated(total: int) -> int:
    return max(-MAX_SUM, min(MAX_SUM, total))


MERGE: Mapping[Measure, Callable[[State, State], State]] = MappingProxyType(
    {
        Measure.COUNT: _add,
        Measure.SUM: _add,
        Measure.MIN: min,  # of tuples of one
        Measure.MAX: max,
        Measure.MEAN: _add_both,
    }
)

EMPTY_VALUE: Mapping[Measure, int | None] = MappingProxyType(
    {
        Measure.COUNT: 0,
        Measure.SUM: 0,
        Measure.MIN: None,
        Measure.MAX: None,
        Measure.MEAN: None,
        Measure.UNIQUE: 0,
    }
)


def _count(state: State, decimals: int) -> int | float | None:
    return state[0]


def _amount(state: State, decimals: int) -> int | float | None:
    return _quotient(state[0], 10**decimals)


def _mean(state: State, decimals: int) -> int | float | None:
    total, events = state
    return _quotient(total, events * 10**decimals) if events else None


def _quotient(dividend: int, divisor: int) -> int | float:
    # The quotient of two ints is rounded once, correctly, however large they are.
    return dividend / divisor if dividend % divisor else dividend // divisor


_VALUE: Mapping[Measure, Callable[[State, int], int | float | None]] = MappingProxyType(
    {
        Measure.COUNT: _count,
        Measure.SUM: _amount,
        Measure.MIN: _amount,
        Measure.MAX: _amount,
        Measure.MEAN: _mean,
    }
)
