"""
``python-socketio`` as an ASGI application on uvicorn: rooms, with its Redis manager.

It checks no token: its authentication is a handler that the application writes, and
here it lets everybody in. WebSockets only, no long polling before. The keepalive is its
own; uvicorn's is off, so that nobody is asked twice. Compression is off.
"""

from __future__ import annotations

from typing import Any

import socketio
import uvicorn

from realtime.bench.peers.serving import Place, listen, place


def application(where: Place) -> socketio.ASGIApp:
    """Return the application; Redis joins it with other processes."""
    redis = where.redis
    manager = None if redis is None else socketio.AsyncRedisManager(redis)
    server = socketio.AsyncServer(
        async_mode="asgi",
        transports=["websocket"],
        client_manager=manager,
        ping_interval=where.keepalive_s,
        cors_allowed_origins="*",
    )

    @server.event
    async def connect(sid: str, environ: dict[str, Any], auth: object) -> None:
        pass

    @server.event
    async def subscribe(sid: str, channel: str) -> str:
        await server.enter_room(sid, channel)
        return channel

    @server.event
    async def publish(sid: str, channel: str, data: object) -> None:
        await server.emit("message", data, room=channel)

    return socketio.ASGIApp(server)


def main() -> None:
    """Serve until stopped."""
    where = place(__doc__ or "")
    config = uvicorn.Config(
        application(where),
        loop="uvloop",
        http="httptools",
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
    )
    uvicorn.Server(config).run([listen(where.port)])


if __name__ == "__main__":
    main()
