"""``/v1/channels/{channel}/history``: what a channel has kept."""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import Response

from realtime.edges.http.auth import Callers
from realtime.edges.http.errors import JSONResponse
from realtime.edges.http.fields import Query, refuse
from realtime.edges.http.host import Host
from realtime.hooks import Wants
from realtime.types import Channel, Position
from realtime.wire.checks import MAX_SAFE
from realtime.wire.native_encode import plain_publication

MAX_LIMIT = 100_000
"""The most that ``limit`` may be; a page has at most ``history.max_page``."""

MAX_EPOCH_CHARS = 64

SWITCH = ("false", "true")


class Histories:
    """The handlers of histories."""

    def __init__(self, host: Host, callers: Callers) -> None:
        self._host = host
        self._callers = callers

    async def read(self, request: Request) -> Response:
        """A page of what is kept."""
        caller = await self._callers.of(request)
        channel = Channel(request.path_params["channel"])
        self._host.access.check_history(caller.identity, channel)
        hooks = self._host.hooks.channels
        await hooks.check_read(caller.identity, channel, Wants.HISTORY)
        query = Query(request.query_params, ("offset", "epoch", "limit", "reverse"))
        limit = None
        if query.get("limit") is not None:
            limit = query.integer("limit", 0, MAX_LIMIT, 0)
        reverse = query.choice("reverse", SWITCH, "false") == "true"
        page = await self._host.keeping.history(
            channel, _since(query), limit, reverse=reverse
        )
        return JSONResponse(
            {
                "channel": channel,
                "offset": page.top.offset,
                "epoch": page.top.epoch,
                "publications": [
                    plain_publication(one, orjson.Fragment) for one in page.publications
                ],
                "complete": page.complete,
                "more": page.more,
            }
        )

    async def forget(self, request: Request) -> Response:
        """Remove what is kept; the offsets go on."""
        caller = await self._callers.backend(request)
        channel = Channel(request.path_params["channel"])
        self._host.access.check_history(caller.identity, channel)
        Query(request.query_params, ())
        await self._host.keeping.forget(channel)
        return JSONResponse({"channel": channel})

    async def handle(self, request: Request) -> Response:
        """Do what the method says."""
        if request.method == "DELETE":
            return await self.forget(request)
        return await self.read(request)


def _since(query: Query) -> Position | None:
    """Read a position of two parameters, of which neither means anything alone."""
    epoch = query.get("epoch")
    if (query.get("offset") is None) is not (epoch is None):
        missing = "offset" if epoch is not None else "epoch"
        refuse(missing, "is missing: a position is an offset and an epoch")
    if epoch is None:
        return None
    if not 1 <= len(epoch) <= MAX_EPOCH_CHARS:
        refuse("epoch", f"must have 1 to {MAX_EPOCH_CHARS} characters")
    return Position(query.integer("offset", 0, MAX_SAFE, 0), epoch)
