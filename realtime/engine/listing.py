"""
A counter's cells side by side: every combination of dimension values and its value.
"""

from __future__ import annotations

from collections.abc import Sequence

from realtime.adapters.ledger.port import Ledger
from realtime.core.cells import CellKey, State
from realtime.core.counters import CounterDefinition, CounterSet
from realtime.core.measures import Measure, value_of
from realtime.core.naming import decode_dims
from realtime.core.windows import Window

Cell = tuple[dict[str, str], int | float | None]

SCAN_AT_ONCE = 500  # cells read in one call


class Listing:
    """Reads many cells of one counter at once; for dashboards, not for the hot path."""

    def __init__(self, ledger: Ledger, counters: CounterSet) -> None:
        self._ledger = ledger
        self._counters = counters

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
            values = await self._values(definition, chosen, buckets, part)
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

    async def _values(
        self,
        definition: CounterDefinition,
        window: Window,
        buckets: Sequence[int],
        combinations: Sequence[str],
    ) -> list[int | float | None]:
        keys = [
            [
                CellKey(definition.name, window.step_s, bucket, dims)
                for bucket in buckets
            ]
            for dims in combinations
        ]
        if definition.measure is Measure.UNIQUE:
            return [count.count for count in await self._ledger.count_unique(keys)]
        return await self._read(definition, keys)

    async def _read(
        self, definition: CounterDefinition, keys: Sequence[Sequence[CellKey]]
    ) -> list[int | float | None]:
        readings = await self._ledger.read([key for union in keys for key in union])
        values: list[int | float | None] = []
        for union in keys:
            merged: State | None = None
            for key in union:
                for cell in readings.get(key, ()):
                    if cell.state is not None:
                        merged = (
                            cell.state
                            if merged is None
                            else self._counters.merge(
                                definition.name, merged, cell.state
                            )
                        )
            values.append(value_of(definition.measure, merged, definition.decimals))
        return values
