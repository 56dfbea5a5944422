"""
The contract of blocks. Proved for every form by the suite in realtime/testing.

A node keeps a copy and asks it, never the store, when a client says hello. The store is
where nodes meet; what it loses, the copies put back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from realtime.errors import RealtimeError
from realtime.types import UserId

MAX_ORDERS = 100_000
"""The most orders kept at a time; each node has a copy of all of them in memory."""


class TooManyOrders(RealtimeError):
    """*limit* orders are kept already; nothing was stored."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} blocks and revocations are kept, which is the most")


@dataclass(frozen=True, slots=True)
class Block:
    """
    One order about a user, or about everybody (``user`` is None).

    ``until`` (a block): the user may not connect before this instant.
    ``issued_before`` (a revocation): tokens issued before this instant, and tokens that
    do not say when, are refused; it is kept until ``until``, by when all such tokens
    must have expired. Times are seconds since the epoch.

    ``lifted``: it was taken back. It is kept as long as it would have been in force, so
    that no old copy of it can win. ``stamp`` orders what is said of one user: it is
    given by the store, in microseconds; 0 before that.
    """

    user: UserId | None
    until: float
    issued_before: float | None = None
    lifted: bool = False
    stamp: int = 0

    @property
    def key(self) -> tuple[UserId | None, bool]:
        """Of all orders with the same key, the newest counts."""
        return self.user, self.issued_before is not None


@dataclass(frozen=True, slots=True)
class Stored:
    """
    What the store has. ``mark`` is what ``Blocks.mark`` said before it was read.
    """

    orders: Sequence[Block]
    mark: str


class Blocks(ABC):
    """
    The newest order for each key, until its time is over.

    *now* is the caller's wall clock: what is kept for how long is told by the
    difference to ``until``, so that clocks need not agree.
    """

    @abstractmethod
    async def put(self, block: Block, now: float) -> Block:
        """
        Store *block* as the newest order of its key; return it with its stamp.

        The stamp is greater than the one of *block*, which is the newest that the
        caller knows of, and than all that the store has had for this key.

        Raises:
            TooManyOrders: If there is no room for one more key.
            Unavailable: If it may not have been stored. Repeating is harmless.
        """

    @abstractmethod
    async def restore(self, blocks: Sequence[Block], now: float) -> None:
        """
        Store those that are newer than what is there, with the stamps that they have.

        Raises:
            Unavailable: If some may not have been stored. Repeating is harmless.
        """

    @abstractmethod
    async def all(self) -> Stored:
        """
        Return everything whose time is not over, also what was lifted.

        An order that is put meanwhile may be there or not.

        Raises:
            Unavailable: If it cannot be read.
        """

    @abstractmethod
    async def mark(self) -> str:
        """
        Return a text that changes with every order, and when the store was emptied.

        Raises:
            Unavailable: If it cannot be read.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of what this form holds. Closing twice is harmless."""
