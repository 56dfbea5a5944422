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
from urllib.parse import quote

import msgpack
import orjson

from realtime.types import Position, Publication, PublicationKind
from realtime.wire.deflate import SMALL_WINDOW_BITS, WINDOW_BITS, deflate

_pack_short = Struct("!BB").pack
_pack_medium = Struct("!BBH").pack
_pack_long = Struct("!BBQ").pack

_FIN = 0x80
_COMPRESSED = 0x40  # RSV1 (RFC 7692, 6)
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
    # For those who have agreed to compression; the plain form where it does not pay.
    JSON_DEFLATE = 3
    MSGPACK_DEFLATE = 4
    # The same for those who have a small window only.
    JSON_DEFLATE_SMALL = 5
    MSGPACK_DEFLATE_SMALL = 6

    @property
    def plain(self) -> FrameKey:
        """The same without compression."""
        return _PLAIN.get(self, self)


_PLAIN = {
    FrameKey.JSON_DEFLATE: FrameKey.JSON,
    FrameKey.MSGPACK_DEFLATE: FrameKey.MSGPACK,
    FrameKey.JSON_DEFLATE_SMALL: FrameKey.JSON,
    FrameKey.MSGPACK_DEFLATE_SMALL: FrameKey.MSGPACK,
}

DEFLATED = frozenset(_PLAIN)
"""The keys whose frames are compressed where that pays."""

MIN_DEFLATE_BYTES = 128
"""
A frame is not worth compressing below: of 77 bytes 73 are left, of 160 bytes 126.
"""


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


def deflated(frame: bytes, window_bits: int) -> bytes:
    """
    Return a text or binary *frame* compressed, or as it is where that does not pay.

    Receivers take both, message by message (RFC 7692, 6).
    """
    if len(frame) < MIN_DEFLATE_BYTES:
        return frame
    smaller = deflate_frame(frame, window_bits)
    return smaller if len(smaller) < len(frame) else frame


def deflate_frame(frame: bytes, window_bits: int) -> bytes:
    """Return a text or binary *frame* compressed, be it smaller or not."""
    start = {126: 4, 127: 10}.get(frame[1], 2)
    payload = deflate(memoryview(frame)[start:], window_bits)
    other = server_frame(Opcode(frame[0] & 0x0F), payload)
    return bytes((other[0] | _COMPRESSED,)) + other[1:]


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

    *number* is this node's short number for its channel; its data is JSON text on one
    line, spliced in as it is. Make one per publication and ask for its frame per group
    of subscribers: the first one to ask for a key pays for the encoding.
    """

    __slots__ = ("_frames", "number", "publication")

    def __init__(self, number: int, publication: Publication) -> None:
        self.number = number
        self.publication = publication
        self._frames: list[bytes | None] = [None, None, None, None, None, None, None]

    def frame(self, key: FrameKey) -> bytes:
        """Return the complete bytes for *key*; the same object at every call."""
        # Hot: one call per group of subscribers and publication.
        frame = self._frames[key]
        if frame is None:
            frame = self._frames[key] = _ENCODERS[key](self)
        return frame


_TYPES = {
    PublicationKind.MESSAGE: "push",
    PublicationKind.JOIN: "join",
    PublicationKind.LEAVE: "leave",
    PublicationKind.GAP: "gap",
}


_MESSAGE = PublicationKind.MESSAGE


def _json_frame(push: PreparedPush) -> bytes:
    # Hot: once per publication, and most are nothing but their data.
    one = push.publication
    if one.kind is _MESSAGE and one.position is None and not one.tags:
        text = b'{"type":"push","channel":%d,"data":%b}' % (push.number, one.data)
    else:
        head = b'{"type":"%b","channel":%d' % (_TYPES[one.kind].encode(), push.number)
        text = _json_text(head, one)
    return server_frame(Opcode.TEXT, text)


def _json_text(head: bytes, publication: Publication) -> bytes:
    """Return *head*, which is an object up to the channel, with the rest of it."""
    position, kind = publication.position, publication.kind
    if kind is PublicationKind.GAP:
        if position is None:
            return b"%b}" % head
        epoch = orjson.dumps(position.epoch)
        return b'%b,"offset":%d,"epoch":%b}' % (head, position.offset, epoch)
    if kind is not _MESSAGE:
        return b'%b,"member":%b}' % (head, publication.data)
    # One step that copies the data, however much of it there is.
    offset = b"" if position is None else b',"offset":%d' % position.offset
    tags = publication.tags
    tagged = b',"tags":%b' % orjson.dumps(tags) if tags else b""
    return b'%b,"data":%b%b%b}' % (head, publication.data, offset, tagged)


def _msgpack_frame(push: PreparedPush) -> bytes:
    one = push.publication
    message: dict[str, object] = {"type": _TYPES[one.kind], "channel": push.number}
    if one.kind is _MESSAGE and one.position is None and not one.tags:
        message["data"] = orjson.loads(one.data)
    else:
        message |= _rest(one)
    payload: bytes = msgpack.packb(message)
    return server_frame(Opcode.BINARY, payload)


def _rest(publication: Publication) -> dict[str, object]:
    """Return what follows the channel; the same as in `_json_text`."""
    position, kind = publication.position, publication.kind
    if kind is PublicationKind.GAP:
        if position is None:
            return {}
        return {"offset": position.offset, "epoch": position.epoch}
    if kind is not _MESSAGE:
        return {"member": orjson.loads(publication.data)}
    rest: dict[str, object] = {"data": orjson.loads(publication.data)}
    if position is not None:
        rest["offset"] = position.offset
    if publication.tags:
        rest["tags"] = publication.tags
    return rest


def _sse_event(push: PreparedPush) -> bytes:
    # Without the type: the event's name says it.
    head = b'{"channel":%b' % orjson.dumps(push.publication.channel)
    name = _TYPES[push.publication.kind].encode()
    text = _json_text(head, push.publication)
    position = push.publication.position
    if position is None:
        return b"event: %b\ndata: %b\n\n" % (name, text)
    id = sse_id(push.publication.channel, position)
    return b"event: %b\ndata: %b\n%b" % (name, text, id)


def sse_id(channel: str, position: Position) -> bytes:
    """Return the end of an event, or an event of its own, that names a position."""
    place = f"{position.offset},{position.epoch},{quote(channel, safe=':')}"
    return b"id: %b\n\n" % place.encode()


# Indexed by FrameKey.
_ENCODERS: tuple[Callable[[PreparedPush], bytes], ...] = (
    _json_frame,
    _msgpack_frame,
    _sse_event,
    lambda push: deflated(push.frame(FrameKey.JSON), WINDOW_BITS),
    lambda push: deflated(push.frame(FrameKey.MSGPACK), WINDOW_BITS),
    lambda push: deflated(push.frame(FrameKey.JSON), SMALL_WINDOW_BITS),
    lambda push: deflated(push.frame(FrameKey.MSGPACK), SMALL_WINDOW_BITS),
)
