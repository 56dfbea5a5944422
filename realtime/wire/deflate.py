"""
Compression of single messages (RFC 7692, permessage-deflate), without any context.

Every message is compressed as if it were the first one. Only so may the same bytes go
to everybody, and only so has an idle connection nothing to remember: the window of one
deflate stream would take 32 KiB of it. zlib's objects are made for one message and
thrown away; making one takes half a microsecond.
"""

from __future__ import annotations

import zlib

WINDOW_BITS = 12
"""
Base-2 logarithm of how far back our compressed messages refer, in bytes.

With 15, which is the most, pushes of up to 64 KiB get no smaller (0.20 of their size
against 0.19, other parameters as below), and every client must have eight times the
memory to read them.
"""

SMALL_WINDOW_BITS = 9
"""For clients that have less memory still; the least that zlib knows."""

LEVEL = 1
"""
zlib's. A push of 1,000 bytes of text shrinks to 0.43 in 12 us, with level 6 to 0.41 in
15 us; one of 4,000 bytes to 0.32 in 24 us or to 0.30 in 53 us.
"""

_MEMORY_LEVEL = 5  # 8, zlib's default, clears 128 KiB before it begins: 10 us

# What a sync flush ends with. The sender leaves it out, the receiver puts it back.
_TAIL = b"\x00\x00\xff\xff"


class TooLarge(ValueError):
    """The message is larger than it may be."""


def deflate(payload: bytes | memoryview, window_bits: int = WINDOW_BITS) -> bytes:
    """Return *payload* compressed (RFC 7692, 7.2.1)."""
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -window_bits, _MEMORY_LEVEL)
    compressed = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return compressed[:-4]


def inflate(payload: bytes, max_bytes: int) -> bytes:
    """
    Return the message that *payload* is, compressed by itself (RFC 7692, 7.2.2).

    Never more than *max_bytes* and a little are unpacked, whatever *payload* says.

    Raises:
        TooLarge: If the message is over *max_bytes*.
        ValueError: If *payload* is not compressed data.
    """
    try:
        message = zlib.decompressobj(-15).decompress(payload + _TAIL, max_bytes + 1)
    except zlib.error as exc:
        raise ValueError(f"not compressed by deflate: {exc}") from exc
    if len(message) > max_bytes:
        raise TooLarge(f"a message has at most {max_bytes} bytes")
    return message
