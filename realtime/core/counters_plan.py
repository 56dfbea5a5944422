"""
One declared counter, prepared for the events of its name.

What an event adds to is found rather than made: the *cells* of one combination of
dimension values and one *slot* of time (in which no bucket of the counter ends) are
made once and kept on a *shelf*, under the values as the event has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple, cast

from realtime.core.cells import CellKey, Cells, Delta, State
from realtime.core.counters_definition import SUBJECTS, CounterDefinition
from realtime.core.measures import AMOUNTS, MERGE, Measure, scaled
from realtime.core.naming import (
    MAX_DIMS,
    MAX_TEXT,
    encode_text,
    plain_text,
    text_of,
    too_long,
)
from realtime.errors import BAD_VALUE, RejectedEvent
from realtime.types import Event, Scalar
from realtime.units import shown

MAX_SHELVED = 20_000
"""Cells that all counters of a node keep; they take up to 1 KB each, as a rule 0.4."""

Merger = Callable[[Delta, Delta], Delta]

Values = Scalar | tuple[Scalar, ...]
"""Under what cells are kept: the one value of the dimension, or a tuple of them."""

_ONE: State = (1,)


class Slot(NamedTuple):
    """The cells of one slot of time; the first of their buckets ends at ``ends_at``."""

    ends_at: float
    cells: dict[Values, Cells]


class Recipe(NamedTuple):
    """
    How the usual event is counted: add 1 to the cells under its values in its slot.

    Slots are ``step_s`` seconds long and numbered since the epoch; 0: there is one, of
    number 0. ``by`` has the names of properties, and numbers of ``SUBJECTS``. What is
    not on the shelf is not usual, nor is what comes over ``lateness_s`` after the
    first end of a bucket.
    """

    step_s: int
    lateness_s: float
    by: tuple[str | int, ...]
    slots: dict[int, Slot]


class Shelf:
    """Forgets all cells of some counters when they are too many."""

    __slots__ = ("_kept", "_slots")

    def __init__(self) -> None:
        self._kept = 0
        self._slots: list[dict[int, Slot]] = []

    def open(self) -> dict[int, Slot]:
        """Return the place for one more counter's cells."""
        slots: dict[int, Slot] = {}
        self._slots.append(slots)
        return slots

    def make_room(self) -> None:
        """Call this before cells are put into any of the slots."""
        self._kept += 1
        if self._kept > MAX_SHELVED:
            self._kept = 1
            for slots in self._slots:
                slots.clear()


class Plan:
    """
    One counter, prepared for the events of its name.

    ``recipe`` is None if there is no usual way.
    """

    __slots__ = (
        "_by",
        "_counter",
        "_decimals",
        "_grains",
        "_lateness_s",
        "_measure",
        "_merge",
        "_of",
        "_read",
        "_shelf",
        "_slots",
        "_step_s",
        "_where",
        "always",
        "recipe",
    )

    def __init__(self, definition: CounterDefinition, shelf: Shelf) -> None:
        self._counter = definition.name
        self._measure = definition.measure
        self._merge = merger_of(definition.measure)
        self._of = definition.of or ""
        self._read = _reader(self._of)
        self._decimals = definition.decimals
        self._by = tuple((name, _reader(name)) for name in definition.by)
        self._where = tuple(
            (_reader(name), *_split(values))
            for name, values in definition.where.items()
        )
        # What every event adds, where that depends on nothing.
        counts_all = definition.measure is Measure.COUNT and not definition.where
        self.always: Delta | None = _ONE if counts_all else None
        self._grains = definition.grains
        self._lateness_s = definition.lateness_s
        self._step_s = math.gcd(*self._grains)
        self._shelf = shelf
        self._slots = shelf.open()
        by = tuple(
            SUBJECTS.index(name) if name in SUBJECTS else name for name in definition.by
        )
        recipe = Recipe(self._step_s, self._lateness_s, by, self._slots)
        self.recipe = None if self.always is None else recipe

    def delta(self, event: Event) -> Delta | None:
        """Return what the event adds to a cell; None if this counter ignores it."""
        for read, booleans, others in self._where:
            value = read(event)
            if value not in (booleans if isinstance(value, bool) else others):
                return None
        measure = self._measure
        if measure is Measure.COUNT:
            return _ONE
        value = self._read(event)
        if value is None:
            return None
        if measure in AMOUNTS:
            amount = scaled(value, self._decimals, self._of)
            return (amount, 1) if measure is Measure.MEAN else (amount,)
        return frozenset((plain_text(value),))

    def cells(self, event: Event, at: int) -> Cells:
        """
        Return the cells of every grain for an event of second *at*.

        Raises:
            RejectedEvent: ``bad_value`` if a dimension cannot have the event's value.
        """
        # Hot: once per event that is not counted by recipe.
        given = [read(event) for _, read in self._by]
        values: Values = given[0] if len(given) == 1 else tuple(given)
        number = at // self._step_s if self._step_s else 0
        # To Python, 1 and 1.0 and True are the same key, so only one of them is one.
        plain = all(type(value) in PLAIN for value in given)
        slot = self._slots.get(number)
        if slot is not None and plain:
            known = slot.cells.get(values)
            if known is not None:
                return known
        dims = self._dims(given)
        buckets = [
            (grain_s, at // grain_s if grain_s else 0) for grain_s in self._grains
        ]
        cells = Cells(
            tuple([CellKey(self._counter, *bucket, dims) for bucket in buckets])
        )
        if plain:
            self._shelf.make_room()
            slot = self._slots.get(number)
            if slot is None:
                ends = [
                    (number + 1) * grain_s for grain_s, number in buckets if grain_s
                ]
                slot = self._slots[number] = Slot(
                    float(min(ends, default=math.inf)), {}
                )
            slot.cells[values] = cells
        return cells

    def put(
        self, cells: Cells, delta: Delta, now: float, into: dict[CellKey, Delta]
    ) -> bool:
        """Add *delta* to all *cells* that are not closed; return whether any is."""
        late = False
        closed_s = now - self._lateness_s
        for key in cells.keys:
            if key.grain_s and (key.bucket + 1) * key.grain_s < closed_s:
                late = True
                continue
            known = into.get(key)
            into[key] = delta if known is None else self._merge(known, delta)
        return late

    def _dims(self, values: Sequence[Scalar]) -> str:
        """Return the encoded dims of a combination of values."""
        parts = [
            _encoded(name, value)
            for (name, _), value in zip(self._by, values, strict=True)
        ]
        dims = ";".join(parts)
        if len(dims) > MAX_DIMS:
            raise _unusable_together([name for name, _ in self._by], dims)
        return dims


PLAIN = frozenset({str, int, type(None)})


def _encoded(name: str, value: Scalar) -> str:
    text = text_of(value)
    if len(text) > MAX_TEXT:
        raise _unusable(name, text, f"has more than {MAX_TEXT} characters")
    try:
        return encode_text(text)
    except UnicodeEncodeError:
        raise _unusable(name, text, "is not valid Unicode") from None


def merger_of(measure: Measure) -> Merger:
    """Return what makes one of two deltas of a counter with this measure."""
    # Deltas of one counter are all of one kind; which one follows from its measure.
    return cast(Merger, _union if measure is Measure.UNIQUE else MERGE[measure])


def _union(a: frozenset[str], b: frozenset[str]) -> frozenset[str]:
    return a if b <= a else a | b  # usually the same user again


def _reader(name: str) -> Callable[[Event], Scalar]:
    if name in SUBJECTS:
        return attrgetter(name)
    return lambda event: event.properties.get(name)


def _split(values: tuple[Scalar, ...]) -> tuple[frozenset[Scalar], frozenset[Scalar]]:
    """Part booleans from the rest: to Python True is 1, but not to a filter."""
    booleans = frozenset(value for value in values if isinstance(value, bool))
    return booleans, frozenset(each for each in values if not isinstance(each, bool))


def _unusable(name: str, text: str, problem: str) -> RejectedEvent:
    field = _field(name)
    reason = f"{field} is {shown(text)}, which {problem}: it cannot be a dimension"
    return RejectedEvent(BAD_VALUE, reason, field=field)


def _unusable_together(names: Sequence[str], dims: str) -> RejectedEvent:
    reason = f"the values of {', '.join(map(_field, names))} {too_long(dims)}"
    return RejectedEvent(BAD_VALUE, reason, field=_field(names[0]))


def _field(name: str) -> str:
    return name if name in SUBJECTS else f"properties.{name}"
