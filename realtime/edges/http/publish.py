"""``/v1/publish`` and ``/v1/broadcast``: one publication to one channel, or to many."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from realtime.edges.http.auth import Caller, Callers
from realtime.edges.http.body import Bodies
from realtime.edges.http.errors import JSONResponse, error_object, unavailable
from realtime.edges.http.fields import Body, text, texts
from realtime.edges.http.host import Host
from realtime.errors import LIMIT_EXCEEDED, CommandError, Unavailable
from realtime.types import Channel, JSONText
from realtime.wire import checks

MAX_CHANNELS = 1000
"""The most channels that one broadcast names."""

MAX_CHARS = 1024
"""Of what may be a channel; what is over the real limit is told as bad_channel."""


class Publishing:
    """The handlers of publications."""

    def __init__(self, host: Host, callers: Callers, bodies: Bodies) -> None:
        self._host = host
        self._callers = callers
        self._bodies = bodies

    async def publish(self, request: Request) -> Response:
        """Publish to one channel; answer once the broker has it."""
        caller = await self._callers.of(request)
        decoded, _ = await self._bodies.read(request)
        body = Body(decoded, ("channel", "data"))
        channel = body.required("channel", text(MAX_CHARS))
        data = self._data(body)
        await self._publish(caller, channel, data)
        return JSONResponse({"published": 1})

    async def broadcast(self, request: Request) -> Response:
        """
        Publish the same to many channels; what failed is told channel by channel.

        A channel that is named twice is published to once.
        """
        caller = await self._callers.of(request)
        decoded, _ = await self._bodies.read(request)
        body = Body(decoded, ("channels", "data"))
        channels = list(dict.fromkeys(body.required("channels", texts(MAX_CHANNELS))))
        data = self._data(body)
        failed = []
        down: Unavailable | None = None
        for channel in channels:
            try:
                if down is None:
                    await self._publish(caller, channel, data)
                    continue
                error = unavailable(down)  # not tried: each try may take seconds
            except CommandError as exc:
                error = exc
            except Unavailable as exc:
                down, error = exc, unavailable(exc)
            failed.append({"channel": channel, **error_object(error)})
        return JSONResponse(
            {"published": len(channels) - len(failed), "errors": failed}
        )

    async def _publish(self, caller: Caller, channel: str, data: JSONText) -> None:
        hooks = self._host.hooks.channels
        data, _ = await hooks.check_publish(caller.identity, channel, data)
        await self._host.publish(Channel(channel), data)

    def _data(self, body: Body) -> JSONText:
        data = body.nullable("data", checks.json)
        limit = self._host.limits.max_publication_bytes
        if len(data) > limit:
            raise CommandError(
                LIMIT_EXCEEDED,
                f"data: {len(data)} bytes as JSON, at most {limit} are taken",
                field="data",
            )
        return JSONText(data)
