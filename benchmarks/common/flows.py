"""
A hub that publishes to its own subscribers, each time by another flow.

A client that says ``join`` is subscribed once for every one of the FLOWS. ``publish
NAME COUNT GAP`` publishes COUNT times on the channel of that flow, every GAP seconds,
and is answered ``sent`` and how many frames that was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from multiprocessing.connection import Connection

from realtime.bench.children import answer_with
from realtime.bench.frames import client_frame
from realtime.bench.sockets import READ_BYTES, Reader, Socket, open_sessions
from realtime.core.filters import compile_filter
from realtime.core.flow import DIRECT, Flow
from realtime.engine.hub import Hub
from realtime.engine.outbox import Outbox
from realtime.settings import LimitSettings
from realtime.testing.host import RecordingPeer, SimpleHost
from realtime.testing.server import run_until_stopped
from realtime.types import Channel, JSONText, Publication
from realtime.wire.frames import FrameKey, Opcode, server_frame

SYMBOLS = 10
OUTBOX_BYTES = 1 << 22
LATE_S = 0.5  # longer than any interval or delay below
_DATA = JSONText(b'"%s"' % (b"x" * 85))  # a frame of 132 bytes, as in fanout.py


def _half(number: int) -> Flow:
    """Half of the symbols; *number* makes a filter of its own of it."""
    wanted = {"tag": "symbol", "in": [f"S{at}" for at in range(SYMBOLS // 2)]}
    own = {"tag": "symbol", "eq": f"none{number}"}
    return Flow(filter=compile_filter({"any": [wanted, own]}))


SHARED: Mapping[str, Flow] = {
    "direct": DIRECT,
    "one filter": _half(0),
    "batch 50 ms": Flow(batch_s=0.05),
    "latest by symbol 100 ms": Flow(interval_s=0.1, by="symbol"),
    "latest 100 ms": Flow(interval_s=0.1),
}
DISTINCT = "own filters"
"""Here every subscriber has another filter, so that nothing is shared."""

FLOWS = (*SHARED, DISTINCT)


def _channel(name: str) -> Channel:
    return Channel(f"bench:{name}")


class _World:
    """One hub, and what it has handed out."""

    def __init__(self) -> None:
        self.frames = 0
        self.hub = Hub(on_late=self._count)
        self.joined = 0
        self.tasks: set[asyncio.Task[None]] = set()

    def _count(self, frames: int) -> None:
        self.frames += frames

    def join(self, outbox: Outbox) -> None:
        """Subscribe to everything."""
        for name, flow in SHARED.items():
            self.hub.join(_channel(name), outbox, flow)
        self.hub.join(_channel(DISTINCT), outbox, _half(self.joined))
        self.joined += 1

    async def publish(self, name: str, count: int, gap_s: float) -> int:
        """Publish on schedule; return how many frames left, when the last one has."""
        loop = asyncio.get_running_loop()
        self.frames, start = 0, loop.time()
        for at in range(count):
            tags = {"symbol": f"S{at % SYMBOLS}"}
            publication = Publication(_channel(name), _DATA, tags=tags)
            self.frames += self.hub.broadcast(publication)
            await asyncio.sleep(max(start + (at + 1) * gap_s - loop.time(), 0))
        await asyncio.sleep(LATE_S)
        return self.frames


class _Peer(RecordingPeer):
    def __init__(self, world: _World) -> None:
        super().__init__()
        self._world = world

    def received(self, data: bytes, binary: bool) -> None:
        """Obey."""
        assert self.socket is not None
        if data == b"join":
            self._world.join(
                Outbox(self.socket, OUTBOX_BYTES, FrameKey.JSON, self._overflowed)
            )
            self.socket.send(server_frame(Opcode.TEXT, b"joined"))
            return
        name, count, gap_s = data.decode().removeprefix("publish ").rsplit(" ", 2)
        task = asyncio.ensure_future(self._publish(name, int(count), float(gap_s)))
        self._world.tasks.add(task)
        task.add_done_callback(self._world.tasks.discard)

    async def _publish(self, name: str, count: int, gap_s: float) -> None:
        frames = await self._world.publish(name, count, gap_s)
        assert self.socket is not None
        self.socket.send(server_frame(Opcode.TEXT, b"sent %d" % frames))

    def _overflowed(self) -> None:
        raise RuntimeError("the reader is too slow for this benchmark")


def serve_flows(pipe: Connection) -> None:
    """Serve in a process of its own; tells its port first."""
    world = _World()
    run_until_stopped(
        SimpleHost(
            lambda subprotocol, remote: _Peer(world),
            limits=LimitSettings(hello_timeout_s=60, connect_rate=0),
        ),
        pipe.send,
    )


def attend_flows(pipe: Connection, port: int, count: int) -> None:
    """Subscribe *count* times, in a process of its own; have it publish when asked."""
    join = (client_frame(b"join"), b"joined")
    subscribers = open_sessions(port, count, lambda _: [join], "")
    [control] = open_sessions(port, 1, lambda _: [], "")
    reader = Reader([*subscribers, control])
    pipe.send("ready")

    def measure(name: str, rounds: int, gap_s: float) -> int:
        control.send(client_frame(f"publish {name} {rounds} {gap_s}".encode()))
        received, sent = 0, -1
        while received != sent:
            for one in reader.ready(1.0):
                if one is control:
                    sent = _sent(control)
                else:
                    received += len(one.receive())
        return sent

    answer_with(pipe, measure)


def _sent(control: Socket) -> int:
    word, number = control.sock.recv(READ_BYTES)[2:].split()
    assert word == b"sent"
    return int(number)
