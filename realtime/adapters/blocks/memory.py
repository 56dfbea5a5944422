"""
Blocks of one process.

Several on one ``Shelf`` behave like nodes that share a Redis.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from realtime.adapters.blocks.port import (
    MAX_ORDERS,
    Block,
    Blocks,
    Stored,
    TooManyOrders,
)
from realtime.types import UserId


class Shelf:
    """What memory blocks share. ``lose`` empties it, as a crash of Redis would."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        max_orders: int = MAX_ORDERS,
    ) -> None:
        self.monotonic = monotonic
        self.max_orders = max_orders
        self.orders: dict[tuple[UserId | None, bool], tuple[float, Block]] = {}
        self.lose()

    def lose(self) -> None:
        """Forget everything."""
        self.orders.clear()
        self.epoch = secrets.token_hex(8)
        self.revision = 0

    def sweep(self) -> None:
        """Forget what is over."""
        now = self.monotonic()
        for key in [key for key, (end, _) in self.orders.items() if end <= now]:
            del self.orders[key]

    def set(self, block: Block, now: float) -> None:
        """Keep *block* in place of what was there."""
        self.orders[block.key] = self.monotonic() + block.until - now, block
        self.revision += 1


class MemoryBlocks(Blocks):
    """See ``Blocks``."""

    def __init__(self, shelf: Shelf | None = None) -> None:
        self._shelf = shelf or Shelf()

    async def put(self, block: Block, now: float) -> Block:
        shelf = self._shelf
        shelf.sweep()
        _, known = shelf.orders.get(block.key, (0.0, None))
        if known is None and len(shelf.orders) >= shelf.max_orders:
            raise TooManyOrders(shelf.max_orders)
        newest = max(block.stamp, known.stamp if known else 0)
        stamped = replace(block, stamp=max(round(now * 1e6), newest + 1))
        shelf.set(stamped, now)
        return stamped

    async def restore(self, blocks: Sequence[Block], now: float) -> None:
        for block in blocks:
            _, known = self._shelf.orders.get(block.key, (0.0, None))
            if known is None or known.stamp < block.stamp:
                self._shelf.set(block, now)

    async def all(self) -> Stored:
        self._shelf.sweep()
        found = [block for _, block in self._shelf.orders.values()]
        return Stored(found, await self.mark())

    async def mark(self) -> str:
        return f"{self._shelf.epoch}:{self._shelf.revision}"

    async def aclose(self) -> None:
        """Nothing to let go of."""
