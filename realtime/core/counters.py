"""
All declared counters, and what one event adds to their cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import overload

from realtime.core.cells import CellKey, Delta, State
from realtime.core.counters_definition import CounterDefinition
from realtime.core.counters_plan import Merger, Plan, Recipe, Shelf, merger_of
from realtime.core.measures import Measure
from realtime.types import Event

__all__ = ["CounterDefinition", "CounterSet"]

MARGIN_S = 60  # cells outlive their windows by this, at least: clocks of nodes differ


class CounterSet:
    """The counters by name, and the way from an event to cells."""

    def __init__(self, definitions: Iterable[CounterDefinition]) -> None:
        self._definitions: dict[str, CounterDefinition] = {}
        self._plans: dict[str, tuple[Plan, ...]] = {}
        self._mergers: dict[str, Merger] = {}
        shelf = Shelf()
        for definition in definitions:
            if definition.name in self._definitions:
                raise ValueError(f"counter {definition.name!r} is declared twice")
            self._definitions[definition.name] = definition
            self._mergers[definition.name] = merger_of(definition.measure)
            known = self._plans.get(definition.event, ())
            self._plans[definition.event] = (*known, Plan(definition, shelf))

    def get(self, name: str) -> CounterDefinition | None:
        """Return the counter called *name*; None if there is none."""
        return self._definitions.get(name)

    def __iter__(self) -> Iterator[CounterDefinition]:
        return iter(self._definitions.values())

    def __len__(self) -> int:
        return len(self._definitions)

    def measure(self, counter: str) -> Measure:
        """Return what *counter* measures. KeyError if there is no such counter."""
        return self._definitions[counter].measure

    def max_cells(self, counter: str) -> int:
        """Return how many combinations *counter* keeps per bucket and shard."""
        return self._definitions[counter].max_cells

    def dimensions(self, counter: str) -> int:
        """Return how many dimensions *counter* has."""
        return len(self._definitions[counter].by)

    def expires_at(self, key: CellKey) -> float | None:
        """
        Return when nobody needs the cell any more, in event time; None for a total.

        That is when it has left the longest window made of such buckets and that
        window's lateness has passed, with a margin.
        """
        grain_s = key.grain_s
        if not grain_s:
            return None
        definition = self._definitions[key.counter]
        sizes = [each.size_s for each in definition.windows if each.step_s == grain_s]
        end = (key.bucket + 1) * grain_s
        keep_s = max(sizes, default=grain_s) + definition.lateness_s
        return end + keep_s + max(MARGIN_S, grain_s)

    @overload
    def merge(self, counter: str, a: State, b: State) -> State: ...
    @overload
    def merge(self, counter: str, a: Delta, b: Delta) -> Delta: ...
    def merge(self, counter: str, a: Delta, b: Delta) -> Delta:
        """Return two additions to, or states of, one cell of *counter* as one."""
        return self._mergers[counter](a, b)

    def recipes(self, event: str) -> tuple[Recipe, ...]:
        """
        Return the recipe of every counter of events of this name.

        None at all if any of them has none, or nobody counts such events.
        """
        recipes = [plan.recipe for plan in self._plans.get(event, ())]
        return () if None in recipes else tuple(filter(None, recipes))

    def add(self, event: Event, now: float, into: dict[CellKey, Delta]) -> int:
        """
        Add what *event* changes to *into*, all or nothing.

        Returns how many counters left their windows alone because the event is too late
        for one of them at *now*; their totals count it all the same.

        Raises:
            RejectedEvent: ``bad_value`` if a counter cannot use a value; *into* is as
                it was.
        """
        plans = self._plans.get(event.name)
        if plans is None:
            return 0
        at = math.floor(event.at)
        found = []
        for plan in plans:
            delta = plan.always or plan.delta(event)
            if delta is not None:
                found.append((plan, plan.cells(event, at), delta))
        late = 0
        for plan, cells, delta in found:
            late += plan.put(cells, delta, now, into)
        return late
