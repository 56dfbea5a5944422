"""
Django Channels: one consumer a connection, groups by ``channels-redis``.

The variants: ``core`` is the channel layer that its documentation shows first (lists in
Redis), ``pubsub`` the one on Redis' publish and subscribe; both are served by uvicorn.
``daphne`` is the core layer served by Channels' own server. The layer's capacity is
raised from 100 messages, which a fan-out would overflow and lose. No session and no
user is looked up, and the pings are the server's. Compression is off.
"""

from __future__ import annotations

import json
from typing import Any

from realtime.bench.peers.serving import BACKLOG, HOST, Place, listen, place

LAYERS = {
    "core": "channels_redis.core.RedisChannelLayer",
    "daphne": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}
CAPACITY = 100_000


def _configure(layer: str, redis: str) -> None:
    """Set up Django, which must happen before anything of Channels is imported."""
    import django
    from django.conf import settings

    # The defaults of redis-py 8 are too small for what waits here for ever: a receiver
    # for the process, and a connection of the pool for each consumer that subscribes.
    host = {"address": redis, "socket_timeout": None, "max_connections": CAPACITY}
    config: dict[str, Any] = {"hosts": [host], "capacity": CAPACITY}
    settings.configure(
        INSTALLED_APPS=["channels"],
        CHANNEL_LAYERS={"default": {"BACKEND": layer, "CONFIG": config}},
        ALLOWED_HOSTS=["*"],
    )
    django.setup()


def application() -> Any:
    """Return the ASGI application."""
    from channels.generic.websocket import AsyncWebsocketConsumer
    from channels.routing import ProtocolTypeRouter

    class Member(AsyncWebsocketConsumer):
        groups: list[str] = []
        channel = ""

        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            said = json.loads(text_data or "{}")
            if "subscribe" in said:
                self.channel = _group(said["subscribe"])
                await self.channel_layer.group_add(self.channel, self.channel_name)
                await self.send(json.dumps({"subscribed": said["subscribe"]}))
            elif "publish" in said:
                news = {"type": "news", "text": json.dumps(said["data"])}
                await self.channel_layer.group_send(_group(said["publish"]), news)

        async def news(self, message: dict[str, Any]) -> None:
            await self.send(message["text"])

        async def disconnect(self, code: int) -> None:
            if self.channel:
                await self.channel_layer.group_discard(self.channel, self.channel_name)

    return ProtocolTypeRouter({"websocket": Member.as_asgi()})


def _group(channel: str) -> str:
    """Return a name that Channels takes: it allows no colon."""
    return channel.replace(":", ".")


def main() -> None:
    """Serve until stopped."""
    where = place(__doc__ or "")
    if where.redis is None:
        raise SystemExit("Channels joins its consumers by Redis: give --redis URL")
    _configure(LAYERS[where.variant or "core"], where.redis)
    if where.variant == "daphne":
        _daphne(where)
    else:
        _uvicorn(where)


def _uvicorn(where: Place) -> None:
    import uvicorn

    config = uvicorn.Config(
        application(),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        ws_ping_interval=where.keepalive_s,
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
    )
    uvicorn.Server(config).run([listen(where.port)])


def _daphne(where: Place) -> None:
    from daphne.server import Server

    server = Server(
        application(),
        endpoints=[f"tcp:port={where.port}:interface={HOST}:backlog={BACKLOG}"],
        signal_handlers=True,
        ping_interval=int(where.keepalive_s),
        application_close_timeout=2,
    )
    server.run()


if __name__ == "__main__":
    main()
