"""
The contract suite of blocks: every form must pass it.

Subclass ``BlocksContract`` in a test module, with the anyio plugin, and provide the
fixture ``stores``: ``open`` returns further blocks on the same storage, as another node
has them, ``lose`` empties the storage as a crash would; the fixture closes all that
were opened. There is room for ``stores.room`` orders.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Protocol

import pytest

from realtime.adapters.blocks.port import Block, Blocks, TooManyOrders
from realtime.types import UserId

LONG_S = 60.0


class Stores(Protocol):
    """What the suite asks of a form of blocks."""

    room: int

    async def open(self) -> Blocks: ...
    async def lose(self) -> None: ...


def block(user: str | None = "ann", for_s: float = LONG_S) -> Block:
    """An order that *user* may not connect."""
    return Block(None if user is None else UserId(user), time.time() + for_s)


def revocation(user: str | None = "ann", before: float = 1_700_000_000.25) -> Block:
    """An order that refuses tokens."""
    return replace(block(user), issued_before=before)


async def put(blocks: Blocks, order: Block) -> Block:
    """Store an order made now."""
    return await blocks.put(order, time.time())


async def everything(blocks: Blocks) -> set[Block]:
    """Return what the store has; each order must be told once."""
    found = (await blocks.all()).orders
    assert len({order.key for order in found}) == len(found)
    return set(found)


class BlocksContract:
    """All nodes see the newest order of each key until its time is over."""

    async def test_nobody_is_blocked_at_first(self, stores: Stores) -> None:
        """An empty store has no orders."""
        assert await everything(await stores.open()) == set()

    async def test_orders_are_seen_by_all(self, stores: Stores) -> None:
        """Unchanged, with a stamp, by every node; kinds and users are kept apart."""
        one, two = await stores.open(), await stores.open()
        orders = [
            block("ann"),
            revocation("ann"),
            revocation(None),
            block("ü{}|\n:~"),
            replace(block("bob"), lifted=True),
        ]
        stored = {await put(one, order) for order in orders}
        assert {replace(order, stamp=0) for order in stored} == set(orders)
        assert all(order.stamp > 0 for order in stored)
        assert await everything(one) == await everything(two) == stored

    async def test_a_newer_order_replaces_the_older(self, stores: Stores) -> None:
        """Of each key only the last is kept, and its stamp is greater."""
        one, two = await stores.open(), await stores.open()
        first = await put(one, block())
        second = await put(two, block(for_s=2 * LONG_S))
        third = await put(one, replace(second, lifted=True))
        assert first.stamp < second.stamp < third.stamp
        assert await everything(two) == {third}

    async def test_a_stamp_exceeds_what_the_caller_knows(self, stores: Stores) -> None:
        """So an order wins over copies of what the store has lost."""
        ahead = round(time.time() * 1e6) + 10**12
        stored = await put(await stores.open(), replace(block(), stamp=ahead))
        assert stored.stamp == ahead + 1

    async def test_orders_end_by_themselves(self, stores: Stores) -> None:
        """An order disappears after its time, and no other with it."""
        blocks = await stores.open()
        await put(blocks, block("short", for_s=0.3))
        long = await put(blocks, block("long"))
        assert len(await everything(blocks)) == 2
        deadline = time.monotonic() + 5
        while len(await everything(blocks)) > 1 and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        assert await everything(blocks) == {long}

    async def test_the_last_order_ends_too(self, stores: Stores) -> None:
        """Nothing is left when everything is over; and then it begins anew."""
        blocks = await stores.open()
        await put(blocks, block(for_s=LONG_S))
        await put(blocks, block(for_s=0.05))
        deadline = time.monotonic() + 5
        while await everything(blocks) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        assert await everything(blocks) == set()
        again = await put(blocks, block())
        assert await everything(blocks) == {again}

    async def test_what_was_lost_is_put_back(self, stores: Stores) -> None:
        """Copies keep their stamps; what is newer in the store stays."""
        blocks = await stores.open()
        ann, bob = await put(blocks, block("ann")), await put(blocks, block("bob"))
        await stores.lose()
        assert await everything(blocks) == set()
        newer = await put(blocks, replace(ann, lifted=True))
        await blocks.restore([ann, bob], time.time())
        await blocks.restore([bob], time.time())
        assert await everything(blocks) == {newer, bob}

    async def test_restoring_nothing_is_harmless(self, stores: Stores) -> None:
        """Also on an empty store."""
        blocks = await stores.open()
        await blocks.restore([], time.time())
        assert await everything(blocks) == set()

    async def test_the_mark_changes_with_every_order(self, stores: Stores) -> None:
        """And stays as it is while there is none."""
        one, two = await stores.open(), await stores.open()
        marks = [await one.mark()]
        await put(two, block())
        marks.append(await one.mark())
        assert (await one.all()).mark == await two.mark() == marks[-1]
        await put(one, block())
        marks.append(await two.mark())
        assert len(set(marks)) == 3

    async def test_the_mark_tells_of_a_loss(self, stores: Stores) -> None:
        """Even when as many orders are there again as before."""
        blocks = await stores.open()
        await put(blocks, block())
        before = await blocks.mark()
        await stores.lose()
        assert await blocks.mark() != before
        await put(blocks, block())
        assert await blocks.mark() != before

    async def test_restoring_changes_the_mark(self, stores: Stores) -> None:
        """So that other nodes read what was put back."""
        blocks = await stores.open()
        order = await put(blocks, block())
        await stores.lose()
        before = await blocks.mark()
        await blocks.restore([order], time.time())
        assert await blocks.mark() != before

    async def test_there_is_an_end_to_orders(self, stores: Stores) -> None:
        """What has no room is refused; what replaces something needs none."""
        blocks = await stores.open()
        orders = [await put(blocks, block(str(n))) for n in range(stores.room)]
        with pytest.raises(TooManyOrders, match=str(stores.room)):
            await put(blocks, block("one more"))
        await put(blocks, block("0", for_s=2 * LONG_S))
        assert len(await everything(blocks)) == len(orders)

    async def test_closing_twice_is_harmless(self, stores: Stores) -> None:
        """They may be closed again."""
        blocks = await stores.open()
        await blocks.aclose()
        await blocks.aclose()
