"""
A server in this process that speaks the protocol exactly as a test tells it to.

``Conversation`` is its end of one connection: the test receives what the client said
and says what it likes. ``ScriptedServer`` listens on loopback and hands them out.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from http import HTTPStatus
from ssl import SSLContext
from types import TracebackType
from typing import Any, Self

import msgpack
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

TIMEOUT_S = 20.0
JSON, MSGPACK = "realtime.v1.json", "realtime.v1.msgpack"

LIMITS = {
    "max_frame_bytes": 262144,
    "max_event_bytes": 32768,
    "max_batch_events": 1000,
    "max_publication_bytes": 65536,
    "max_subscriptions": 512,
}

Message = dict[str, Any]


class Conversation:
    """The server's end of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.binary = socket.subprotocol == MSGPACK
        self._resumed: deque[Message] = deque()  # what hello has asked for

    async def receive(self, kind: str | None = None) -> Message:
        """Return the next message; it must be of this kind."""
        async with asyncio.timeout(TIMEOUT_S):
            frame = await self.socket.recv()
        message: Message = msgpack.unpackb(frame) if self.binary else json.loads(frame)
        if kind is not None:
            assert message["type"] == kind, message
        return message

    async def send(self, kind: str, **fields: Any) -> None:
        """Say something."""
        message = {"type": kind, **fields}
        await self.socket.send(
            msgpack.packb(message) if self.binary else json.dumps(message)
        )

    async def welcome(self, acked: int | None = 0, **fields: Any) -> Message:
        """Receive hello and answer it; return the hello."""
        hello = await self.receive("hello")
        await self.answer(hello, acked, **fields)
        return hello

    async def answer(self, hello: Message, acked: int | None, **fields: Any) -> None:
        """Say welcome."""
        self._resumed.extend(hello.get("subscriptions", ()))
        reply = {
            "id": hello["id"],
            "connection": "c1",
            "node": "n1",
            "version": "0",
            "received_at": 0.0,
            "sent_at": 0.0,
            "keepalive_s": 25.0,
            "limits": {**LIMITS, **fields.pop("limits", {})},
            "acked": acked,
            **fields,
        }
        await self.send("welcome", **{k: v for k, v in reply.items() if v is not None})

    async def refuse(self, message: Message, code: int, name: str, **more: Any) -> None:
        """Answer *message* with an error."""
        fields = {"retry": "never", "reason": name, **more}
        await self.send("error", id=message["id"], code=code, name=name, **fields)

    async def asked(self) -> Message:
        """Return the next subscription that is asked for: with hello, or after it."""
        if self._resumed:
            return self._resumed.popleft()
        return await self.receive("subscribe")

    async def confirm(self, number: int, data: Any = None, **more: Any) -> Message:
        """Confirm the next subscription that is asked for; return what asked for it."""
        command = await self.asked()
        fields = {"channel": command["channel"], "number": number, "data": data}
        await self.send("subscribed", id=command["id"], **{**fields, **more})
        return command

    async def push(self, number: int, data: Any, **more: Any) -> None:
        """Send a publication."""
        await self.send("push", channel=number, data=data, **more)

    async def close(self, code: int = 1001, reason: str = "") -> None:
        """Close the connection."""
        await self.socket.close(code, reason)

    def cut(self) -> None:
        """Cut the connection as a network does."""
        self.socket.transport.abort()

    async def closed(self) -> int:
        """Wait until the client has closed; return its close code."""
        async with asyncio.timeout(TIMEOUT_S):
            try:
                while True:
                    await self.socket.recv()
            except ConnectionClosed as exc:
                return exc.rcvd.code if exc.rcvd is not None else 1006


class ScriptedServer:
    """Listens; every connection waits in a queue until the test takes it."""

    def __init__(self, tls: SSLContext | None = None) -> None:
        self._tls = tls
        self._waiting: asyncio.Queue[Conversation] = asyncio.Queue()
        self._over = asyncio.Event()
        self.refusal: Response | None = None
        self.subprotocols: list[str] = [JSON, MSGPACK]
        self.requests: list[Request] = []

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._talk,
            "127.0.0.1",
            0,
            process_request=self._process,
            select_subprotocol=self._select,
            ping_interval=None,
            ssl=self._tls,
            close_timeout=1,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """What to give to the client."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}"

    async def accept(self) -> Conversation:
        """Return the next connection."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self._waiting.get()

    async def accept_whenever(self) -> Conversation:
        """Return the next connection, however long it takes to come."""
        return await self._waiting.get()

    def refuse(self, status: HTTPStatus, **headers: str) -> None:
        """Answer handshakes with this status from now on."""
        response = Response(int(status), status.phrase, Headers())
        for name, value in headers.items():
            response.headers[name.replace("_", "-")] = value
        response.headers["Content-Length"] = "0"
        self.refusal = response

    async def _talk(self, socket: ServerConnection) -> None:
        await self._waiting.put(Conversation(socket))
        over = asyncio.ensure_future(self._over.wait())
        gone = asyncio.ensure_future(socket.wait_closed())
        await asyncio.wait({over, gone}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()

    def _process(self, _: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        return self.refusal

    def _select(
        self, _: ServerConnection, offered: list[Subprotocol]
    ) -> Subprotocol | None:
        return next((one for one in offered if one in self.subprotocols), None)
