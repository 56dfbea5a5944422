"""
How publications travel between nodes, and lie in the history: as MessagePack.

On the way, ``[data]`` or ``[data, offset, epoch, tags, sender, kind]``, without what is
empty at the end. Further fields are left to later versions. In the history, ``data`` is
as it is, and beside it what follows the epoch, which is the *tail*.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import msgpack

from realtime.types import (
    Channel,
    JSONText,
    Position,
    Publication,
    PublicationKind,
)

_KINDS = {int(kind): kind for kind in PublicationKind}
_NO_POSITION = b"\xc0\xc0"  # nil, nil


class Parts(NamedTuple):
    """A publication without its position, which goes between data and tail."""

    head: bytes
    data: bytes
    tail: bytes


def encode_publication(publication: Publication) -> bytes:
    """Return the bytes that travel, without a position."""
    head, data, tail = split_publication(publication)
    if not tail:
        # Of [data, None, None], which is what the head is for, only [data] is left.
        return b"\x91" + head[1:] + data
    return head + data + _NO_POSITION + tail


def split_publication(publication: Publication) -> Parts:
    """Return the same in parts, for who knows the position only later."""
    data = publication.data
    rest: list[object] = [publication.tags, publication.sender, int(publication.kind)]
    while rest and not rest[-1]:
        rest.pop()
    tail = b"".join(map(_packb, rest))
    return Parts(bytes([0x93 + len(rest)]) + _binary(len(data)), data, tail)


def decode_publication(channel: Channel, packed: bytes) -> Publication:
    """Return what was sent on *channel*."""
    # Hot: once per publication and node.
    data, *rest = msgpack.unpackb(packed)
    if not rest:
        return Publication(channel, data)
    offset, epoch = rest[:2]
    position = None if epoch is None else Position(offset, epoch)
    if len(rest) == 2:
        return Publication(channel, data, position)
    return _complete(channel, data, position, rest[2:])


def join_publication(
    channel: Channel, data: bytes, position: Position, tail: bytes
) -> Publication:
    """Return what the history holds as *data* and *tail* at *position*."""
    if not tail:
        return Publication(channel, JSONText(data), position)
    unpacker = msgpack.Unpacker(max_buffer_size=len(tail))
    unpacker.feed(tail)
    return _complete(channel, JSONText(data), position, list(unpacker))


def _complete(
    channel: Channel, data: JSONText, position: Position | None, rest: list[Any]
) -> Publication:
    found: tuple[Any, ...] = (*rest, None, None, None)
    tags, sender, kind = found[:3]
    # What a kind of a later version means is unknown, but its position must be noted.
    known = _KINDS.get(kind or 0, PublicationKind.MESSAGE)
    return Publication(channel, data, position, tags or None, sender, known)


def _packb(value: object) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def _binary(length: int) -> bytes:
    """Return the MessagePack header of that many bytes."""
    if length < 1 << 8:
        return struct.pack(">BB", 0xC4, length)
    if length < 1 << 16:
        return struct.pack(">BH", 0xC5, length)
    return struct.pack(">BI", 0xC6, length)
