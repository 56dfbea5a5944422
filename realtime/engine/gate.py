"""
Who is turned away although the token is good: blocked users, revoked tokens.

A node keeps a copy of all orders, so that asking is synchronous and goes on when Redis
does not answer. The copy is made before the node takes anybody, is compared with the
store every few seconds and after each loss of a connection, and hears of new orders at
once from the node that was given them. Of several copies the newest order wins,
wherever it is found: what the store has lost is put back from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from realtime.adapters.blocks.port import Block, Blocks
from realtime.clock import Clock
from realtime.core.access import NOTHING, Identity, Kind
from realtime.engine.metrics import Metrics
from realtime.errors import BLOCKED, TOKEN_REVOKED, CommandError, Unavailable
from realtime.types import UserId

log = structlog.get_logger(__name__)

SYNC_S = 5.0
"""How often the copy is compared with the store: what was not heard comes by then."""

FULL_EVERY = 12
"""Every so many comparisons everything is read, whether or not the mark has changed."""

Enforce = Callable[[Block], int]
"""Turns out who is connected and may not be any more; returns how many they are."""


class Gate:
    """This node's copy of blocks and revocations; see the module."""

    def __init__(self, blocks: Blocks, clock: Clock, metrics: Metrics) -> None:
        self.enforce: Enforce = _nobody
        self._blocks = blocks
        self._clock = clock
        self._orders: dict[tuple[UserId | None, bool], Block] = {}
        self._mark: str | None = None
        self._compared_at = clock.monotonic()
        self._failing = False
        metrics.gauge("blocks", "Blocks and revocations in force", self._count)
        metrics.gauge(
            "blocks_age_seconds",
            "Since the copy of blocks was last compared with the store",
            lambda: clock.monotonic() - self._compared_at,
        )

    # -- asking ------------------------------------------------------------------

    def check(self, identity: Identity) -> None:
        """
        Raise unless *identity* may be here now. Backends always may.

        Raises:
            CommandError: BLOCKED, with the time that is left, or TOKEN_REVOKED.
        """
        order = self.hit_by(identity)
        if order is None:
            return
        if order.issued_before is None:
            left_s = round(order.until - self._clock.time(), 3)
            raise CommandError(BLOCKED, retry_after_s=max(left_s, 0.001))
        raise CommandError(TOKEN_REVOKED, _why(identity), field="token")

    def hit_by(self, identity: Identity) -> Block | None:
        """Return the order for which *identity* may not be here, a block first."""
        if not self._orders or identity.kind is Kind.BACKEND:
            return None
        now = self._clock.time()
        meant = (None,) if identity.user is None else (identity.user, None)
        for user in meant:
            block = self._in_force(user, False, now)
            if block is not None:
                return block
        if not presents_token(identity):
            return None
        for user in meant:
            order = self._in_force(user, True, now)
            if order is not None and _is_revoked(identity, order):
                return order
        return None

    def refusal(self, identity: Identity) -> CommandError | None:
        """Return what ``check`` would raise."""
        try:
            self.check(identity)
        except CommandError as exc:
            return exc
        return None

    def in_force(self) -> list[Block]:
        """Return the orders that are neither lifted nor over."""
        now = self._clock.time()
        return [
            order
            for order in self._orders.values()
            if not order.lifted and order.until > now
        ]

    def _count(self) -> int:
        return len(self.in_force())

    def _in_force(
        self, user: UserId | None, revocation: bool, now: float
    ) -> Block | None:
        order = self._orders.get((user, revocation))
        if order is None or order.lifted or order.until <= now:
            return None
        return order

    # -- orders ------------------------------------------------------------------

    async def put(self, order: Block) -> tuple[Block, int]:
        """
        Store *order* and obey it here; return it as stored, and how many it hit here.

        Raises:
            TooManyOrders: If there is no room for it.
            Unavailable: If it may not have been stored. Repeating is harmless.
        """
        known = self._orders.get(order.key)
        newest = known.stamp if known is not None else 0
        now = self._clock.time()
        stored = await self._blocks.put(replace(order, stamp=newest), now)
        return stored, self.apply(stored)

    async def lift(self, user: UserId | None, *, revocation: bool) -> Block | None:
        """
        Take an order back; return what is stored now, None if there was no order.

        Raises:
            Unavailable: If it may not have been taken back.
        """
        order = await self.find(user, revocation=revocation)
        if order is None:
            return None
        stored, _ = await self.put(replace(order, lifted=True))
        return stored

    async def find(self, user: UserId | None, *, revocation: bool) -> Block | None:
        """Return the order that is in force for *user* itself. Raises Unavailable."""
        await self.sync()
        return self._in_force(user, revocation, self._clock.time())

    def apply(self, order: Block) -> int:
        """
        Take *order* into the copy if it is new; return how many it turns out here.
        """
        known = self._orders.get(order.key)
        if known is not None and known.stamp >= order.stamp:
            return 0
        self._orders[order.key] = order
        if order.lifted or order.until <= self._clock.time():
            return 0
        return self.enforce(order)

    # -- the copy ----------------------------------------------------------------

    async def sync(self, *, full: bool = False) -> None:
        """
        Make the copy as new as the store, and put back what the store has lost.

        Raises:
            Unavailable: If the store does not answer; the copy stays as it is.
        """
        if full or await self._blocks.mark() != self._mark:
            stored = await self._blocks.all()
            for order in stored.orders:
                self.apply(order)
            await self._restore({order.key: order.stamp for order in stored.orders})
            self._mark = stored.mark
        self._compared_at = self._clock.monotonic()

    async def _restore(self, there: dict[tuple[UserId | None, bool], int]) -> None:
        now = self._clock.time()
        for key in [key for key, order in self._orders.items() if order.until <= now]:
            del self._orders[key]
        lost = [
            order
            for key, order in self._orders.items()
            if order.stamp > there.get(key, 0)
        ]
        if lost:
            await self._blocks.restore(lost, now)
            log.warning("blocks_restored", orders=len(lost))

    async def run(self) -> None:
        """Keep the copy new until cancelled."""
        passes = 0
        while True:
            await self._clock.sleep(SYNC_S)
            passes += 1
            await self.catch_up(full=passes % FULL_EVERY == 0)

    async def catch_up(self, *, full: bool = True) -> None:
        """Do ``sync``; when that fails, say so once and go on with the copy."""
        try:
            await self.sync(full=full)
        except Unavailable as exc:
            if not self._failing:
                log.warning("blocks_unavailable", error=str(exc))
            self._failing = True
        except (
            Exception
        ):  # a defect of ours; the copy grows old, and the metric says so
            if not self._failing:
                log.exception("blocks_failed")
            self._failing = True
        else:
            self._failing = False


def presents_token(identity: Identity) -> bool:
    """Whether there is a token that could be revoked; anonymous sessions have none."""
    return (
        identity.user is not None
        or identity.expires_at is not None
        or identity.issued_at is not None
        or identity.grants != NOTHING
    )


def _is_revoked(identity: Identity, order: Block) -> bool:
    assert order.issued_before is not None
    return identity.issued_at is None or identity.issued_at < order.issued_before


def _why(identity: Identity) -> str:
    if identity.issued_at is None:
        return "token: tokens that do not say when they were issued (iat) are revoked"
    return "token: tokens issued at that time have been revoked; get a new one"


def _nobody(order: Block) -> int:
    """Until somebody is connected."""
    return 0
