"""
What a backend may order about connections, done to those of this node.

Every order is idempotent, for it may arrive twice: what is done already is done.
Arguments and results are plain values, as they travel between nodes (engine/control).
Whatever they ask for, an answer is bounded: lists come in pages.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from realtime.adapters.blocks.port import Block
from realtime.clock import Clock
from realtime.engine.directory import Directory, Visitor
from realtime.engine.gate import Gate
from realtime.engine.tasks import Tasks
from realtime.errors import (
    BLOCKED_CLOSE,
    DISCONNECTED,
    RECONNECT_ASKED,
    REVOKED_CLOSE,
    CloseCode,
)
from realtime.types import Channel, ConnectionId, NodeId, UserId

Arguments = Mapping[str, Any]
Result = dict[str, Any]

MAX_CONNECTIONS = 1_000
"""The most connections of one user that a node tells of."""

MAX_NAMES = 1_000
"""The most names in a page."""

MAX_NAME_CHARS = 256 * 1024
"""Of all names in a page: a live channel's may have thousands."""

BATCH = 200
PAUSE_S = 0.01
"""Who must go when all must go: so many at once, then the others are served a while."""

SLICE = 2_000
"""So many names are looked at before others are served."""


class Channels(Protocol):
    """What is subscribed to here."""

    def names(self) -> Sequence[Channel]:
        """Return the channels that have subscribers here, in any order."""

    def count(self, channel: Channel) -> int:
        """Return how many subscribers *channel* has here."""


class Orders:
    """Obeys; ``HANDLERS`` says by which name."""

    def __init__(
        self,
        node: NodeId,
        directory: Directory,
        gate: Gate,
        channels: Channels,
        clock: Clock,
        tasks: Tasks,
    ) -> None:
        self.node = node
        self._directory = directory
        self.gate = gate
        self._channels = channels
        self.clock = clock
        self.tasks = tasks
        self._listing = asyncio.Lock()  # one at a time: each looks at all names
        gate.enforce = self._enforce

    # -- orders about connections --------------------------------------------------

    def disconnect(self, arguments: Arguments) -> Result:
        """Close connections: for good, or so that they come back at once."""
        code = RECONNECT_ASKED if arguments["reconnect"] else DISCONNECTED
        found = self._meant(arguments)
        for visitor in found:
            visitor.turn_out(code, arguments["reason"])
        return {"done": len(found)}

    def unsubscribe(self, arguments: Arguments) -> Result:
        """End the subscriptions to one channel."""
        channel = Channel(arguments["channel"])
        found = self._meant(arguments)
        return {"done": sum(one.end_subscription(channel) for one in found)}

    def refresh(self, arguments: Arguments) -> Result:
        """Let tokens expire now, or at another time than they say."""
        found = self._meant(arguments)
        return {"done": sum(one.renew(arguments["expires_at"]) for one in found)}

    def connections(self, arguments: Arguments) -> Result:
        """Tell of a user's connections, the oldest first."""
        facts = [one.facts() for one in self._meant(arguments)]
        facts.sort(key=lambda one: (one.since, one.connection))
        told = [{**asdict(one), "node": self.node} for one in facts[:MAX_CONNECTIONS]]
        return {"connections": told, "more": len(facts) > len(told)}

    def _meant(self, arguments: Arguments) -> list[Visitor]:
        user = arguments.get("user")
        if user is not None:
            return self._directory.of(UserId(user))
        visitor = self._directory.find(ConnectionId(arguments["connection"]))
        return [] if visitor is None else [visitor]

    # -- orders about channels -------------------------------------------------------

    async def channels(self, arguments: Arguments) -> Result:
        """Tell a page of the channels that have subscribers here, in order."""
        prefix, after, limit = (
            arguments[name] for name in ("prefix", "after", "limit")
        )
        async with self._listing:
            names = [
                name for name in self._channels.names() if not name.startswith("@")
            ]
            page = await first_names(names, prefix, after, min(limit, MAX_NAMES) + 1)
        kept = _fitting(page[:limit])
        told = [[name, self._channels.count(Channel(name))] for name in kept]
        return {"channels": told, "more": len(page) > len(kept)}

    # -- blocks ----------------------------------------------------------------------

    def block(self, arguments: Arguments) -> Result:
        """Take a block or a revocation into the copy."""
        return {"done": self.gate.apply(Block(**arguments["order"]))}

    def _enforce(self, order: Block) -> int:
        """Turn out whom *order* hits; called by the gate when it is new."""
        code = BLOCKED_CLOSE if order.issued_before is None else REVOKED_CLOSE
        if order.user is not None:
            return self._turn_out(self._directory.of(order.user), code)
        hit = [one for one in self._directory if self._is_refused(one)]
        if len(hit) <= BATCH:
            return self._turn_out(hit, code)
        self.tasks.spawn(self._turn_out_slowly(hit, code))
        return len(hit)

    async def _turn_out_slowly(self, hit: Sequence[Visitor], code: CloseCode) -> None:
        for start in range(0, len(hit), BATCH):
            self._turn_out(hit[start : start + BATCH], code)
            await self.clock.sleep(PAUSE_S)

    def _turn_out(self, visitors: Iterable[Visitor], code: CloseCode) -> int:
        done = 0
        for visitor in visitors:
            identity = visitor.identity
            error = None if identity is None else self.gate.refusal(identity)
            if error is not None:
                visitor.turn_out(code, error=error)
                done += 1
        return done

    def _is_refused(self, visitor: Visitor) -> bool:
        identity = visitor.identity
        return identity is not None and self.gate.hit_by(identity) is not None


async def first_names(
    names: Sequence[str], prefix: str, after: str, count: int
) -> list[str]:
    """
    Return the first *count* of *names*, in order, that begin with *prefix* and come
    after *after*. Others are served in between.
    """
    first: list[str] = []
    for start in range(0, len(names), SLICE):
        fitting = (
            name
            for name in names[start : start + SLICE]
            if name > after and name.startswith(prefix)
        )
        first = heapq.nsmallest(count, (*first, *fitting))
        await asyncio.sleep(0)
    return first


def _fitting(names: Sequence[str]) -> Sequence[str]:
    """Return as many as a page may have characters; at least one, if there is one."""
    chars = 0
    for place, name in enumerate(names):
        chars += len(name)
        if chars > MAX_NAME_CHARS and place:
            return names[:place]
    return names


Handler = Callable[[Orders, Arguments], Result | Awaitable[Result]]

HANDLERS: Mapping[str, Handler] = {
    "disconnect": Orders.disconnect,
    "unsubscribe": Orders.unsubscribe,
    "refresh": Orders.refresh,
    "connections": Orders.connections,
    "channels": Orders.channels,
    "block": Orders.block,
}

QUESTIONS = frozenset({"connections", "channels"})
"""Orders that change nothing: asked again, they are answered anew."""
