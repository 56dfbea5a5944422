"""What operators and their tools ask: alive, ready, measured."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from realtime.edges.http.errors import JSONResponse, error_object, error_response
from realtime.edges.http.host import Host
from realtime.errors import UNAVAILABLE, CommandError


class Ops:
    """The handlers of operations; they ask nobody who he is."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def health(self, request: Request) -> Response:
        """Alive: the process answers. Says nothing about what it stands on."""
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Ready: events are counted and publications arrive; 503 says what fails."""
        checks = dict(await self._host.readiness())
        if self._host.draining:
            checks["node"] = "is shutting down"
        failed = [f"{name}: {said}" for name, said in checks.items() if said != "ok"]
        if not failed:
            return JSONResponse({"status": "ready", "checks": checks})
        exc = CommandError(UNAVAILABLE, "; ".join(failed))
        return error_response(exc, body={"error": error_object(exc), "checks": checks})

    async def metrics(self, request: Request) -> Response:
        """Measured: the exposition format of Prometheus."""
        text, content_type = self._host.metrics.render()
        return Response(text, headers={"content-type": content_type})
