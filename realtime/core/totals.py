"""
What several sub-batches add together: one addition for every cell.

A tick's sub-batches usually all apply, so a ledger adds their total once and need not
know which of them added what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from realtime.core.cells import CellKey, Cells, Delta
from realtime.core.counters import CounterSet
from realtime.core.ledger import SubBatch


def total(batches: Iterable[SubBatch], counters: CounterSet) -> Mapping[CellKey, Delta]:
    """
    Return what *batches* add together, cell by cell.

    The order of the batches does not show; only a sum that leaves 64 bits on its way is
    kept there, as ``CounterSet.merge`` does.
    """
    totals: dict[CellKey, Delta] = {}
    counted: list[Sequence[Cells]] = []
    for batch in batches:
        if batch.cells:
            counted.append(batch.cells)
        if batch.deltas:
            _merge(batch.deltas, totals, counters)
    # Hot: once per event and counter, so it is done in C, and by identity.
    for cells, times in Counter(chain.from_iterable(counted)).items():
        _merge(dict.fromkeys(cells.keys, (times,)), totals, counters)
    return totals


def _merge(
    deltas: Mapping[CellKey, Delta],
    totals: dict[CellKey, Delta],
    counters: CounterSet,
) -> None:
    if not totals:
        totals.update(deltas)
        return
    for key, delta in deltas.items():
        known = totals.get(key)
        if known is None:
            totals[key] = delta
        else:
            totals[key] = counters.merge(key.counter, known, delta)
