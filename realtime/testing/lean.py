"""
A WebSocket client that costs next to nothing, so that one process can be thousands.

It speaks the native protocol in JSON, masks with zeros, asks for nothing and checks
little: for tests of the server, where the clients must not be what is slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import orjson

_CLOSE, _PING = 8, 9
LOST = 1006


def upgrade(host: str = "test", subprotocol: str = "realtime.v1.json") -> bytes:
    """Return the request that asks for a WebSocket."""
    return (
        f"GET /v1/ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    ).encode()


def client_frame(payload: bytes, opcode: int = 1) -> bytes:
    """Return the frame in which a client sends *payload* as one message."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload


@dataclass(frozen=True, slots=True)
class End:
    """
    How a connection ended: by a close code (1006 for none), or before it was open by
    the status of a refusal and how long the client was told to stay away.
    """

    code: int = LOST
    status: int | None = None
    retry_after_s: float = 0.0


class LeanSocket(asyncio.Protocol):
    """
    One connection. *heard* is given every message; ``ended`` is set at the end.

    What is said before the handshake is answered is sent all the same: servers read it
    afterwards.
    """

    __slots__ = ("_buffer", "_code", "_heard", "_open", "_transport", "ended")

    def __init__(self, heard: Callable[[dict[str, Any]], None]) -> None:
        self._heard = heard
        self._open = False
        self._buffer = b""
        self._code = LOST
        self._transport: asyncio.Transport | None = None
        self.ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()

    @property
    def open(self) -> bool:
        """Whether messages can be said and heard."""
        return self._open

    @property
    def begun(self) -> bool:
        """Whether there is a connection that ``ended`` will tell the end of."""
        return self._transport is not None

    def say(self, message: dict[str, Any]) -> None:
        """Send one message; nothing happens when the connection has ended."""
        if self._transport is not None:
            self._transport.write(client_frame(orjson.dumps(message)))

    def cut(self) -> None:
        """End it without a word."""
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol ----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the WebSocket."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(upgrade())

    def data_received(self, data: bytes) -> None:
        """Read the answer to the handshake, then frames."""
        data = self._buffer + data if self._buffer else data
        if not self._open:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._buffer = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._finish(_refusal(head))
                return
            self._open = True
        self._buffer = self._read(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell how it ended."""
        self._transport = None
        self._finish(End(self._code))

    # ------------------------------------------------------------------------------

    def _read(self, data: bytes) -> bytes:
        """Take the whole frames of *data*; return the rest."""
        at, end = 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1], at + 2
            if size > 125:
                start += 2 if size == 126 else 8
                size = int.from_bytes(data[at + 2 : start], "big")
            if start > end or end - start < size:
                break
            self._frame(data[at] & 15, data[start : start + size])
            at = start + size
        return data[at:]

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == 1:
            self._heard(orjson.loads(payload))
        elif opcode == _PING and self._transport is not None:
            self._transport.write(client_frame(payload, 10))
        elif opcode == _CLOSE and self._transport is not None:
            self._code = int.from_bytes(payload[:2], "big") or LOST
            self._transport.write(client_frame(payload, _CLOSE))
            self._transport.close()

    def _finish(self, end: End) -> None:
        if not self.ended.done():
            self.ended.set_result(end)
        if self._transport is not None:
            self._transport.close()


def _refusal(head: bytes) -> End:
    status = int(head.split(b" ", 2)[1])
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"retry-after":
            return End(status=status, retry_after_s=float(value))
    return End(status=status)
