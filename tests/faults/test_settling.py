"""
Thousands of clients come and are cut off at any moment: afterwards nothing is left.

The clients here have no manners at all, which makes them fast: bytes that were made
beforehand are written in one go, and the connection is cut somewhere in the middle of
what follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import orjson
import pytest

from realtime.testing.processes import NodeProcess
from realtime.testing.servers import HOST, ValkeyServer
from tests.faults.support import (
    BASE,
    PATIENCE_S,
    check_log,
    eventually,
    metric,
    rss_bytes,
    start_node,
    user_token,
    write_config,
)

pytestmark = pytest.mark.slow

CLIENTS = 1_000  # a round
AT_ONCE = 50
MIB = 2**20

GAUGES = (
    "connections",
    "waiting_sockets",
    "subscriptions",
    "channels",
    "live_channels",
    "pending_events",
    "presence_members",
    "presence_channels",
    "presence_late",
    "presence_untold",
)

CONFIG = f"""{BASE}
[presence]
lease = "2s"

[users]
online = true
linger = "1s"
channel = "chat:{{user}}"

[limits]
max_connections_per_user = 1000

[namespaces.room]
subscribe = "user"
presence = true
join_leave = true
linger = "1s"
"""

UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: realtime.v1.json\r\n\r\n"
)
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"


def frame(**message: object) -> bytes:
    """One text frame of a client, masked with zeros."""
    payload = orjson.dumps(message)
    size = len(payload)
    head = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + head + b"\0\0\0\0" + payload


def session(random: Random, number: int, token: str) -> bytes:
    """What one client says, all of it at once."""
    frames = [
        UPGRADE,
        frame(type="hello", token=token, device=f"device-{number % 100}"),
    ]
    for _ in range(random.randrange(8)):
        post = random.randrange(40)
        channel = random.choice(
            [
                f"live:likes;post={post}",
                "live:beats",
                f"chat:{post}",
                f"chat:{number}",
                f"room:{post}",
                f"room:{number}",
            ]
        )
        told = {"join_leave": True} if channel.startswith("room:") else {}
        frames.append(frame(type="subscribe", channel=channel, **told))
        if random.random() < 0.3:
            frames.append(frame(type="unsubscribe", channel=channel))
    frames.append(frame(type="publish", channel=f"chat:{number}", data="x" * 500))
    frames.append(frame(type="track", first=1, events=[{"name": "beat"}] * 5))
    return b"".join(frames)


async def visit(port: int, random: Random, number: int, token: str) -> None:
    """Come, talk, and be gone in one of many ways."""
    said = session(random, number, token)
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        ending = random.random()
        if ending < 0.2:  # in the middle of a word
            writer.write(said[: random.randrange(len(said))])
            await writer.drain()
        elif ending < 0.7:  # in the middle of the answers
            writer.write(said)
            await reader.read(random.choice([1, 200, 1_000]))
        else:  # as it should be
            writer.write(said + CLOSE)
            await reader.read()
    finally:
        writer.transport.abort()


async def visits(port: int, seed: int) -> None:
    """Make one round of visits."""
    random = Random(seed)
    tokens = [user_token(f"user-{number}") for number in range(100)]
    numbers = iter(range(CLIENTS))

    async def work() -> None:
        for number in numbers:
            with suppress(ConnectionError):
                await visit(port, random, number, tokens[number % 100])

    async with asyncio.timeout(2 * PATIENCE_S):
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))


def gauges(node: NodeProcess) -> dict[str, float]:
    """What the server holds for its clients."""
    return {name: metric(node, name) for name in GAUGES}


@pytest.fixture(params=["memory", "redis"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NodeProcess]:
    """A server alone, and one on Valkey, where joining and leaving take their time."""
    write_config(tmp_path, CONFIG)
    if request.param == "memory":
        with start_node(tmp_path) as node:
            yield node
        return
    with (
        ValkeyServer() as valkey,
        start_node(tmp_path, "--redis", valkey.url) as node,
    ):
        yield node
        eventually(lambda: not others(valkey), "only the node's own channels are left")
        eventually(lambda: not members(valkey), "no key of presence is left")


def members(valkey: ValkeyServer) -> list[bytes]:
    """The keys of presence, but for answers, which are kept for some seconds."""
    found = valkey.command("KEYS", "{realtime:p:*")
    return [key for key in found if b"}:r:" not in key]


def others(valkey: ValkeyServer) -> list[bytes]:
    """The channels that anybody listens to, but for the server's own."""
    found = valkey.command("PUBSUB", "CHANNELS")
    own = b"realtime:probe:", b"realtime:b:@"
    return [name for name in found if not name.startswith(own)]


def test_after_thousands_of_clients_nothing_is_left(node: NodeProcess) -> None:
    """All gauges go back to zero, and another round needs no more memory."""
    sizes = []
    for seed in range(3):
        asyncio.run(visits(node.port, seed))
        eventually(lambda: not any(gauges(node).values()), "all gauges are zero")
        sizes.append(rss_bytes(node))

    assert metric(node, "connections_opened_total") > 2 * CLIENTS
    assert sizes[2] - sizes[1] < 2 * MIB, sizes
    check_log(node)
