"""
A client in memory: speaks the native protocol to a node without a socket in between.

For tests of what a node answers; give the node a ``ManualClock`` and move it.
"""

from __future__ import annotations

from typing import Any

import msgpack
import orjson

from realtime.engine.connection import Connection
from realtime.engine.node import Node
from realtime.testing.clock import settle
from realtime.testing.transport import RecordingSocket

JSON_V1 = "realtime.v1.json"
MSGPACK_V1 = "realtime.v1.msgpack"


class MemoryClient:
    """One connection to *node*. Messages are dictionaries, as on the wire."""

    def __init__(self, node: Node, subprotocol: str = JSON_V1) -> None:
        self.socket = RecordingSocket(subprotocol=subprotocol)
        self.peer: Connection = node.open_peer(subprotocol, self.socket.remote)
        self._binary = subprotocol == MSGPACK_V1
        self._pack = msgpack.packb if self._binary else orjson.dumps
        self._unpack = msgpack.unpackb if self._binary else orjson.loads
        self.peer.opened(self.socket)

    async def say(self, type: str, **fields: Any) -> list[dict[str, Any]]:
        """Send one message; return what has come back once everything is quiet."""
        self.send_raw(self._pack({"type": type, **fields}))
        await settle()
        return self.take()

    async def hello(self, **fields: Any) -> dict[str, Any]:
        """Say hello and return the one answer."""
        [answer] = await self.say("hello", **fields)
        return answer

    async def track(self, first: int, *names: str, **fields: Any) -> list[Any]:
        """Send events by name, numbered from *first*; return what came back at once."""
        events = [{"name": name} for name in names]
        return await self.say("track", first=first, events=events, **fields)

    def send_raw(self, data: bytes, binary: bool | None = None) -> None:
        """Send the bytes of one message, whatever they are."""
        self.peer.received(data, self._binary if binary is None else binary)

    def take(self) -> list[dict[str, Any]]:
        """Return the messages that have come since the last call."""
        frames, self.socket.frames = self.socket.frames, []
        return [
            self._unpack(payload) for frame in frames for payload in _payloads(frame)
        ]

    @property
    def close_code(self) -> int | None:
        """The code with which the server has begun to close."""
        closed = self.socket.closed_with
        return None if closed is None else closed[0]

    def lose(self, code: int = 1006) -> None:
        """Let the connection be gone."""
        self.peer.closed(code, "")


def _payloads(data: bytes) -> list[bytes]:
    """Cut joined server frames into their payloads (RFC 6455, 5.2)."""
    payloads, at = [], 0
    while at < len(data):
        size, head = data[at + 1], 2
        if size > 125:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[at + 2 : at + head])
        payloads.append(data[at + head : at + head + size])
        at += head + size
    return payloads
