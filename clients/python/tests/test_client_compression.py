"""Compression is offered, used where it pays, and can be switched off."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from client_support.online import scene
from client_support.real_server import RealServer, available
from realtime_client import RealtimeClient
from realtime_client.compression import Offer, Sparing
from websockets.frames import Frame, Opcode

pytestmark = pytest.mark.anyio

TEXT = "the same words again and again " * 100
CONFIG = """
[server]
compression = {compression}

[namespaces.chat]
"""


def agreed() -> Sparing:
    """Return the extension as a server's usual answer makes it."""
    answer = [
        ("server_no_context_takeover", None),
        ("client_no_context_takeover", None),
        ("server_max_window_bits", "12"),
    ]
    extension = Offer().process_response_params(answer, ())
    assert isinstance(extension, Sparing)
    return extension


@pytest.mark.parametrize("size, compressed", [(1023, False), (1024, True)])
def test_only_large_messages_are_compressed(size: int, compressed: bool) -> None:
    """Small ones go as they are; the bit in the frame tells which is which."""
    extension, message = agreed(), b"a" * size

    frame = extension.encode(Frame(Opcode.TEXT, message))

    assert frame.rsv1 is compressed
    assert (len(frame.data) < size) is compressed
    assert bytes(extension.decode(frame).data) == message


@pytest.mark.parametrize("compression", [True, False])
async def test_compression_is_offered_unless_switched_off(compression: bool) -> None:
    """What the handshake says, and that the session works with it."""
    async with scene() as it:
        _, conversation = await it.online(compression=compression)
        request = conversation.socket.request
        assert request is not None
        offered = request.headers.get("Sec-WebSocket-Extensions", "")
        used = [one.name for one in conversation.socket.protocol.extensions]

        assert ("permessage-deflate" in offered) is compression
        assert used == ["permessage-deflate"] * compression


@pytest.fixture(scope="module", params=["true", "false"])
def switch(request: pytest.FixtureRequest) -> str:
    """How the server is configured."""
    return str(request.param)


@pytest.fixture(scope="module")
def server(
    switch: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealServer]:
    """A server with compression switched on, and one with it off."""
    if not available():
        pytest.skip("the server's package is not here")
    folder = tmp_path_factory.mktemp("server")
    server = RealServer(folder, CONFIG.format(compression=switch), "--dev")
    server.start()
    yield server
    server.stop()


def saved(server: RealServer) -> float:
    """Return how many bytes compression has saved this server."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    name = "realtime_deflate_saved_bytes_total "
    return next(float(line[len(name) :]) for line in lines if line.startswith(name))


@pytest.mark.parametrize("compression", [True, False])
@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_messages_are_the_same_with_and_without(
    server: RealServer, switch: str, codec: Any, compression: bool
) -> None:
    """Large and small ones, both ways; compressed only if both sides want it."""
    before = saved(server)
    settings: Any = {"codec": codec, "compression": compression, "tracking": False}
    async with (
        RealtimeClient(server.url, **settings) as author,
        RealtimeClient(server.url, **settings) as reader,
    ):
        channel = f"chat:{codec}-{compression}"
        subscription = await reader.subscribe(channel)
        for data in (TEXT, "short", {"text": TEXT}):
            await author.publish(channel, data)
        async with asyncio.timeout(20):
            got = [await anext(subscription) for _ in range(3)]

    assert got == [TEXT, "short", {"text": TEXT}]
    both = compression and switch == "true"
    assert (saved(server) - before > len(TEXT)) is both
