"""
What every request passes through, outermost first; plain ASGI, no task per request.

    HideToken       takes ?access_token= out of the address before anybody logs it
    CountRequests   counts and times answers by route template
    LocalNames      under --dev, answers nobody who calls us by a name of his own
    CatchDefects    logs what nobody expected and answers 500, without a traceback
    SetHeaders      says nosniff on every answer
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_plus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from realtime.clock import Clock
from realtime.edges.http.errors import error_response
from realtime.edges.local import is_safe_name, refusal
from realtime.engine.metrics import Metrics
from realtime.errors import INTERNAL, PERMISSION_DENIED, CommandError

log = structlog.get_logger(__name__)

#: Where HideToken leaves the token for those that accept one in the address.
ACCESS_TOKEN = "realtime.access_token"

_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})


class HideToken:
    """
    Moves ``access_token`` from the query into the scope.

    The server's access log and every later reader of the address see it without the
    token, whichever path it was sent to by mistake.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["query_string"]:
            _hide(scope)
        await self.app(scope, receive, send)


def _hide(scope: Scope) -> None:
    kept = []
    for part in scope["query_string"].split(b"&"):
        name, _, value = part.partition(b"=")
        if unquote_plus(name.decode("latin-1")) == "access_token":
            scope[ACCESS_TOKEN] = unquote_plus(value.decode("latin-1"))
        else:
            kept.append(part)
    scope["query_string"] = b"&".join(kept)


class CountRequests:
    """
    Counts answers by route, method and status, and times them to their first byte.

    Labels are bounded: the route's template instead of its path, ``other`` for what no
    route has.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, clock: Clock) -> None:
        self.app = app
        self.metrics = metrics
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = self.clock.monotonic()

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(scope, message["status"], started)
            await send(message)

        await self.app(scope, receive, count)

    def _count(self, scope: Scope, status: int, started: float) -> None:
        # The router leaves the route that it chose in the scope.
        found = scope.get("route")
        route = found.path if isinstance(found, Route) else "other"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.http_requests.labels(route, method, str(status)).inc()
        self.metrics.http_seconds.labels(route).observe(
            self.clock.monotonic() - started
        )


class LocalNames:
    """Refuses pages of strangers that pose as ours; see ``edges.local``."""

    def __init__(self, app: ASGIApp, allowed_origins: Sequence[str]) -> None:
        self.app = app
        self.allowed_origins = allowed_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.app
        if scope["type"] == "http":
            name = Headers(scope=scope).get("host", "")
            if not is_safe_name(name, self.allowed_origins):
                app = error_response(CommandError(PERMISSION_DENIED, refusal(name)))
        await app(scope, receive, send)


class CatchDefects:
    """The last resort: a traceback in the log, a plain sentence to the client."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def note(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, note)
        except ClientDisconnect:
            log.debug("http_client_left", path=scope["path"])
        except Exception:
            log.exception("http_failed", method=scope["method"], path=scope["path"])
            if not started:
                await error_response(CommandError(INTERNAL))(scope, receive, send)


class SetHeaders:
    """Forbids browsers to guess a content type, so that no answer can become a page."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def set_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("x-content-type-options", "nosniff")
            await send(message)

        await self.app(scope, receive, set_headers)
