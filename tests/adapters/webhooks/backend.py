"""A backend of somebody's, over real sockets, that behaves as a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from realtime.adapters.webhooks.signed import SIGNATURE, TIMESTAMP, sign

SECRET = "a secret that signs what is sent"


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def genuine(self) -> bool:
        """Whether the signature is right."""
        timestamp = self.headers[TIMESTAMP.lower()]
        return self.headers[SIGNATURE.lower()] == sign(SECRET, timestamp, self.body)


class Hang(Exception):
    """Never answer."""


class HangUp(Exception):
    """Close the connection without an answer."""


Behaviour = Callable[[Received], bytes]


def reply(body: bytes | object = b"{}", status: int = 200, **headers: str) -> bytes:
    """A whole HTTP answer."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    more = "".join(f"{name.replace('_', '-')}: {v}\r\n" for name, v in headers.items())
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


@dataclass(slots=True)
class Backend:
    """Where it listens, what it does, and what it has received."""

    url: str
    behave: Behaviour
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    streams: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        self.streams.add(writer)
        try:
            while True:
                request = await _read(reader)
                self.received.append(request)
                writer.write(self.behave(request))
                await writer.drain()
        except Hang:
            await reader.read()
        except (HangUp, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.streams.discard(writer)
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    body = await reader.readexactly(int(headers["content-length"]))
    return Received(first.split()[1], headers, body)


@asynccontextmanager
async def listening(behave: Behaviour) -> AsyncIterator[Backend]:
    """Let a backend listen on a free port."""
    backend = Backend("", behave)
    server = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    backend.url = f"http://127.0.0.1:{port}/realtime?shop=1"
    try:
        yield backend
    finally:
        server.close()
        for writer in list(backend.streams):
            writer.close()
        await server.wait_closed()
