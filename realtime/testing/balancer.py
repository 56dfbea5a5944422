"""
A TCP balancer as deploys need one: connections go to nodes in turn, but to none whose
``/readyz`` is red. ``python -m realtime.testing.balancer PORT NODE...`` runs one alone.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Self, cast

HOST = "127.0.0.1"
CHECK_S = 0.2
CHECK_TIMEOUT_S = 5.0  # a busy node is none that is gone
BACKLOG = 4_096
_QUESTION = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class _Side(asyncio.Protocol):
    """One half of a connection that is passed on; what comes goes to ``other``."""

    def __init__(self) -> None:
        self.other: _Side | None = None
        self.transport: asyncio.Transport | None = None
        self._ended = False  # its direction

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass it on, and let the other direction go on, if it has not ended too."""
        self._ended = True
        other = self.other
        if other is None or other.transport is None or other._ended:
            return False
        with suppress(OSError, RuntimeError):
            other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        """Read no more from the other side."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again from the other side."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side, too, once it has sent all."""
        other, self.other, self.transport = self.other, None, None
        if other is not None and other.transport is not None:
            other.transport.close() if exc is None else other.transport.abort()


class _Entrance(_Side):
    """The client's half: what it says is kept until a node has been found for it."""

    def __init__(self, balancer: Balancer) -> None:
        super().__init__()
        self._balancer = balancer
        self._early = bytearray()
        balancer.connections += 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look for a node."""
        super().connection_made(transport)
        self._balancer.place(self)

    def data_received(self, data: bytes) -> None:
        """Pass it on, or keep it."""
        if self.other is None:
            self._early += data
        else:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side, too."""
        self._balancer.connections -= 1
        super().connection_lost(exc)

    def join(self, side: _Side) -> None:
        """Pass on what has come so far, and from now on."""
        self.other = side
        super().data_received(bytes(self._early))
        self._early.clear()


class Balancer:
    """
    Listens on *port* (0: a free one) and passes connections on to *nodes*, by port.

    Use it as an asynchronous context manager.
    """

    def __init__(self, nodes: Sequence[int], port: int = 0) -> None:
        self.port = port
        self.connections = 0
        self.ready: dict[int, bool] = dict.fromkeys(nodes, False)
        self._nodes = tuple(nodes)
        self._turn = count()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for node in self._nodes:
            await self._check(node)
        self._server = await loop.create_server(
            lambda: _Entrance(self), HOST, self.port, backlog=BACKLOG
        )
        self.port = self._server.sockets[0].getsockname()[1]
        for node in self._nodes:
            self._spawn(self._watch(node))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.wait(self._tasks)

    def place(self, entrance: _Entrance) -> None:
        """Find a node for a connection that has come; without one, cut it."""
        self._spawn(self._place(entrance))

    async def _place(self, entrance: _Entrance) -> None:
        side = _Side()
        side.other = entrance
        for _ in self._nodes:
            node = self._next()
            if node is None:
                break
            try:
                await asyncio.get_running_loop().create_connection(
                    lambda: side, HOST, node
                )
            except OSError:
                self.ready[node] = False
                continue
            if entrance.transport is None:  # gone meanwhile
                assert side.transport is not None
                side.transport.abort()
                return
            entrance.join(side)
            return
        if entrance.transport is not None:
            entrance.transport.abort()

    def _next(self) -> int | None:
        ready = [node for node in self._nodes if self.ready[node]]
        return ready[next(self._turn) % len(ready)] if ready else None

    async def _watch(self, node: int) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            await self._check(node)

    async def _check(self, node: int) -> None:
        """Ask *node* whether it is ready."""
        answer = b""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(HOST, node)
                try:
                    writer.write(_QUESTION)
                    answer = await reader.readline()
                finally:
                    writer.transport.abort()
        self.ready[node] = answer.startswith(b"HTTP/1.1 200")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def main() -> None:
    """Balance until killed; say when connections are taken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("nodes", type=int, nargs="+")
    args = parser.parse_args()

    async def run() -> None:
        async with Balancer(args.nodes, args.port) as balancer:
            print(f"balancing on {HOST}:{balancer.port}", flush=True)
            await asyncio.Event().wait()

    try:
        import uvloop
    except ImportError:
        asyncio.run(run())
    else:
        uvloop.run(run())


if __name__ == "__main__":
    main()
