"""
The usual events: looked at and counted, with nothing made of them.

An event is *usual* when it is well-formed, granted and in time, its counters count
every event of its name, and its cells are on their shelf. The function here exists
twice, in Python and in C (native/usual.c), which takes a tenth of the time. It says
where it met the first event that is not usual, and leaves that to the general rules
(core/counting.py), which have to come to the same where both apply.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, cast

from realtime.core.cells import Cells
from realtime.core.counters_plan import PLAIN, Recipe, Values
from realtime.core.events import MAX_AT, Bounds, check_properties
from realtime.errors import RejectedEvent
from realtime.native import find

Names = dict[str, tuple[Recipe, ...]]
"""How events are counted, by name; the names are those that somebody may send."""

Subjects = tuple[str | None, str]
"""The user and the device: in the order of ``SUBJECTS``."""


class Known(NamedTuple):
    """What is known of one sender: what is usual of it, and within which bounds."""

    names: Names
    subjects: Subjects
    bounds: Bounds


class CountUsual(Protocol):
    """What both forms are."""

    def __call__(
        self,
        events: Sequence[object],
        start: int,
        known: Known,
        now: float,
        offset_s: float,
        cells: list[Cells],
        /,
    ) -> int:
        """
        Append to *cells* what the usual events from number *start* on add 1 to.

        *now* is when they arrived and *offset_s* what corrects the device's clock.
        Returns the place in *events* of the first that is not usual, of which nothing
        has been appended, or how many there are. Nothing is usual but in a list.
        """


def count_usual_in_python(
    events: Sequence[object],
    start: int,
    known: Known,
    now: float,
    offset_s: float,
    cells: list[Cells],
    /,
) -> int:
    """See ``CountUsual``."""
    if type(events) is not list:
        return start
    for place in range(start, len(events)):
        raw = events[place]
        if type(raw) is not dict:
            return place
        found = _count_one(raw, known, now, offset_s)
        if found is None:
            return place
        cells += found
    return len(events)


def _count_one(
    raw: dict[str, object], known: Known, now: float, offset_s: float
) -> list[Cells] | None:
    """Return what the event adds 1 to; None if it is not usual."""
    names, subjects, bounds = known
    name, properties = raw.get("name"), raw.get("properties")
    recipes = names.get(name) if type(name) is str else None
    if recipes is None:
        return None
    at = _corrected(raw.get("at"), bounds, now, offset_s)
    if at is None or len(raw) > 1 + ("at" in raw) + ("properties" in raw):
        return None
    if properties is None:
        properties = _NONE
    else:
        try:
            check_properties(properties, bounds.max_bytes)
        except RejectedEvent:
            return None
    second = math.floor(at)
    found = [
        _cells(recipe, cast(dict[str, Values], properties), subjects, second, now)
        for recipe in recipes
    ]
    return None if None in found else cast(list[Cells], found)


_NONE: dict[str, object] = {}


def _corrected(at: object, bounds: Bounds, now: float, offset_s: float) -> float | None:
    """Return event time; None if *at* is wrong or too long ago."""
    if at is None:
        return now
    if type(at) is not float and type(at) is not int:
        return None
    if not -MAX_AT <= at <= MAX_AT:
        return None
    corrected = at + offset_s
    if corrected > now + bounds.max_ahead_s:
        return now
    return None if corrected < now - bounds.max_age_s else corrected


def _cells(
    recipe: Recipe,
    properties: Mapping[str, Values],
    subjects: Subjects,
    second: int,
    now: float,
) -> Cells | None:
    """Return what one counter adds 1 to; None if that is not known, or too late."""
    slot = recipe.slots.get(second // recipe.step_s if recipe.step_s else 0)
    if slot is None or slot.ends_at < now - recipe.lateness_s:
        return None
    values = [
        properties.get(by) if type(by) is str else subjects[cast(int, by)]
        for by in recipe.by
    ]
    for value in values:
        if type(value) not in PLAIN:
            return None
    key = values[0] if len(values) == 1 else tuple(values)
    return slot.cells.get(cast(Values, key))


count_usual = cast(CountUsual, find("usual", "count") or count_usual_in_python)
