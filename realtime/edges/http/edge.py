"""
The HTTP edge as one ASGI application, whole with its middleware and error answers.

It is mounted in the assembly's Starlette application, whose lifespan yields the node as
``{"node": node}``. The node is made after the application is, so everything that needs
it is built at the first request.
"""

from __future__ import annotations

import re
from typing import TypeVar

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from realtime.edges.http.errors import exception_handlers
from realtime.edges.http.host import Host
from realtime.edges.http.live import Streams
from realtime.edges.http.middleware import (
    CatchDefects,
    CountRequests,
    HideToken,
    LocalNames,
    SetHeaders,
)
from realtime.edges.http.routes import table

AnyRoute = TypeVar("AnyRoute", Mount, Route)

_CORS_HEADERS = ("Authorization", "X-API-Key", "Idempotency-Key")
_CORS_EXPOSED = ("Retry-After",)


class Edge:
    """Answers every HTTP request; *host* is the node, when it is known beforehand."""

    def __init__(self, host: Host | None = None) -> None:
        self._host = host
        self._app: ASGIApp | None = None
        self._streams: Streams | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Build what is needed at the first request, then pass it on."""
        if self._app is None:
            self._app = self._build(self._host or scope["state"]["node"])
        await self._app(scope, receive, send)

    def _build(self, host: Host) -> ASGIApp:
        self._streams = streams = Streams(host.limits.max_connections)
        host.metrics.gauge(
            "live_streams", "Open streams of server-sent events", lambda: len(streams)
        )
        found = [_whole(route) for route in table(host, streams)]
        app: ASGIApp = Router(found, redirect_slashes=False)
        app = ExceptionMiddleware(app, exception_handlers())
        for cls, args, kwargs in reversed(_middleware(host)):
            app = cls(app, *args, **kwargs)
        return app

    @property
    def streams(self) -> Streams | None:
        """The open streams of server-sent events; None before the first request."""
        return self._streams


def _middleware(host: Host) -> list[Middleware]:
    origins = host.server.allowed_origins
    return [
        Middleware(HideToken),
        Middleware(CountRequests, metrics=host.metrics, clock=host.parts.clock),
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            allow_headers=_CORS_HEADERS,
            expose_headers=_CORS_EXPOSED,
        ),
        Middleware(SetHeaders),
        *([Middleware(LocalNames, allowed_origins=origins)] if host.server.dev else ()),
        Middleware(CatchDefects),
    ]


def routes(host: Host | None = None) -> list[BaseRoute]:
    """
    The edge as routes for the assembly's application; they match every path.

    Without *host*, the node is found in the lifespan's state under ``node``.
    """
    return [_whole(Mount("", app=Edge(host)))]


def _whole(route: AnyRoute) -> AnyRoute:
    """Let *route* match line feeds, too, which Starlette's own patterns pass by."""
    route.path_regex = re.compile(route.path_regex.pattern, re.DOTALL)
    return route


def streams_of(app: Starlette) -> Streams | None:
    """
    Return the streams of the edge that is mounted in *app*, if it has been used.

    End them when the shutdown begins: the server waits for open answers to end.
    """
    for route in app.routes:
        if isinstance(route, Mount) and isinstance(route.app, Edge):
            return route.app.streams
    return None
