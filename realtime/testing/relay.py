"""
A TCP relay that can fail in ways that a server does not on request: a connection that
is open but deaf, one that is cut in the middle, one that swallows what is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Self

HOST = "127.0.0.1"
CHUNK = 64 * 1024
REMEMBERED = 64 * 1024  # bytes of what a client has sent


class Relayed:
    """One connection through a relay."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.sent = b""  # by the client, the last part of it
        self.deaf = False  # what the server says does not reach the client
        self.mute = False  # what the client says does not reach the server
        self.flows = asyncio.Event()  # while cleared, nobody reads what the server says
        self.flows.set()
        self._client = client

    def cut(self) -> None:
        """Break the connection."""
        self._client.transport.abort()


class Relay:
    """
    Listens on a free port and passes everything on to *port* of this machine.

    With *tls* it speaks TLS to its clients. Use it as an asynchronous context manager.
    ``connections`` are those that are open.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.connections: list[Relayed] = []
        self.port = 0
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
        connection = Relayed(writer)
        try:
            up_reader, up_writer = await asyncio.open_connection(HOST, self._target)
        except OSError:
            writer.transport.abort()
            return
        self.connections.append(connection)

        async def up(data: bytes) -> None:
            connection.sent = (connection.sent + data)[-REMEMBERED:]
            if not connection.mute:
                up_writer.write(data)
                await up_writer.drain()

        async def down(data: bytes) -> None:
            if not connection.deaf:
                writer.write(data)
                await writer.drain()
            await connection.flows.wait()

        ways = [
            asyncio.create_task(_pump(reader, up)),
            asyncio.create_task(_pump(up_reader, down)),
        ]
        try:
            # When one side closes, the other is closed too.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.connections.remove(connection)
            for way in ways:
                way.cancel()
            for end in (writer, up_writer):
                end.transport.abort()
            await asyncio.wait(ways)


async def _pump(
    reader: asyncio.StreamReader, take: Callable[[bytes], Awaitable[None]]
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            await take(data)
