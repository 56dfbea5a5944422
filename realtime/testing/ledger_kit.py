"""
What the contract suite of ledgers works with: counters of every measure, and short ways
to write sub-batches and read cells.

Counters whose names begin with ``few`` keep three combinations. All have dimension
``post`` but ``all``, which has none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from realtime.adapters.ledger.port import Ledger
from realtime.core.cells import CellChange, CellKey, Delta, State
from realtime.core.counters import CounterDefinition, CounterSet
from realtime.core.ledger import SubBatch
from realtime.core.measures import Measure
from realtime.core.windows import Window
from realtime.types import DeviceId

Deltas = dict[CellKey, Delta]

TTL_S = 3600.0
FEW = 3
OTHER = "~other"
MAX_SUM = 2**63 - 1

_TOTAL = (Window.parse("total"),)
_POST = ("post",)


def _define(name: str, measure: Measure, **more: object) -> CounterDefinition:
    of = None if measure is Measure.COUNT else "x"
    values = {"by": _POST, "windows": _TOTAL, **more}
    return CounterDefinition(name, "like", measure, of, **values)  # type: ignore[arg-type]


_MEASURES = tuple(Measure)
_WINDOWS = (*_TOTAL, Window.parse("5m"))
_SECOND = (Window.parse("1s"),)

COUNTERS = CounterSet(
    [
        *(_define(measure.value, measure, windows=_WINDOWS) for measure in _MEASURES),
        *(_define(f"few-{m.value}", m, max_cells=FEW) for m in _MEASURES),
        _define("all", Measure.COUNT, by=()),
        _define("brief", Measure.COUNT, windows=_SECOND, lateness_s=0.0),
        _define("brief-unique", Measure.UNIQUE, windows=_SECOND, lateness_s=0.0),
    ]
)


class Ledgers(Protocol):
    """
    What a suite asks of a form of ledger: the fixture ``ledgers``.

    ``open`` returns a further ledger object, started, on the same storage, as another
    node has it. ``renew`` closes those there are and empties the storage. The fixture
    closes all that were opened.
    """

    shards: int

    async def open(self) -> Ledger: ...
    async def renew(self) -> None: ...


def key(counter: str, dims: str = "1", grain_s: int = 0, bucket: int = 0) -> CellKey:
    """Name a cell; of the total unless a grain is given."""
    return CellKey(counter, grain_s, bucket, dims)


def sub(
    device: str,
    first: int,
    last: int,
    deltas: Mapping[CellKey, Delta] | None = None,
    ttl_s: float = TTL_S,
) -> SubBatch:
    """Write a sub-batch; it adds one to ``count`` for each number unless told."""
    if deltas is None:
        deltas = {key("count"): (last - first + 1,)}
    return SubBatch(DeviceId(device), first, last, deltas, ttl_s)


async def add(ledger: Ledger, device: str, deltas: Mapping[CellKey, Delta]) -> None:
    """Commit *deltas* as the next number of *device*."""
    mark = await ledger.claim(DeviceId(device), ["owner"], 0, TTL_S)
    await ledger.commit([sub(device, mark + 1, mark + 1, deltas)], time.time())


async def state(ledger: Ledger, cell: CellKey) -> State | None:
    """Read a cell: the merge of its shards."""
    return (await states(ledger, [cell]))[cell]


async def states(
    ledger: Ledger, cells: Iterable[CellKey]
) -> dict[CellKey, State | None]:
    """Read cells: for each, the merge of its shards."""
    keys = list(cells)
    found: dict[CellKey, State | None] = {}
    for cell, parts in (await ledger.read(keys)).items():
        merged: State | None = None
        for part in parts:
            if part.state is not None:
                known = merged is not None
                merged = (
                    COUNTERS.merge(cell.counter, merged, part.state)  # type: ignore[arg-type]
                    if known
                    else part.state
                )
        found[cell] = merged
    return found


class Heard:
    """What a ledger told; set it as ``on_change`` by making one."""

    def __init__(self, ledger: Ledger) -> None:
        self.changes: list[CellChange] = []
        ledger.on_change = self.changes.append

    def latest(self, cell: CellKey) -> dict[int, CellChange]:
        """The last change of *cell* by shard."""
        return {c.shard: c for c in self.changes if c.key == cell}

    def total(self, cell: CellKey) -> int:
        """The sum of the last states of a count, over the shards that told of it."""
        return sum(c.state[0] for c in self.latest(cell).values() if c.state)


async def eventually(
    condition: Callable[[], bool], what: str, timeout_s: float = 10.0
) -> None:
    """
    Wait until *condition* holds, which must happen in real time; *what* names it.

    Raises:
        AssertionError: If it does not in *timeout_s* seconds.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        await asyncio.sleep(0.005)
