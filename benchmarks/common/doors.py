"""
Servers to compare with when clients come in: bare ones, and one as it is written by
hand with `websockets`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import cast

import jwt
import orjson
import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from realtime.bench.frames import JSON_V1
from realtime.bench.local import SECRET
from realtime.bench.machine import raise_file_limit
from realtime.bench.sockets import HOST

BACKLOG = 4096
ANSWER = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    f"Sec-WebSocket-Protocol: {JSON_V1}\r\n\r\n"
).encode()

_BOTH = b'{"type":"welcome"}{"type":"subscribed"}'  # the answer to whatever is said
CANNED = b"\x81\x7e" + (200).to_bytes(2, "big") + _BOTH.ljust(200)


class Upgrading(asyncio.Protocol):
    """Reads a request to its end, answers by heart, and nothing more."""

    __slots__ = ("_head", "_transport")

    _transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait."""
        self._transport = cast(asyncio.WriteTransport, transport)
        self._head: bytes | None = b""

    def data_received(self, data: bytes) -> None:
        """Answer when the request is complete."""
        if self._head is None:
            self.said()
            return
        self._head += data
        if self._head.endswith(b"\r\n\r\n"):
            self._head = None
            self._transport.write(ANSWER)

    def said(self) -> None:
        """Take what comes after it."""


class Answering(Upgrading):
    """Answers also what is said afterwards, without a look at it."""

    __slots__ = ()

    def said(self) -> None:
        """Answer."""
        self._transport.write(CANNED)


def serve_bare(
    pipe: Connection, protocol: Callable[[], asyncio.Protocol], fast: bool
) -> None:
    """Serve by *protocol*, on uvloop if *fast*; tells its port first."""
    raise_file_limit()
    make = uvloop.new_event_loop if fast else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(_serve_bare(pipe.send, protocol))


async def _serve_bare(
    tell: Callable[[int], None], protocol: Callable[[], asyncio.Protocol]
) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, HOST, 0, backlog=BACKLOG)
    tell(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def serve_by_hand(pipe: Connection) -> None:
    """
    Serve by `websockets`' asyncio API, compression off: check the token, keep a set of
    connections per channel. Tells its port first.
    """
    raise_file_limit()
    asyncio.run(_serve_by_hand(pipe.send))


async def _serve_by_hand(tell: Callable[[int], None]) -> None:
    channels: dict[str, set[ServerConnection]] = {}

    async def handle(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            said = orjson.loads(await connection.recv())
            jwt.decode(said["token"], SECRET, ["HS256"])
            await connection.send('{"type":"welcome"}')
            said = orjson.loads(await connection.recv())
            members = channels.setdefault(said["channel"], set())
            members.add(connection)
            await connection.send('{"type":"subscribed"}')
            try:
                async for _ in connection:
                    pass
            finally:
                members.discard(connection)

    async with serve(
        handle,
        HOST,
        0,
        compression=None,
        ping_interval=None,
        subprotocols=[JSON_V1],  # type: ignore[list-item]
    ) as server:
        tell(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()
