"""
Bytes as they go on the wire: complete server frames, and pushes encoded for everyone.

Server frames are not masked (RFC 6455, 5.1), so the same ``bytes`` may be handed to any
number of transports. A push is encoded at most once per *frame key*, whatever the
number of subscribers; nothing that differs between two of them may enter its bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from struct import Struct

import msgpack
import orjson

from realtime.types import Channel, JSONText

_pack_short = Struct("!BB").pack
_pack_medium = Struct("!BBH").pack
_pack_long = Struct("!BBQ").pack

_FIN = 0x80
_MAX_REASON_BYTES = 123  # a control frame carries 125, and the code takes two of them
_NEVER_SENT = frozenset({1004, 1005, 1006, 1015})  # RFC 6455, 7.4.1: reserved


class Opcode(IntEnum):
    """What a frame is (RFC 6455, 5.2); continuation frames are never made here."""

    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class FrameKey(IntEnum):
    """Everything that changes the bytes of a push."""

    JSON = 0
    MSGPACK = 1
    SSE = 2  # an event of a text/event-stream, not a WebSocket frame


def server_frame(opcode: Opcode, payload: bytes) -> bytes:
    """
    Return one complete, unmasked, unfragmented frame (RFC 6455, 5.2).

    Raises:
        ValueError: If a control frame's payload is over 125 bytes.
    """
    length = len(payload)
    if length < 126:
        return _pack_short(_FIN | opcode, length) + payload
    if opcode >= Opcode.CLOSE:
        raise ValueError(f"a control frame carries at most 125 bytes, not {length}")
    if length < 65536:
        return _pack_medium(_FIN | opcode, 126, length) + payload
    return _pack_long(_FIN | opcode, 127, length) + payload


def close_frame(code: int, reason: str) -> bytes:
    """
    Return a close frame; *reason* is cut to 123 bytes, never within a character.

    Raises:
        ValueError: If *code* may not be sent (RFC 6455, 7.4).
    """
    if not 1000 <= code <= 4999 or code in _NEVER_SENT:
        raise ValueError(f"close code {code} may not be sent")
    text = reason.encode("utf-8", "replace")[:_MAX_REASON_BYTES]
    whole = text.decode("utf-8", "ignore").encode()
    return server_frame(Opcode.CLOSE, code.to_bytes(2, "big") + whole)


class PreparedPush:
    """
    One publication, ready for every subscriber of this node.

    *number* is this node's short number for *channel*; *data* is JSON text on one line,
    spliced in as it is. Make one per publication and ask for its frame per subscriber:
    the first one to ask for a key pays for the encoding.
    """

    __slots__ = ("_frames", "channel", "data", "number")

    def __init__(self, channel: Channel, number: int, data: JSONText) -> None:
        self.channel = channel
        self.number = number
        self.data = data
        self._frames: list[bytes | None] = [None, None, None]

    def frame(self, key: FrameKey) -> bytes:
        """Return the complete bytes for *key*; the same object at every call."""
        # Hot: one call per subscriber and publication.
        frame = self._frames[key]
        if frame is None:
            frame = self._frames[key] = _ENCODERS[key](self)
        return frame


def _json_frame(push: PreparedPush) -> bytes:
    payload = b'{"type":"push","channel":%d,"data":%b}' % (push.number, push.data)
    return server_frame(Opcode.TEXT, payload)


def _msgpack_frame(push: PreparedPush) -> bytes:
    message = {
        "type": "push",
        "channel": push.number,
        "data": orjson.loads(push.data),
    }
    payload: bytes = msgpack.packb(message)
    return server_frame(Opcode.BINARY, payload)


def _sse_event(push: PreparedPush) -> bytes:
    name = orjson.dumps(push.channel)
    return b'event: push\ndata: {"channel":%b,"data":%b}\n\n' % (name, push.data)


# Indexed by FrameKey.
_ENCODERS: tuple[Callable[[PreparedPush], bytes], ...] = (
    _json_frame,
    _msgpack_frame,
    _sse_event,
)
