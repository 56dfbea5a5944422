"""
A TCP relay that can fail in ways that a server does not on request: a connection that
is open but deaf, one that is cut in the middle, one that swallows what is sent, one
that is slow, narrow or stalled, and one of whose end the other side is not told.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from typing import Self

from realtime.testing.links import Carrier, Link

HOST = "127.0.0.1"
REMEMBERED = 64 * 1024  # bytes of what a client has sent


class Relayed:
    """
    One connection through a relay. What is said here of settings may be set at any
    time; methods are for the thread of the relay's loop.
    """

    def __init__(
        self,
        client: asyncio.StreamWriter,
        server: asyncio.StreamWriter,
        up: Link,
        down: Link,
    ) -> None:
        self.sent = b""  # by the client, the last part of it
        self.up = up  # setting: the way to the server; at first the relay's
        self.down = down  # setting: the way to the client; at first the relay's
        self.deaf = False  # setting: what the server says does not reach the client
        self.mute = False  # setting: what the client says does not reach the server
        self.half_open = False  # setting: when one side is gone, the other is not told
        self.flows = asyncio.Event()  # while cleared, nobody reads what the server says
        self.flows.set()
        self._client = client
        self._server = server

    def cut(self) -> None:
        """Break the connection."""
        self._client.transport.abort()

    def reset(self) -> None:
        """Break it with a RST to both sides, which lose what they have not read."""
        for writer in (self._client, self._server):
            _reset(writer)

    def lose_server(self) -> None:
        """The server is told that the client is gone; the client is told nothing."""
        self.half_open = self.mute = True
        self._server.transport.abort()

    def lose_client(self) -> None:
        """The client is told that the server is gone; the server is told nothing."""
        self.half_open = self.deaf = True
        self._client.transport.abort()

    async def take_up(self, data: bytes) -> None:
        """Pass on what the client has said."""
        self.sent = (self.sent + data)[-REMEMBERED:]
        if not self.mute:
            await self._write(self._server, data)

    async def take_down(self, data: bytes) -> None:
        """Pass on what the server has said."""
        if not self.deaf:
            await self._write(self._client, data)
        await self.flows.wait()

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        try:
            writer.write(data)
            await writer.drain()
        except OSError:
            # Who is not told of the end goes on into the void.
            if not self.half_open:
                raise


class Relay:
    """
    Listens on a free port and passes everything on to *port* of this machine.

    With *tls* it speaks TLS to its clients. Use it as an asynchronous context manager.
    ``connections`` are those that are open, be it on one side only. ``up`` and ``down``
    say what is wrong with the ways to the server and to the client, for every
    connection that is not given a link of its own.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.connections: list[Relayed] = []
        self.port = 0
        self.up = Link()
        self.down = Link()
        self._target = port
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def which_sent(self, word: bytes) -> list[Relayed]:
        """The open connections whose client has sent *word*."""
        return [each for each in self.connections if word in each.sent]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.create_task(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection(HOST, self._target)
        except OSError:
            writer.transport.abort()
            return
        connection = Relayed(writer, up_writer, self.up, self.down)
        self.connections.append(connection)
        up = Carrier(lambda: connection.up, connection.take_up)
        down = Carrier(lambda: connection.down, connection.take_down)
        ways = [
            asyncio.create_task(up.run(reader)),
            asyncio.create_task(down.run(up_reader)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if connection.half_open:
                await asyncio.wait(ways)
            # Otherwise, when one side closes, the other is closed too.
        finally:
            self.connections.remove(connection)
            for way in ways:
                way.cancel()
            for end in (writer, up_writer):
                end.transport.abort()
            await asyncio.wait(ways)


def _reset(writer: asyncio.StreamWriter) -> None:
    found: socket.socket | None = writer.get_extra_info("socket")
    if found is not None:
        # With no time to linger, closing sends a RST in place of a FIN.
        linger = struct.pack("ii", 1, 0)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
