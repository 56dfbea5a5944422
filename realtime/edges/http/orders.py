"""
What backends order of connections, on all nodes: disconnect, unsubscribe, refresh; and
what they ask of them: a user's connections, the channels, the nodes.

Laws: an order is answered with 200 only when every living node has obeyed; otherwise
the nodes that have not are named, and giving it again is safe. Each order leaves a line
in the log, whatever comes of it: who gave it, and about whom.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict

import structlog
from starlette.requests import Request
from starlette.responses import Response

from realtime.core.channels import LIVE, MAX_LIVE_CHARS, check_channel, namespace_of
from realtime.core.naming import parse_live
from realtime.edges.http.auth import Caller, Callers
from realtime.edges.http.body import Bodies
from realtime.edges.http.errors import (
    RETRY_AFTER_S,
    JSONResponse,
    error_object,
    error_response,
)
from realtime.edges.http.fields import Body, Query, instant, refuse, text
from realtime.edges.http.host import Host
from realtime.engine.administration import Target
from realtime.engine.control import Outcome
from realtime.errors import UNAVAILABLE, CommandError, Unavailable
from realtime.types import Channel, ConnectionId, UserId
from realtime.wire import checks

log = structlog.get_logger(__name__)

MAX_USER_CHARS = 255
MAX_ID_CHARS = 64
MAX_REASON_CHARS = 123
"""Of a close frame, RFC 6455, 5.5; what is more as bytes is cut off."""

MAX_CHANNELS = 1_000
"""The most channels in one answer."""


class Ordering:
    """The handlers of orders about connections."""

    def __init__(self, host: Host, callers: Callers, bodies: Bodies) -> None:
        self._host = host
        self._callers = callers
        self._bodies = bodies

    async def disconnect(self, request: Request) -> Response:
        """Close the connections of a user, or one."""
        caller, target, body = await self._order(request, ("reconnect", "reason"))
        reconnect = body.optional("reconnect", checks.switch) is True
        reason = body.optional("reason", text(MAX_REASON_CHARS)) or ""
        with noted(caller, "disconnect", **target.arguments, reconnect=reconnect):
            outcome = await self._host.admin.disconnect(
                target, reconnect=reconnect, reason=reason
            )
        audit(caller, "disconnect", outcome, **target.arguments, reconnect=reconnect)
        return told(outcome, {"disconnected": outcome.done})

    async def unsubscribe(self, request: Request) -> Response:
        """End their subscriptions to a channel."""
        caller, target, body = await self._order(request, ("channel",))
        channel = self._channel(body.required("channel", text(MAX_LIVE_CHARS)))
        with noted(caller, "unsubscribe", **target.arguments, channel=channel):
            outcome = await self._host.admin.unsubscribe(target, channel)
        audit(caller, "unsubscribe", outcome, **target.arguments, channel=channel)
        return told(outcome, {"unsubscribed": outcome.done})

    async def refresh(self, request: Request) -> Response:
        """Let their tokens expire, now or at another time."""
        caller, target, body = await self._order(request, ("expires_at",))
        expires_at = body.optional("expires_at", instant)
        with noted(caller, "refresh", **target.arguments, expires_at=expires_at):
            outcome = await self._host.admin.refresh(target, expires_at)
        audit(caller, "refresh", outcome, **target.arguments, expires_at=expires_at)
        return told(outcome, {"refreshed": outcome.done})

    async def connections(self, request: Request) -> Response:
        """What is known of a user's connections."""
        await self._callers.backend(request)
        Query(request.query_params, ())
        outcome, found = await self._host.admin.connections(Target(user_in(request)))
        more = any(result.get("more") for result in outcome.results.values())
        return told(outcome, {"connections": found, "complete": not more})

    async def channels(self, request: Request) -> Response:
        """A page of the channels that have subscribers, by name."""
        await self._callers.backend(request)
        query = Query(request.query_params, ("prefix", "limit", "cursor"))
        prefix, after = (
            _short(name, query.get(name) or "") for name in ("prefix", "cursor")
        )
        limit = query.integer("limit", 1, MAX_CHANNELS, 100)
        outcome, page = await self._host.admin.channels(prefix, after, limit)
        found: dict[str, object] = {
            "channels": [
                {"channel": channel, "subscribers": subscribers}
                for channel, subscribers in page.channels
            ]
        }
        if page.cursor is not None:
            found["cursor"] = page.cursor
        return told(outcome, found)

    async def nodes(self, request: Request) -> Response:
        """What every process reports of itself."""
        await self._callers.backend(request)
        Query(request.query_params, ())
        nodes = [asdict(report) for report in await self._host.admin.nodes()]
        return JSONResponse({"nodes": nodes, "at": self._host.parts.clock.time()})

    async def _order(
        self, request: Request, fields: tuple[str, ...]
    ) -> tuple[Caller, Target, Body]:
        caller = await self._callers.backend(request)
        Query(request.query_params, ())
        target = _target(request)
        return caller, target, Body(await self._bodies.read_optional(request), fields)

    def _channel(self, name: str) -> Channel:
        check_channel(name)
        if namespace_of(name) == LIVE:
            return parse_live(name, self._host.counters).channel
        return Channel(name)


def user_in(request: Request) -> UserId:
    """Return the user that the path names. Raises CommandError BAD_MESSAGE."""
    return UserId(_named(request, "user", MAX_USER_CHARS))


def _target(request: Request) -> Target:
    if "user" in request.path_params:
        return Target(user_in(request))
    connection = _named(request, "connection", MAX_ID_CHARS)
    return Target(connection=ConnectionId(connection))


def _named(request: Request, name: str, longest: int) -> str:
    value: str = request.path_params[name]
    if not 1 <= len(value) <= longest:
        refuse(name, f"must have 1 to {longest} characters, not {len(value)}")
    return value


def _short(name: str, value: str) -> str:
    if len(value) > MAX_LIVE_CHARS:
        refuse(name, f"must have at most {MAX_LIVE_CHARS} characters")
    return value


def told(outcome: Outcome, found: Mapping[str, object]) -> Response:
    """
    Answer with what was *found* and who answered; 503 unless all nodes did.
    """
    counts = {"nodes": outcome.nodes, "answered": len(outcome.results)}
    if not outcome.problems:
        return JSONResponse({**found, **counts})
    named = "; ".join(f"{node} {what}" for node, what in outcome.problems.items())
    exc = CommandError(
        UNAVAILABLE,
        f"{len(outcome.results)} of {outcome.nodes} nodes have answered; {named}; "
        "asking again is safe",
        retry_after_s=RETRY_AFTER_S,
    )
    body = {"error": error_object(exc), **counts, "missing": list(outcome.problems)}
    return error_response(exc, body=body)


def audit(caller: Caller, order: str, outcome: Outcome | None, **what: object) -> None:
    """Write down who has ordered what."""
    counts = {}
    if outcome is not None:
        counts = {"nodes": outcome.nodes, "answered": len(outcome.results)}
        what["done"] = outcome.done
    log.info("order_given", order=order, by=caller.key or "dev", **what, **counts)


@contextmanager
def noted(caller: Caller, order: str, **what: object) -> Iterator[None]:
    """Write it down, too, if it is not known who has obeyed: some may have."""
    try:
        yield
    except Unavailable as exc:
        by = caller.key or "dev"
        log.warning("order_given", order=order, by=by, **what, error=str(exc))
        raise
