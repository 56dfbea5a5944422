"""
What a backend may ask of all nodes together: the questions and orders behind HTTP.

Nothing here is of one node: lists are merged, numbers are added up, and what a node did
not answer is said (``Outcome.problems``).
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from realtime.adapters.blocks.port import Block
from realtime.adapters.registry.port import NodeReport, Registry
from realtime.engine.control import Control, Listen, Outcome, Sender
from realtime.engine.metrics import Metrics
from realtime.engine.orders import Orders
from realtime.types import ConnectionId, NodeId, UserId


@dataclass(frozen=True, slots=True)
class Target:
    """Whom an order is about: all connections of a user, or one connection."""

    user: UserId | None = None
    connection: ConnectionId | None = None

    @property
    def arguments(self) -> dict[str, str]:
        """It as it travels, and as it is logged."""
        if self.user is not None:
            return {"user": self.user}
        assert self.connection is not None
        return {"connection": self.connection}


@dataclass(frozen=True, slots=True)
class ChannelPage:
    """Channels with their subscribers on all nodes; *cursor* asks for the next page."""

    channels: Sequence[tuple[str, int]]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class BlockPage:
    """Orders in force, in a stable order; *cursor* asks for the next page."""

    orders: Sequence[Block]
    cursor: str | None


class Administration:
    """The facade of blocks and orders; one per node, and any of them will do."""

    def __init__(
        self, orders: Orders, sender: Sender, registry: Registry, metrics: Metrics
    ) -> None:
        self._node = orders.node
        self._control = Control(orders, sender, registry, metrics)
        self._gate = orders.gate
        self._registry = registry
        self._clock = orders.clock

    async def start(self, listen: Listen) -> None:
        """Begin to hear what other nodes order. Raises BrokerUnavailable."""
        await self._control.start(listen)

    def stop(self) -> None:
        """Obey nobody any more: the node is closing."""
        self._control.stop()

    # -- connections -------------------------------------------------------------

    async def disconnect(
        self, target: Target, *, reconnect: bool = False, reason: str = ""
    ) -> Outcome:
        """Close connections. Raises CommandError RATE_LIMITED, Unavailable."""
        return await self._control.order(
            "disconnect",
            {**target.arguments, "reconnect": reconnect, "reason": reason},
        )

    async def unsubscribe(self, target: Target, channel: str) -> Outcome:
        """End subscriptions to *channel*, by its canonical name. Raises the same."""
        return await self._control.order(
            "unsubscribe", {**target.arguments, "channel": channel}
        )

    async def refresh(self, target: Target, expires_at: float | None = None) -> Outcome:
        """Let tokens expire now, or at *expires_at*. Raises the same."""
        return await self._control.order(
            "refresh", {**target.arguments, "expires_at": expires_at}
        )

    async def connections(self, target: Target) -> tuple[Outcome, Sequence[Any]]:
        """Return what is known of the connections, the oldest first."""
        outcome = await self._control.order("connections", target.arguments)
        found = [
            one
            for result in outcome.results.values()
            for one in result.get("connections", ())
        ]
        return outcome, sorted(found, key=lambda one: (one["since"], one["connection"]))

    # -- channels ------------------------------------------------------------------

    async def channels(
        self, prefix: str, after: str, limit: int
    ) -> tuple[Outcome, ChannelPage]:
        """Return at most *limit* channels that come after *after*, by name."""
        outcome = await self._control.order(
            "channels", {"prefix": prefix, "after": after, "limit": limit}
        )
        return outcome, merge_channels(outcome.results, limit)

    # -- blocks and revocations ------------------------------------------------------

    async def block(self, user: UserId, for_s: float) -> tuple[Outcome, Block]:
        """
        Turn *user* away for so many seconds from now.

        Raises:
            TooManyOrders: If there is no room for it.
            Unavailable: If it may not have been stored, or nodes cannot be reached.
        """
        return await self._put(Block(user, self._clock.time() + for_s))

    async def unblock(self, user: UserId) -> Outcome | None:
        """Take a block back; None if there was none. Raises Unavailable."""
        stored = await self._gate.lift(user, revocation=False)
        return None if stored is None else await self._spread(stored, 0)

    async def revoke(
        self, user: UserId | None, issued_before: float | None, for_s: float
    ) -> tuple[Outcome, Block]:
        """
        Refuse tokens issued before an instant (None: now), of one user or of all.

        It is remembered for *for_s* seconds. What was revoked stays so: an order that
        reaches less far than the one in force changes nothing. Raises as ``block``.
        """
        now = self._clock.time()
        before = now if issued_before is None else issued_before
        known = await self._gate.find(user, revocation=True)
        until = now + for_s
        if known is not None and known.issued_before is not None:
            before, until = max(before, known.issued_before), max(until, known.until)
        return await self._put(Block(user, until, before))

    async def unrevoke(self, user: UserId | None) -> Outcome | None:
        """Take a revocation back; None if there was none. Raises Unavailable."""
        stored = await self._gate.lift(user, revocation=True)
        return None if stored is None else await self._spread(stored, 0)

    async def blocks(self, after: str, limit: int) -> BlockPage:
        """Return a page of what is in force, on every node. Raises Unavailable."""
        await self._gate.sync()
        named = {name_of(order): order for order in self._gate.in_force()}
        names = heapq.nsmallest(limit + 1, (name for name in named if name > after))
        page = names[:limit]
        cursor = page[-1] if len(names) > limit else None
        return BlockPage([named[name] for name in page], cursor)

    async def _put(self, order: Block) -> tuple[Outcome, Block]:
        stored, done = await self._gate.put(order)
        return await self._spread(stored, done), stored

    async def _spread(self, stored: Block, done: int) -> Outcome:
        outcome = await self._control.order("block", {"order": asdict(stored)})
        # It was obeyed here when it was stored; hearing of it again changed nothing.
        results = {**outcome.results, self._node: {"done": done}}
        return Outcome(results, outcome.problems)

    # -- nodes -----------------------------------------------------------------------

    async def nodes(self) -> list[NodeReport]:
        """Return what every living process reports of itself. Raises Unavailable."""
        return await self._registry.nodes()


def name_of(order: Block) -> str:
    """Return the name by which orders are sorted and pages are asked for."""
    kind = "block" if order.issued_before is None else "revocation"
    return f"{kind}:{order.user}" if order.user is not None else kind


def merge_channels(
    results: Mapping[NodeId, Mapping[str, Any]], limit: int
) -> ChannelPage:
    """
    Join the pages of all nodes into one of at most *limit* channels.

    A node whose page ended early may have subscribers on channels that come later: what
    lies behind the end of any such page is left to the next one.
    """
    counts: dict[str, int] = {}
    ends = []
    for result in results.values():
        for name, count in result["channels"]:
            counts[name] = counts.get(name, 0) + count
        if result["more"]:
            ends.append(result["channels"][-1][0])
    known = sorted(name for name in counts if not ends or name <= min(ends))
    page = known[:limit]
    more = len(page) < len(counts) or bool(ends)
    return ChannelPage(
        [(name, counts[name]) for name in page], page[-1] if more else None
    )
