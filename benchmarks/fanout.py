"""
Question: what does it cost to deliver one frame to one of many subscribers?

Method: 1,000 connections over loopback to the real stack (uvicorn on uvloop, front
door, WebSocket, outbox, hub); one publication at a time, a frame of 132 bytes, with a
pause in between so that no two publications share a write. Counted is the CPU of the
server process, user and system, per delivered frame. In the same run, by turns: a bare
C loop of ``send`` over as many sockets (floor.c), the WebSocket's ``send`` without hub
and outbox, the hub, and the hub for live channels. The reader is another process that
only reads. Medians over the turns; ratios to C.

Finding (2026-11, two shared cores, uvloop 0.23, Python 3.11): C 10.1 us, the socket's
``send`` 1.09 times that, the hub 1.14, the hub for live channels 1.15 (in a second run
1.17 for both). Python adds about one microsecond per subscriber; the rest is the
kernel's.

    PYTHONPATH=. python benchmarks/fanout.py [--connections 1000] [--rounds 50]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from realtime.engine.hub import Hub
from realtime.engine.outbox import Outbox
from realtime.engine.socket import Socket
from realtime.settings import LimitSettings
from realtime.testing.host import RecordingPeer, SimpleHost
from realtime.testing.server import run_until_stopped
from realtime.types import Channel, JSONText
from realtime.wire.frames import FrameKey, PreparedPush

FRAME_BYTES = 132
GAP_S = 0.01
CHANNEL = Channel("bench:fanout")
WAYS = ("write", "hub", "latest")
REQUEST = (
    b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def publication() -> JSONText:
    """Return data whose complete frame is FRAME_BYTES long."""
    empty = len(PreparedPush(CHANNEL, 1, JSONText(b'""')).frame(FrameKey.JSON))
    data = JSONText(b'"%b"' % (b"x" * (FRAME_BYTES - 2 - empty)))
    longer = len(PreparedPush(CHANNEL, 1, data).frame(FrameKey.JSON)) - FRAME_BYTES
    return JSONText(b'"%b"' % (b"x" * (FRAME_BYTES - 2 - empty - longer)))


# -- the server ------------------------------------------------------------------------


class Subscriber(RecordingPeer):
    """A peer that joins the channel at once."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server

    def opened(self, socket: Socket) -> None:
        """Subscribe."""
        super().opened(socket)
        outbox = Outbox(socket, 1 << 20, FrameKey.JSON, self._overflowed)
        self.server.hub.join(CHANNEL, outbox)
        self.server.sockets.append(socket)

    def _overflowed(self) -> None:
        raise RuntimeError("the reader is too slow for this benchmark")


class Server:
    """Publishes when it is told to, and tells what that has cost."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.hub = Hub()
        self.sockets: list[Socket] = []

    def run(self) -> None:
        """Serve until standard input ends."""
        limits = LimitSettings(hello_timeout_s=60)
        host = SimpleHost(lambda subprotocol, remote: Subscriber(self), limits=limits)
        run_until_stopped(host, self._ready)

    def _ready(self, port: int) -> None:
        print(port, flush=True)
        loop = asyncio.get_running_loop()
        loop.add_reader(0, self._command)

    def _command(self) -> None:
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        self.task = asyncio.create_task(self._measure(line.strip()))

    async def _measure(self, what: str) -> None:
        data = publication()
        frame = PreparedPush(CHANNEL, 1, data).frame(FrameKey.JSON)
        assert len(frame) == FRAME_BYTES
        before = cpu_us()
        for _ in range(self.rounds):
            if what == "hub":
                self.hub.broadcast(CHANNEL, data)
            elif what == "latest":
                self.hub.broadcast_latest(CHANNEL, data)
            else:
                for one in self.sockets:
                    one.send(frame)
            await asyncio.sleep(GAP_S)
        used = cpu_us() - before
        print(used / self.rounds / len(self.sockets), flush=True)


def cpu_us() -> float:
    """Return the CPU this process has used, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1e6


# -- the reader ------------------------------------------------------------------------


def read_for_ever(port: int, connections: int, request: bytes) -> None:
    """Connect, shake hands if there is a *request*, say so, and read."""
    raise_file_limit()
    poll = select.epoll()
    sockets = []
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port))
        if request:
            sock.sendall(request)
            while not sock.recv(4096).endswith(b"\r\n\r\n"):
                pass
        poll.register(sock, select.EPOLLIN)
        sockets.append(sock)
    print("ready", flush=True)
    while True:
        for fd, _ in poll.poll():
            if not os.read(fd, 65536):
                return


def raise_file_limit() -> None:
    """Allow as many open files as the system lets us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# -- the comparison --------------------------------------------------------------------


class Measured:
    """A server process with its reader, asked over standard input."""

    def __init__(self, command: list[str], connections: int, request: str) -> None:
        pipe = subprocess.PIPE
        self.server = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        port = self._answer()
        read = [sys.executable, __file__, "--read", port, str(connections), request]
        self.reader = subprocess.Popen(read, stdout=pipe, text=True)
        assert self.reader.stdout is not None
        if self.reader.stdout.readline() != "ready\n":
            raise RuntimeError("the reader could not connect")

    def ask(self, what: str) -> float:
        """Return microseconds of CPU per frame."""
        assert self.server.stdin is not None
        self.server.stdin.write(what + "\n")
        self.server.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self.server.stdout is not None
        line = self.server.stdout.readline().strip()
        if not line:
            raise RuntimeError("the server has died")
        return line

    def stop(self) -> None:
        """End both processes."""
        for process in (self.reader, self.server):
            process.kill()
            process.wait()


@contextmanager
def floor(connections: int, rounds: int) -> Iterator[Measured | None]:
    """Compile and start the C loop, where there is a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder, "floor"))
        source = str(Path(__file__).with_name("floor.c"))
        subprocess.run([compiler, "-O2", "-o", program, source], check=True)
        gap_us = str(int(GAP_S * 1e6))
        numbers = [str(connections), str(rounds), gap_us, str(FRAME_BYTES)]
        measured = Measured([program, *numbers], connections, "")
        try:
            yield measured
        finally:
            measured.stop()


def compare(connections: int, rounds: int, turns: int) -> dict[str, float]:
    """Measure by turns; return the medians."""
    raise_file_limit()
    costs: dict[str, list[float]] = {}
    serve = [sys.executable, __file__, "--serve", str(rounds)]
    with floor(connections, rounds) as bare:
        ours = Measured(serve, connections, "websocket")
        try:
            for turn in range(turns + 1):
                found = {"C send": bare.ask("go")} if bare else {}
                for step in range(len(WAYS)):  # in another order every time
                    way = WAYS[(turn + step) % len(WAYS)]
                    found[way] = ours.ask(way)
                if turn:  # the first one warms up
                    for name, cost in found.items():
                        costs.setdefault(name, []).append(cost)
        finally:
            ours.stop()
    return {name: median(costs[name]) for name in ("C send", *WAYS) if name in costs}


def main() -> None:
    """Compare, or be one of the processes compared."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--read", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        raise_file_limit()
        Server(options.serve).run()
    elif options.read:
        port, connections, kind = options.read
        read_for_ever(int(port), int(connections), REQUEST if kind else b"")
    else:
        costs = compare(options.connections, options.rounds, options.turns)
        base = costs.get("C send")
        print("what\tus per frame\tratio")
        for name, cost in costs.items():
            ratio = f"{cost / base:.2f}" if base else "no C compiler"
            print(f"{name}\t{cost:.2f}\t{ratio}")


if __name__ == "__main__":
    main()
