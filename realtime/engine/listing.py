"""
A counter's cells side by side: every combination of dimension values and its value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial, reduce

from realtime.adapters.ledger.port import Ledger
from realtime.core.cells import CellKey, ShardCell
from realtime.core.counters import CounterDefinition, CounterSet
from realtime.core.live import LiveValue
from realtime.core.live_horizon import Horizon
from realtime.core.measures import Measure, value_of
from realtime.core.naming import LiveName, decode_dims
from realtime.core.windows import Window

Cell = tuple[dict[str, str], int | float | None]

SCAN_AT_ONCE = 500  # cells read in one call


class Listing:
    """Reads what nobody watches; for requests, not for the hot path."""

    def __init__(self, ledger: Ledger, counters: CounterSet) -> None:
        self._ledger = ledger
        self._counters = counters

    async def value(self, name: LiveName, at: float, now: float) -> LiveValue:
        """
        Return the value of the window instance that contains *at*, as of *now*.

        Raises:
            LedgerUnavailable: If it cannot be read.
        """
        definition = self._counters.get(name.counter)
        assert definition is not None, "names are parsed against the definitions"
        window = definition.window(name.window)
        assert window is not None, "names are parsed against the definitions"
        keys = _keys(definition, window, window.buckets(at), name.dims)
        [(value, rev)] = await self._read(definition, [keys])
        horizon = Horizon(window, definition.lateness_s, definition.cadence_s)
        final = horizon.is_final(window.bucket(at), now)
        return LiveValue(value, window.end(at), rev, final)

    async def cells(
        self, definition: CounterDefinition, window: str, at: float, limit: int
    ) -> list[Cell]:
        """
        Return at most *limit* cells of the window instance that contains *at*.

        Raises:
            LedgerUnavailable: If they cannot be read.
        """
        chosen = next(one for one in definition.windows if one.text == window)
        buckets = list(chosen.buckets(at))
        combinations = await self._combinations(definition, chosen, buckets, limit)
        cells: list[Cell] = []
        for start in range(0, len(combinations), SCAN_AT_ONCE):
            part = combinations[start : start + SCAN_AT_ONCE]
            keys = [_keys(definition, chosen, buckets, dims) for dims in part]
            values = [value for value, _ in await self._read(definition, keys)]
            names = [
                dict(zip(definition.by, decode_dims(dims), strict=True))
                for dims in part
            ]
            cells.extend(zip(names, values, strict=True))
        return cells

    async def _combinations(
        self,
        definition: CounterDefinition,
        window: Window,
        buckets: Sequence[int],
        limit: int,
    ) -> list[str]:
        found: set[str] = set()
        for bucket in reversed(buckets):
            found.update(
                await self._ledger.combinations(
                    definition.name, window.step_s, bucket, limit
                )
            )
            if len(found) >= limit:
                break
        return sorted(found)[:limit]

    async def _read(
        self, definition: CounterDefinition, unions: Sequence[Sequence[CellKey]]
    ) -> list[tuple[int | float | None, int]]:
        """Return the value of each union of cells, and its rev."""
        if definition.measure is Measure.UNIQUE:
            counts = await self._ledger.count_unique(unions)
            return [(count.count, count.rev) for count in counts]
        readings = await self._ledger.read([key for union in unions for key in union])
        return [self._merge(definition, union, readings) for union in unions]

    def _merge(
        self,
        definition: CounterDefinition,
        union: Sequence[CellKey],
        readings: Mapping[CellKey, tuple[ShardCell, ...]],
    ) -> tuple[int | float | None, int]:
        cells = [cell for key in union for cell in readings.get(key, ())]
        states = [cell.state for cell in cells if cell.state is not None]
        merge = partial(self._counters.merge, definition.name)
        state = reduce(merge, states) if states else None
        value = value_of(definition.measure, state, definition.decimals)
        return value, sum(cell.rev for cell in cells)


def _keys(
    definition: CounterDefinition, window: Window, buckets: Iterable[int], dims: str
) -> list[CellKey]:
    return [CellKey(definition.name, window.step_s, bucket, dims) for bucket in buckets]
