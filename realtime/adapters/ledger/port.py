"""
The contract of a ledger. Proved for every form by the suite in realtime/testing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from realtime.core.cells import CellChange, CellKey, ShardCell, UniqueCount
from realtime.core.ledger import Outcome, SubBatch
from realtime.errors import RealtimeError
from realtime.types import DeviceId

OnChange = Callable[[CellChange], None]


class DeviceTaken(RealtimeError):
    """The device belongs to somebody whose proof was not among those given."""


class Ledger(ABC):
    """
    Cells and marks, changed together or not at all.

    *Atomicity*: within one shard, a sub-batch's additions and the advance of its mark
    are one step; a crash keeps both or neither. A commit that spans shards is one step
    per shard. *Order*: sub-batches of one device are judged in the order given.
    *Repetition*: a commit that raised may be repeated as it is; what had been applied
    is answered as a duplicate. *Cancellation* may leave a commit applied.

    *Cardinality*: a counter keeps at most ``max_cells`` combinations of dimension
    values per bucket and shard; additions for further ones go to the cell of
    ``other_dims`` (core/naming.py), decided in the same atomic step.

    *Changes*: after a commit that changed a watched cell, every ledger object (on every
    node) that watches it calls ``on_change`` once per commit and changed cell, at most
    once, in any order between shards, in order of ``rev`` within one. Calls may be lost
    (pub/sub); ``read`` is the truth. ``on_change`` is synchronous and must not raise.
    """

    on_change: OnChange

    @abstractmethod
    async def start(self) -> None:
        """
        Connect.

        Raises:
            LedgerUnavailable: If there is nobody to connect to.
            ConfigError: If what is stored was made with other settings.
        """

    @abstractmethod
    async def claim(
        self, device: DeviceId, proofs: Sequence[str], acked: int, mark_ttl_s: float
    ) -> int:
        """
        Return the device's mark, after checking whose it is.

        A device unknown here is recorded as belonging to the first of *proofs* with
        its mark at *acked* (its last acknowledged number, from before its mark was
        forgotten). A known one must belong to any of *proofs*.

        Raises:
            DeviceTaken: If it belongs to none of *proofs*.
            LedgerUnavailable: If the ledger does not answer.
        """

    @abstractmethod
    async def commit(self, batches: Sequence[SubBatch], now: float) -> list[Outcome]:
        """
        Judge and apply *batches*; one outcome for each, in their order.

        *now* is the wall clock, for expiry of cells whose windows have passed.

        Raises:
            LedgerUnavailable: If it is unknown what was applied; repeat the same call.
        """

    @abstractmethod
    async def read(
        self, keys: Sequence[CellKey]
    ) -> Mapping[CellKey, tuple[ShardCell, ...]]:
        """The cells' state, shard by shard; for measures other than unique."""

    @abstractmethod
    async def count_unique(
        self, unions: Sequence[Sequence[CellKey]]
    ) -> list[UniqueCount]:
        """
        The cardinality of each union of cells, over all shards; for unique counts.
        """

    @abstractmethod
    async def combinations(
        self, counter: str, grain_s: int, bucket: int, limit: int
    ) -> list[str]:
        """At most *limit* encoded dims that the bucket has, over all shards, sorted."""

    @abstractmethod
    async def watch(self, counter: str, dims: str) -> None:
        """Have ``on_change`` called for every grain and bucket of this combination."""

    @abstractmethod
    async def unwatch(self, counter: str, dims: str) -> None:
        """Stop it. Harmless when not watched."""

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of connections and tasks. Closing twice is harmless."""
