"""Single messages are compressed and unpacked without any context."""

from __future__ import annotations

import os
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.wire.deflate import (
    SMALL_WINDOW_BITS,
    WINDOW_BITS,
    TooLarge,
    deflate,
    inflate,
)

TAIL = b"\x00\x00\xff\xff"
HELLO = bytes.fromhex("f2 48 cd c9 c9 07 00")
"""The example of RFC 7692, 7.2.3.1."""


@settings(deadline=None)
@given(st.binary(max_size=3000), st.integers(1, 40))
def test_what_is_deflated_is_inflated_to_the_same(part: bytes, times: int) -> None:
    """Any message comes back, with another implementation's help or by our own."""
    message = part * times
    payload = deflate(message)

    assert inflate(payload, len(message)) == message
    assert zlib.decompressobj(-15).decompress(payload + TAIL) == message


def test_the_examples_of_the_rfc_are_understood() -> None:
    """One block, two blocks, a stored one, a final one: RFC 7692, 7.2.3."""
    for example in (
        HELLO,
        bytes.fromhex("00 05 00 fa ff 48 65 6c 6c 6f 00"),
        bytes.fromhex("f3 48 cd c9 c9 07 00 00"),
        bytes.fromhex("f2 48 05 00 00 00 ff ff ca c9 c9 07 00"),
    ):
        assert inflate(example, 5) == b"Hello"
    assert inflate(b"\x00", 0) == b""


def test_deflating_gives_the_bytes_of_the_rfc() -> None:
    """The first example of RFC 7692, 7.2.3.1, is what we send, too."""
    assert deflate(b"Hello") == HELLO


@pytest.mark.parametrize("bits", [SMALL_WINDOW_BITS, WINDOW_BITS])
def test_references_stay_within_the_window_that_was_promised(bits: int) -> None:
    """A client that has no larger window than ours understands a large message."""
    noise = os.urandom(3000)
    message = b"".join(noise + bytes([n]) * 200 for n in range(60))

    client = zlib.decompressobj(-bits)

    assert client.decompress(deflate(message, bits) + TAIL) == message


def test_the_bound_is_exact() -> None:
    """A message of just the largest size is whole; one byte more is too much."""
    for size in (1, 2043, 16384, 65536):
        payload = deflate(bytes(size))

        assert len(inflate(payload, size)) == size
        with pytest.raises(TooLarge, match=f"at most {size - 1} bytes"):
            inflate(payload, size - 1)


def test_a_bomb_is_not_unpacked() -> None:
    """Of 32 MiB in 140 KB no more is unpacked than allowed."""
    bomb = deflate(bytes(32 * 1024 * 1024))
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            inflate(bomb, 1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 4 * len(bomb)


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x06", b"junk that is none"])
def test_what_is_no_deflate_data_is_refused(data: bytes) -> None:
    """Reserved block types and impossible codes are errors."""
    with pytest.raises(ValueError, match="not compressed by deflate"):
        inflate(data, 1000)
