"""
What several sub-batches add together: one addition for every cell.

A tick's sub-batches usually all apply, so a ledger adds their total once and need not
know which of them added what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from realtime.core.cells import CellKey, Delta
from realtime.core.counters import CounterSet
from realtime.core.ledger import SubBatch


def total(batches: Iterable[SubBatch], counters: CounterSet) -> Mapping[CellKey, Delta]:
    """
    Return what *batches* add together, cell by cell.

    The order of the batches does not show; only a sum that leaves 64 bits on its way is
    kept there, as ``CounterSet.merge`` does.
    """
    totals: dict[CellKey, Delta] = {}
    for batch in batches:
        if not totals:
            totals.update(batch.deltas)
            continue
        for key, delta in batch.deltas.items():
            known = totals.get(key)
            if known is None:
                totals[key] = delta
            else:
                totals[key] = counters.merge(key.counter, known, delta)
    return totals
