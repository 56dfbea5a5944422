"""``/v1/publish`` and ``/v1/broadcast``: one publication to one channel, or to many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from realtime.adapters.broker.port import Placed
from realtime.edges.http.auth import Caller, Callers
from realtime.edges.http.body import Bodies
from realtime.edges.http.errors import JSONResponse, error_object, unavailable
from realtime.edges.http.fields import Body, integer, text, texts
from realtime.edges.http.host import Host
from realtime.engine.keeping import Once, author_of
from realtime.errors import LIMIT_EXCEEDED, CommandError, Unavailable
from realtime.types import Channel, JSONText
from realtime.wire import checks

MAX_CHANNELS = 1000
"""The most channels that one broadcast names."""

MAX_CHARS = 1024
"""Of what may be a channel; what is over the real limit is told as bad_channel."""

MAX_KEY_CHARS = 128
"""Of an idempotency key."""

OPTIONS = ("data", "tags", "idempotency_key", "version")
"""The fields of both, beside where it goes."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be published, wherever."""

    data: JSONText
    tags: Mapping[str, str] | None
    once: Once


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
        body = Body(decoded, ("channel", *OPTIONS))
        channel = body.required("channel", text(MAX_CHARS))
        message = self._message(caller, body)
        placed = await self._publish(caller, channel, message)
        return JSONResponse({"published": int(not placed.skipped), **_told(placed)})

    async def broadcast(self, request: Request) -> Response:
        """
        Publish the same to many channels; what failed is told channel by channel.

        A channel that is named twice is published to once.
        """
        caller = await self._callers.of(request)
        decoded, _ = await self._bodies.read(request)
        body = Body(decoded, ("channels", *OPTIONS))
        channels = list(dict.fromkeys(body.required("channels", texts(MAX_CHANNELS))))
        message = self._message(caller, body)
        failed, placed = [], []
        published = 0
        down: Unavailable | None = None
        for channel in channels:
            try:
                if down is None:
                    found = await self._publish(caller, channel, message)
                    published += not found.skipped
                    placed.append({"channel": channel, **_told(found)})
                    continue
                error = unavailable(down)  # not tried: each try may take seconds
            except CommandError as exc:
                error = exc
            except Unavailable as exc:
                down, error = exc, unavailable(exc)
            failed.append({"channel": channel, **error_object(error)})
        told = [one for one in placed if len(one) > 1]
        return JSONResponse(
            {
                "published": published,
                "errors": failed,
                **({"placed": told} if told else {}),
            }
        )

    async def _publish(self, caller: Caller, channel: str, message: Message) -> Placed:
        hooks = self._host.hooks.channels
        data, tags = await hooks.check_publish(
            caller.identity, channel, message.data, message.tags
        )
        return await self._host.publish(
            Channel(channel), data, tags=tags, once=message.once
        )

    def _message(self, caller: Caller, body: Body) -> Message:
        key = body.optional("idempotency_key", text(MAX_KEY_CHARS))
        version = body.optional("version", integer(0))
        author = author_of(caller.identity, caller.key)
        tags = body.optional("tags", checks.tags)
        return Message(self._data(body), tags or None, Once(key, version, author))

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


def _told(placed: Placed) -> dict[str, object]:
    """Say what became of it, as far as there is something to say."""
    told: dict[str, object] = {}
    if placed.position is not None:
        told["offset"] = placed.position.offset
        told["epoch"] = placed.position.epoch
    if placed.skipped is not None:
        told["skipped"] = placed.skipped
    if placed.local:
        told["local"] = True
    return told
