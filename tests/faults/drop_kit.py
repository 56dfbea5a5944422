"""
Phones on a network that is gone for seconds, again and again, and what they received.

Everything here is lean on purpose: hundreds of phones and the network between them and
the server are one thread of one process.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any, Self, cast

import orjson

HOST = "127.0.0.1"
HANDSHAKE = (
    "GET /v1/ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: realtime.v1.json\r\n\r\n"
)


class _End(asyncio.Protocol):
    """One end of a connection through the network."""

    def __init__(self, other: _End | None = None) -> None:
        self.other = other
        self.early = bytearray()  # came before the other end was there
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.other is not None and self.other.early:
            self.transport.write(bytes(self.other.early))

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self.early += data
        else:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.abort()


class Network:
    """
    Passes connections on to *ports* in turn, so that whoever comes back meets another
    server; while it is down there is nobody, and what was under way is lost.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._turn = count()
        self._near: set[_End] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.down = False
        self.port = 0
        self.cut = 0  # connections

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Near(self), HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.fail()
        for task in tuple(self._tasks):
            task.cancel()

    def fail(self) -> None:
        """Be gone, with every connection."""
        self.down = True
        for end in tuple(self._near):
            if end.transport is not None and not end.transport.is_closing():
                self.cut += 1
                end.transport.abort()

    def enter(self, near: _End) -> None:
        """Somebody connects."""
        assert near.transport is not None
        if self.down:
            near.transport.abort()
            return
        self._near.add(near)
        task = asyncio.create_task(self._connect(near))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def leave(self, near: _End) -> None:
        """The connection is over."""
        self._near.discard(near)

    async def _connect(self, near: _End) -> None:
        loop = asyncio.get_running_loop()
        port = self._ports[next(self._turn) % len(self._ports)]
        far = _End(near)
        try:
            await loop.create_connection(lambda: far, HOST, port)
        except OSError:
            if near.transport is not None:
                near.transport.abort()
            return
        near.other = far
        assert near.transport is not None
        if near.transport.is_closing() and far.transport is not None:
            far.transport.abort()


class _Near(_End):
    """The phone's end."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._network.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._network.leave(self)
        super().connection_lost(exc)


class Line(asyncio.Protocol):
    """A WebSocket that speaks the native protocol; ``took`` is given each message."""

    def __init__(self, took: Any) -> None:
        self._took = took
        self._buffer = bytearray()
        self.open = asyncio.get_running_loop().create_future()
        self.closed = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        self.transport.write(HANDSHAKE.format(host=HOST, key=key).encode())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.open.done():
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            assert b" 101 " in head.split(b"\r\n", 1)[0], head
            self._buffer = rest
            self.open.set_result(None)
        self._cut_frames()

    def _cut_frames(self) -> None:
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            size, head = buffer[at + 1], 2
            if size > 125:
                head = 4 if size == 126 else 10
                if len(buffer) - at < head:
                    break
                size = int.from_bytes(buffer[at + 2 : at + head])
            if len(buffer) - at < head + size:
                break
            if buffer[at] == 0x81:
                self._took(orjson.loads(buffer[at + head : at + head + size]))
            at += head + size
        del buffer[:at]

    def say(self, type: str, **fields: Any) -> None:
        """Send one message. A mask of zeros leaves it as it is."""
        assert self.transport is not None
        payload = orjson.dumps({"type": type, **fields})
        size = len(payload)
        head = bytes([0x81, 0x80 | size]) if size < 126 else b"\x81\xfe"
        head += b"" if size < 126 else size.to_bytes(2)
        self.transport.write(head + b"\0\0\0\0" + payload)

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.open, self.closed):
            if not future.done():
                future.set_result(None)


async def dial(port: int, took: Any) -> Line:
    """
    Open a line.

    Raises:
        OSError: If there is no server, or the connection is lost before it is open.
    """
    loop = asyncio.get_running_loop()
    _, line = await loop.create_connection(lambda: Line(took), HOST, port)
    await line.open
    if line.closed.done():
        raise ConnectionError
    return line


@dataclass
class Feed:
    """What one phone has of one channel."""

    position: dict[str, Any] | None = None
    seen: list[int] = field(default_factory=list)


@dataclass
class Tally:
    """What happened to all phones together."""

    connections: int = 0
    replies: int = 0  # publications that came in replies, after having been missed
    pages: int = 0
    lost: int = 0  # times that a loss was told: recovered false, or gap
    strange: list[Any] = field(default_factory=list)


class Phone:
    """Stays connected through *network* as well as it can, and takes what comes."""

    def __init__(
        self, network: Network, channels: Sequence[str], tally: Tally, random: Random
    ) -> None:
        self.feeds = {channel: Feed() for channel in channels}
        self._network = network
        self._tally = tally
        self._random = random
        self._numbers: dict[int, str] = {}
        self._line: Line | None = None

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        while True:
            with suppress(OSError):
                line = self._line = await dial(self._network.port, self._take)
                try:
                    self._greet(line)
                    await line.closed
                finally:
                    if line.transport is not None:
                        line.transport.abort()
            await asyncio.sleep(self._random.uniform(0.02, 0.3))

    def _greet(self, line: Line) -> None:
        self._numbers = {}
        self._tally.connections += 1
        wanted = [
            {"channel": name, **({"since": feed.position} if feed.position else {})}
            for name, feed in self.feeds.items()
        ]
        line.say("hello", id=1, subscriptions=wanted)

    def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "push":
                feed = self.feeds[self._numbers[message["channel"]]]
                self._see(feed, message)
            case "subscribed":
                self._numbers[message["number"]] = message["channel"]
                self._tally.lost += message.get("recovered") is False
                self._catch_up(message)
            case "recovering":
                self._tally.pages += 1
                self._catch_up(message)
                assert self._line is not None
                channel = message["channel"]
                since = self.feeds[channel].position
                self._line.say("subscribe", channel=channel, since=since)
            case "gap":
                self._tally.lost += 1
            case "welcome":
                pass
            case _:
                self._tally.strange.append(message)

    def _catch_up(self, message: dict[str, Any]) -> None:
        feed = self.feeds[message["channel"]]
        missed = message.get("publications", ())
        self._tally.replies += len(missed)
        place = {"offset": message["offset"], "epoch": message["epoch"]}
        if feed.position is None:
            feed.position = place
        for publication in missed:
            self._see(feed, publication)
        feed.position = place

    @staticmethod
    def _see(feed: Feed, publication: dict[str, Any]) -> None:
        assert feed.position is not None
        feed.seen.append(publication["data"])
        feed.position = {**feed.position, "offset": publication["offset"]}


class Publisher:
    """Publishes 0, 1, 2 ... on each channel, straight to the servers, in turn."""

    def __init__(self, ports: Sequence[int], channels: Sequence[str]) -> None:
        self._ports = ports
        self._channels = channels
        self._replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._lines: list[Line] = []
        self.made = 0  # on each channel
        self.stopped = asyncio.Event()

    async def run(self, pause_s: float) -> None:
        """Publish until stopped; nothing is under way when this returns."""
        for port in self._ports:
            line = await dial(port, self._replies.put_nowait)
            line.say("hello", id=0)
            assert (await self._replies.get())["type"] == "welcome"
            self._lines.append(line)
        while not self.stopped.is_set():
            line = self._lines[self.made % len(self._lines)]
            for id, channel in enumerate(self._channels):
                line.say("publish", id=id, channel=channel, data=self.made)
            for _ in self._channels:
                reply = await self._replies.get()
                assert reply["type"] == "published", reply
            self.made += 1
            await asyncio.sleep(pause_s)
        for line in self._lines:
            assert line.transport is not None
            line.transport.close()
