"""
Subscribers with and without compression, and the server of `websockets` for both.

The readers know a publication by its place: all of a socket come in order. So nobody
has to unpack what is measured; only the first subscriber does, to see that it is right.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

import orjson
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from realtime.bench.children import answer_with
from realtime.bench.frames import client_frame, message, take_frames
from realtime.bench.local import token
from realtime.bench.machine import raise_file_limit
from realtime.bench.sockets import (
    HOST,
    READ_BYTES,
    Socket,
    hello,
    open_sessions,
    subscribe,
)

from .audience import CHANNEL, Audience

OFFER = "permessage-deflate; client_max_window_bits"
PLAIN, COMPRESSED = 0x81, 0xC1
WORDS = """
the and that goal minute player team keeper corner free kick what a great pass from the
left wing again nobody expected this after half time substitute yellow card referee
crowd sings rain pitch header saved post cross offside line lead
"""


def comment(size: int, number: int) -> str:
    """Return a text of *size* characters, different for every *number*."""
    chosen = random.Random(number).choices(WORDS.split(), k=size // 3)
    return f"{number} {' '.join(chosen)}"[:size]


class Readers(Audience):
    """Everybody reads; frames and bytes are counted."""

    def __init__(self, port: int, count: int, size: int, compressed: bool) -> None:
        self.size = size
        self.offer = OFFER if compressed else ""
        self.dues: list[float] = []
        self.texts: list[str] = []
        self.seen = [0] * count
        self.bytes = 0
        super().__init__(port, count)

    def publish(self, due: float) -> None:
        self.dues.append(due)
        text = comment(self.size, len(self.dues))
        self.texts.append(text)
        self.say(text)

    @abstractmethod
    def say(self, text: str) -> None:
        """Let *text* be published."""

    def take(self, one: Socket, now: float) -> None:
        data = one.sock.recv(READ_BYTES)
        if not data:
            raise RuntimeError("the server has closed the connection")
        self.bytes += len(data)
        frames, one.rest = take_frames(one.rest + data)
        for first, payload in frames:
            if one.number == 0:
                self.check(first, payload, self.texts[self.seen[0]])
            self.latencies.append((now - self.dues[self.seen[one.number]]) * 1e3)
            self.seen[one.number] += 1
            self.frames += 1

    def check(self, first: int, payload: bytes, text: str) -> None:
        """Raise unless the message says *text*, compressed if that was wanted."""
        if first != (COMPRESSED if self.offer else PLAIN):
            raise RuntimeError(f"a frame begins with {first:#x}")
        plain = self.unpack(payload) if self.offer else payload
        if orjson.loads(plain)["data"] != text:
            raise RuntimeError(f"another message than was published: {plain!r}")

    def unpack(self, payload: bytes) -> bytes:
        """Unpack a message that refers to nothing before it."""
        return zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")

    def complete(self, published: int) -> bool:
        return self.frames == published * self.count


class OurReaders(Readers):
    """Of `realtime serve`."""

    def open(self, port: int) -> None:
        self.subscribers = open_sessions(
            port,
            self.count,
            lambda number: [hello(token=token(f"u{number}")), subscribe(CHANNEL)],
            extensions=self.offer,
        )
        self.publisher = self.subscribers[0]

    def say(self, text: str) -> None:
        self.publisher.send(message("publish", channel=CHANNEL, data=text))


class TheirReaders(Readers):
    """Of a server of `websockets`, whose messages refer to what it has sent before."""

    def open(self, port: int) -> None:
        self._context = zlib.decompressobj(-15)
        self.subscribers = open_sessions(
            port, self.count, lambda _: [], "", extensions=self.offer
        )
        self.publisher = self.subscribers[0]

    def say(self, text: str) -> None:
        self.publisher.send(client_frame(text.encode()))

    def unpack(self, payload: bytes) -> bytes:
        return self._context.decompress(payload + b"\0\0\xff\xff")


def read(
    pipe: Connection,
    kind: type[Readers],
    port: int,
    count: int,
    size: int,
    compressed: bool,
) -> None:
    """Read, in a process of its own; answers with frames, latencies and bytes."""
    readers = kind(port, count, size, compressed)
    pipe.send("ready")

    def measure(rounds: int, gap_s: float) -> tuple[int, object, int]:
        readers.bytes = 0
        return *readers.measure(rounds, gap_s), readers.bytes

    answer_with(pipe, measure)


def serve_by_hand(pipe: Connection) -> None:
    """Serve with `websockets`, its compression as it is by default; tells its port."""
    raise_file_limit()
    asyncio.run(_serve_by_hand(pipe.send))


async def _serve_by_hand(tell: Callable[[int], None]) -> None:
    connections: set[ServerConnection] = set()

    async def handle(connection: ServerConnection) -> None:
        connections.add(connection)
        with suppress(ConnectionClosed):
            async for said in connection:
                push = {"type": "push", "channel": 1, "data": said}
                broadcast(connections, orjson.dumps(push).decode())

    async with serve(handle, HOST, 0, ping_interval=None) as server:
        tell(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()
