"""
The contract of blocks. Proved for every form by the suite in realtime/testing.

A node keeps a copy and asks it, never the store, when a client says hello.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from realtime.types import UserId


@dataclass(frozen=True, slots=True)
class Block:
    """
    One order about a user, or about everybody (``user`` is None).

    ``until`` (a block): the user may not connect before this instant.
    ``issued_before`` (a revocation): tokens issued before this instant, and tokens that
    do not say when, are refused; it is kept until ``until``, by when all such tokens
    must have expired. Times are seconds since the epoch.
    """

    user: UserId | None
    until: float
    issued_before: float | None = None


class Blocks(ABC):
    """
    Orders by user and kind (block or revocation); a later one replaces an earlier one.

    They expire by themselves at ``until``.
    """

    @abstractmethod
    async def put(self, block: Block) -> None:
        """Add or replace. Raises Unavailable if it may not have been stored."""

    @abstractmethod
    async def remove(self, user: UserId | None, *, revocation: bool) -> bool:
        """Take one back; whether there was one. Raises Unavailable."""

    @abstractmethod
    async def all(self) -> Sequence[Block]:
        """Return what is in force. Raises Unavailable."""

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of what this form holds. Closing twice is harmless."""
