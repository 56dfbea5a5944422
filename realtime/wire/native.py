"""
The native dialect, in its two codecs: ``realtime.v1.json`` and ``realtime.v1.msgpack``.

One message is one WebSocket message; docs/reference/protocol.md describes each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

import msgpack

from realtime.wire.codecs import JSON, MSGPACK, Codec
from realtime.wire.deflate import SMALL_WINDOW_BITS, WINDOW_BITS
from realtime.wire.dialect import Dialect
from realtime.wire.frames import FrameKey, Opcode, deflated, server_frame
from realtime.wire.messages import Command, Reply
from realtime.wire.native_decode import to_command
from realtime.wire.native_encode import from_reply


@dataclass(frozen=True, slots=True)
class NativeDialect:
    """The native protocol in one codec; the promises are those of `Dialect`."""

    name: str
    codec: Codec
    opcode: Opcode
    frame_key: FrameKey

    def decode(self, data: bytes) -> Command:
        """Return the command that one whole message is."""
        return to_command(self.codec.decode(data))

    def load(self, data: bytes) -> object:
        """Return the value that a message is, which is not checked yet."""
        return self.codec.load(data)

    def check(self, value: object, data: bytes) -> None:
        """Raise Undecodable unless the value loaded from *data* is a plain one."""
        self.codec.check(value, data)

    def command(self, value: object, data: bytes) -> Command:
        """Return the command that was loaded from *data*."""
        self.codec.check(value, data)
        return to_command(value)

    def events(self, message: bytes) -> list[object]:
        """Return the events of a ``track`` command that was loaded from *message*."""
        loaded = cast(dict[str, list[object]], self.codec.load(message))
        return loaded["events"]

    def ack(self, mark: int) -> bytes:
        """Return the frame of an acknowledgement without rejections."""
        # Hot: once per device and tick, so it is written rather than encoded.
        if self.codec is JSON:
            text = b'{"type":"ack","acked":%d}' % mark
            return b"\x81%c%b" % (len(text), text)
        packed: bytes = msgpack.packb(mark)
        return b"\x82%c\x82\xa4type\xa3ack\xa5acked%b" % (16 + len(packed), packed)

    def encode(self, message: Reply) -> bytes:
        """Return the payload of *message*."""
        return self.codec.encode(from_reply(message, self.codec.embed))

    def frame(self, message: Reply) -> bytes:
        """Return the complete WebSocket frame of *message*."""
        return server_frame(self.opcode, self.encode(message))


@dataclass(frozen=True, slots=True)
class DeflatingDialect(NativeDialect):
    """
    The same for those who have agreed to compression (RFC 7692).

    A push is compressed once for all of them; a reply is for one client alone, so only
    those are compressed that are large, such as the pages of a history.
    """

    window_bits: int

    def frame(self, message: Reply) -> bytes:
        """Return the complete WebSocket frame of *message*."""
        frame = server_frame(self.opcode, self.encode(message))
        if len(frame) < MIN_REPLY_BYTES:
            return frame
        return deflated(frame, self.window_bits)


MIN_REPLY_BYTES = 1024
"""Smaller replies fit into one packet of the network, compressed or not."""

JSON_V1: Final = NativeDialect("realtime.v1.json", JSON, Opcode.TEXT, FrameKey.JSON)
MSGPACK_V1: Final = NativeDialect(
    "realtime.v1.msgpack", MSGPACK, Opcode.BINARY, FrameKey.MSGPACK
)

Dialects = Mapping[str, Dialect]

DIALECTS: Final[Dialects] = {dialect.name: dialect for dialect in (JSON_V1, MSGPACK_V1)}
"""By sub-protocol, the one that the server prefers first."""


def _deflating(window_bits: int, text: FrameKey, binary: FrameKey) -> Dialects:
    found = (
        DeflatingDialect(JSON_V1.name, JSON, Opcode.TEXT, text, window_bits),
        DeflatingDialect(MSGPACK_V1.name, MSGPACK, Opcode.BINARY, binary, window_bits),
    )
    return {dialect.name: dialect for dialect in found}


DEFLATING: Final[Mapping[int, Dialects]] = {
    WINDOW_BITS: _deflating(
        WINDOW_BITS, FrameKey.JSON_DEFLATE, FrameKey.MSGPACK_DEFLATE
    ),
    SMALL_WINDOW_BITS: _deflating(
        SMALL_WINDOW_BITS, FrameKey.JSON_DEFLATE_SMALL, FrameKey.MSGPACK_DEFLATE_SMALL
    ),
}
"""The same for connections that have agreed to compression, by the window's size."""
