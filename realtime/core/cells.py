"""
The parts of a counter's state: cells, what is added to them, and what is read back.

A *cell* is one counter, one combination of dimension values and one time bucket. Its
state is a tuple of integers (exact, whatever the order of additions) or, for unique
counts, a HyperLogLog that lives in the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from realtime.types import hot_value

State = tuple[int, ...]
"""
count: (n,); sum, min, max: (scaled,); mean: (scaled sum, n). Scaled by 10**decimals.
"""

Delta = State | frozenset[str]
"""What one sub-batch adds to one cell; for unique counts, the members seen."""


class CellKey(NamedTuple):
    """
    Where a cell is kept.

    ``grain_s`` is the length of the bucket in seconds and ``bucket`` its number since
    the epoch (``floor(at / grain_s)``); 0 and 0 for the total. ``dims`` is the encoded
    combination of dimension values (core/naming.py), ``""`` for a counter without any.
    """

    counter: str
    grain_s: int
    bucket: int
    dims: str


class Cells:
    """
    All the cells to which one event of one counter adds: one of each grain.

    There is one object for many events, so it is looked up and counted by identity,
    which costs nothing. Two objects may still hold the same keys.
    """

    __slots__ = ("keys",)

    def __init__(self, keys: tuple[CellKey, ...]) -> None:
        self.keys = keys


@hot_value
class ShardCell:
    """
    One shard's part of a cell. ``state`` is None when the shard has nothing.

    ``rev`` only grows while the cell's bucket exists; a larger one is newer.
    """

    shard: int
    state: State | None
    rev: int


@hot_value
class CellChange:
    """
    A cell changed in one shard: its new absolute state there, or None for unique counts
    (whose state is too large to travel and is read when needed).
    """

    shard: int
    key: CellKey
    state: State | None
    rev: int


@dataclass(frozen=True, slots=True)
class UniqueCount:
    """The estimated cardinality of a union of cells, and the sum of their revs."""

    count: int
    rev: int
