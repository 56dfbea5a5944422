"""
The client's side of a WebSocket, as cheap as it can be.

Frames are masked with zeros, which is legal (RFC 6455, 5.3) and costs a server as much
as any other mask, but the client nothing.
"""

from __future__ import annotations

from struct import pack

import orjson

JSON_V1 = "realtime.v1.json"


def upgrade_request(subprotocol: str = "") -> bytes:
    """Return the request that opens a WebSocket."""
    lines = [
        "GET /v1/ws HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    if subprotocol:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def client_frame(payload: bytes) -> bytes:
    """Return one text frame."""
    length = len(payload)
    if length < 126:
        head = pack("!BB", 0x81, 0x80 | length)
    elif length < 65536:
        head = pack("!BBH", 0x81, 0x80 | 126, length)
    else:
        head = pack("!BBQ", 0x81, 0x80 | 127, length)
    return head + b"\0\0\0\0" + payload


def message(type: str, **fields: object) -> bytes:
    """Return one message of the native protocol as a frame."""
    return client_frame(orjson.dumps({"type": type, **fields}))


def take_payloads(data: bytes) -> tuple[list[bytes], bytes]:
    """Cut a server's frames out of *data*; return their payloads and what is left."""
    payloads = []
    at, end = 0, len(data)
    while end - at >= 2:
        size, start = data[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
        elif size == 127:
            size, start = int.from_bytes(data[at + 2 : at + 10]), at + 10
        if start + size > end:
            break
        payloads.append(data[start : start + size])
        at = start + size
    return payloads, data[at:]
