"""The client's side of a WebSocket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.bench.frames import (
    BINARY,
    client_frame,
    take_frames,
    take_payloads,
    upgrade_request,
)
from realtime.wire.frames import Opcode, server_frame

SIZES = st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536])


@given(st.lists(SIZES, max_size=4), st.data())
def test_frames_are_cut_wherever_the_stream_breaks(
    sizes: list[int], data: st.DataObject
) -> None:
    """What is whole is taken; the rest is kept until more has come."""
    payloads = [bytes([65 + place]) * size for place, size in enumerate(sizes)]
    stream = b"".join(server_frame(Opcode.TEXT, payload) for payload in payloads)
    at = data.draw(st.integers(0, len(stream)))

    first, rest = take_payloads(stream[:at])
    second, left = take_payloads(rest + stream[at:])

    assert first + second == payloads
    assert left == b""


def test_a_frame_tells_what_it_is() -> None:
    """By its first byte."""
    stream = server_frame(Opcode.BINARY, b"a") + server_frame(Opcode.PING, b"b")

    assert take_frames(stream) == ([(0x82, b"a"), (0x89, b"b")], b"")


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_frames_are_masked_with_zeros(size: int) -> None:
    """RFC 6455, 5.3: a client masks; zeros are a mask, too."""
    frame = client_frame(b"x" * size, BINARY)

    assert frame[0] == 0x82
    assert frame[1] & 0x80
    assert frame.endswith(b"\0\0\0\0" + b"x" * size)


def test_the_request_names_host_and_path() -> None:
    """Proxies choose by them."""
    lines = upgrade_request("realtime.v1.json", "rt.example.com", "/v1/ws")

    assert lines.startswith(b"GET /v1/ws HTTP/1.1\r\nHost: rt.example.com\r\n")
    assert b"Sec-WebSocket-Protocol: realtime.v1.json\r\n" in lines
