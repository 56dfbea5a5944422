"""``GET /openapi.json``: the description of this edge, true for the one who asks."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from realtime import __version__
from realtime.edges.http.auth import Callers, has_credentials
from realtime.edges.http.counters import visible
from realtime.edges.http.errors import JSONResponse
from realtime.edges.http.host import Host
from realtime.edges.http.openapi import document
from realtime.edges.http.openapi.parts import Facts


class Description:
    """The handler of the description."""

    def __init__(self, host: Host, callers: Callers) -> None:
        self._host = host
        self._callers = callers

    async def get(self, request: Request) -> Response:
        """The document, with the counters that the caller may watch."""
        host = self._host
        open = host.server.dev or host.parts.auth.anonymous
        known = open or has_credentials(request)
        identity = (await self._callers.of(request)).identity if known else None
        facts = Facts(
            __version__, host.limits, visible(host, identity) if identity else (), open
        )
        return JSONResponse(document(facts, host.server.dashboard))
