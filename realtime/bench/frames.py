"""
The client's side of a WebSocket, as cheap as it can be.

Frames are masked with zeros, which is legal (RFC 6455, 5.3) and costs a server as much
as any other mask, but the client nothing.
"""

from __future__ import annotations

from struct import pack

import orjson

JSON_V1 = "realtime.v1.json"

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def upgrade_request(
    subprotocol: str = "",
    host: str = "127.0.0.1",
    path: str = "/v1/ws",
    extensions: str = "",
) -> bytes:
    """Return the request that opens a WebSocket."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    if subprotocol:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    if extensions:
        lines.append(f"Sec-WebSocket-Extensions: {extensions}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return one frame, which is a whole message."""
    length = len(payload)
    if length < 126:
        head = pack("!BB", 0x80 | opcode, 0x80 | length)
    elif length < 65536:
        head = pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
    else:
        head = pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
    return head + b"\0\0\0\0" + payload


def message(type: str, **fields: object) -> bytes:
    """Return one message of the native protocol as a frame."""
    return client_frame(orjson.dumps({"type": type, **fields}))


def take_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """
    Cut a server's frames out of *data*; return them and what is left.

    A frame is its first byte and its payload: 0x81 is a whole text message.
    """
    frames = []
    at, end = 0, len(data)
    while end - at >= 2:
        size, start = data[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
        elif size == 127:
            size, start = int.from_bytes(data[at + 2 : at + 10]), at + 10
        # Of a length that has not all come, too little was read: start is beyond.
        if start + size > end or start > end:
            break
        frames.append((data[at], data[start : start + size]))
        at = start + size
    return frames, data[at:]


def take_payloads(data: bytes) -> tuple[list[bytes], bytes]:
    """Cut a server's frames out of *data*; return their payloads and what is left."""
    frames, rest = take_frames(data)
    return [payload for _, payload in frames], rest
