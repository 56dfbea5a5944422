"""
``/v1/users/{user}/block``, ``/v1/blocks`` and ``/v1/revoke``: who is turned away.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from realtime.adapters.blocks.port import Block, TooManyOrders
from realtime.edges.http.auth import Callers
from realtime.edges.http.body import Bodies
from realtime.edges.http.errors import JSONResponse
from realtime.edges.http.fields import Body, Query, instant, refuse, span
from realtime.edges.http.host import Host
from realtime.edges.http.orders import audit, noted, told, user_in
from realtime.errors import LIMIT_EXCEEDED, CommandError
from realtime.types import UserId

MAX_BLOCKS = 1_000
"""The most blocks in one answer."""

REMEMBERED_S = 365 * 86400.0
"""How long a revocation is remembered unless it says: no token should live longer."""


class Blocking:
    """The handlers of blocks and revocations."""

    def __init__(self, host: Host, callers: Callers, bodies: Bodies) -> None:
        self._host = host
        self._callers = callers
        self._bodies = bodies

    async def user(self, request: Request) -> Response:
        """Block a user with PUT, take it back with DELETE."""
        if request.method == "DELETE":
            return await self._unblock(request)
        return await self._block(request)

    async def _block(self, request: Request) -> Response:
        """Turn a user away for a time."""
        caller = await self._callers.backend(request)
        Query(request.query_params, ())
        user = user_in(request)
        decoded, _ = await self._bodies.read(request)
        for_s = Body(decoded, ("for",)).required("for", span)
        try:
            with noted(caller, "block", user=user):
                outcome, stored = await self._host.admin.block(user, for_s)
        except TooManyOrders as exc:
            raise CommandError(LIMIT_EXCEEDED, str(exc)) from exc
        audit(caller, "block", outcome, user=user, until=stored.until)
        found = {"user": user, "until": stored.until, "disconnected": outcome.done}
        return told(outcome, found)

    async def _unblock(self, request: Request) -> Response:
        """Take a block back."""
        caller = await self._callers.backend(request)
        Query(request.query_params, ())
        user = user_in(request)
        with noted(caller, "unblock", user=user):
            outcome = await self._host.admin.unblock(user)
        if outcome is None:
            return JSONResponse({"user": user, "unblocked": False})
        audit(caller, "unblock", outcome, user=user)
        return told(outcome, {"user": user, "unblocked": True})

    async def revoke_user(self, request: Request) -> Response:
        """Refuse older tokens of a user with POST, take it back with DELETE."""
        return await self._revocation(request, user_in(request))

    async def revoke_all(self, request: Request) -> Response:
        """The same for everybody's tokens."""
        return await self._revocation(request, None)

    async def _revocation(self, request: Request, user: UserId | None) -> Response:
        if request.method == "DELETE":
            return await self._unrevoke(request, user)
        return await self._revoke(request, user)

    async def _unrevoke(self, request: Request, user: UserId | None) -> Response:
        caller = await self._callers.backend(request)
        Query(request.query_params, ())
        with noted(caller, "unrevoke", user=user):
            outcome = await self._host.admin.unrevoke(user)
        if outcome is None:
            return JSONResponse({"user": user, "unrevoked": False})
        audit(caller, "unrevoke", outcome, user=user)
        return told(outcome, {"user": user, "unrevoked": True})

    async def _revoke(self, request: Request, user: UserId | None) -> Response:
        caller = await self._callers.backend(request)
        Query(request.query_params, ())
        body = Body(await self._bodies.read_optional(request), ("issued_before", "for"))
        before = body.optional("issued_before", instant)
        self._check_past(before)
        for_s = body.optional("for", span) or REMEMBERED_S
        try:
            with noted(caller, "revoke", user=user, issued_before=before):
                outcome, stored = await self._host.admin.revoke(user, before, for_s)
        except TooManyOrders as exc:
            raise CommandError(LIMIT_EXCEEDED, str(exc)) from exc
        before = stored.issued_before
        audit(caller, "revoke", outcome, user=user, issued_before=before)
        return told(outcome, {**_shown(stored), "disconnected": outcome.done})

    def _check_past(self, before: float | None) -> None:
        """Tokens of the future would lock out everybody, by a slip of the pen."""
        latest = self._host.parts.clock.time() + self._host.parts.auth.leeway_s
        if before is not None and before > latest:
            refuse("issued_before", "lies in the future; leave it out for now")

    async def index(self, request: Request) -> Response:
        """A page of the blocks and revocations in force."""
        await self._callers.backend(request)
        query = Query(request.query_params, ("limit", "cursor"))
        limit = query.integer("limit", 1, MAX_BLOCKS, 100)
        page = await self._host.admin.blocks(query.get("cursor") or "", limit)
        found: dict[str, object] = {"blocks": [_shown(order) for order in page.orders]}
        if page.cursor is not None:
            found["cursor"] = page.cursor
        return JSONResponse(found)


def _shown(order: Block) -> dict[str, object]:
    shown: dict[str, object] = {"user": order.user, "until": order.until}
    if order.issued_before is not None:
        shown["issued_before"] = order.issued_before
    return shown
