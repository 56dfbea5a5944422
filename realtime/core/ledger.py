"""
Exactly-once counting: the rules by which the ledger decides whether an event counts.

Devices number their events; the ledger keeps one *mark* per device, the highest number
counted. A sub-batch carries the numbers it covers and what they add to which cells. The
decision is made against the mark, atomically with the additions (design: section 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from zlib import crc32

from realtime.core.cells import CellKey, Cells, Delta
from realtime.types import DeviceId, hot_value


class Verdict(Enum):
    """What became of a sub-batch."""

    APPLIED = "applied"  # counted now; the mark is its last number
    DUPLICATE = "duplicate"  # all of it was counted before; nothing was added
    OVERLAP = (
        "overlap"  # its beginning was counted before: nothing was added, send the rest
    )
    GAP = "gap"  # numbers before it are missing: nothing was added


@dataclass(slots=True, eq=False)
class SubBatch:
    """
    The consecutive numbers ``first..last`` of one device and what they add.

    That is ``deltas``, and beside them 1 to each of ``cells``, which may be named
    often: once for every event that a counter counts (``core.totals`` adds all of it
    up). Rejected and lost numbers are covered but add nothing. ``mark_ttl_s`` is how
    long the mark outlives this commit. It does not change once a ledger has it.
    """

    device: DeviceId
    first: int
    last: int
    deltas: Mapping[CellKey, Delta]
    mark_ttl_s: float
    cells: Sequence[Cells] = ()


@hot_value
class Outcome:
    """The verdict, and the device's mark after it."""

    verdict: Verdict
    mark: int


def judge(mark: int, first: int, last: int) -> Verdict:
    """Decide on the numbers *first*..*last* of a device whose mark is *mark*."""
    if first == mark + 1:
        return Verdict.APPLIED
    if last <= mark:
        return Verdict.DUPLICATE
    if first <= mark:
        return Verdict.OVERLAP
    return Verdict.GAP


def shard_of(device: DeviceId, shards: int) -> int:
    """The shard that keeps *device*: stable across processes, machines and versions."""
    return crc32(device.encode()) % shards
