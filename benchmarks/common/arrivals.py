"""
When bytes reached a socket, told by the kernel (SO_TIMESTAMPNS, socket(7)).

However late the client reads, and however busy it is with others, the time is that of
the arrival: so thousands of sockets can be read by one process after it is all over.
"""

from __future__ import annotations

import socket
import struct
import time
from multiprocessing.connection import Connection

from realtime.bench.children import answer_with
from realtime.bench.frames import message
from realtime.bench.local import token
from realtime.bench.sockets import (
    READ_BYTES,
    Reader,
    Socket,
    connect,
    hello,
    open_sessions,
    subscribe,
)

SO_TIMESTAMPNS = 35  # asm-generic/socket.h
CHANNEL = "bench:spread"
PING_EVERY_S = 0.002
BARE_SOURCES = 40_000  # from an address of their own: ports are few
SETTLE_S = 0.3  # for the last answers

Heard = tuple[int, float, float]
"""How many sockets have heard something, and when the first and the last of them."""


def receive(sock: socket.socket) -> tuple[bytes, float]:
    """Return what has come, and when the end of it reached the socket."""
    data, extra, _, _ = sock.recvmsg(READ_BYTES, 64)
    if not data:
        raise ConnectionError("the server has closed the connection")
    for level, kind, value in extra:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("qq", value)
            return data, seconds + nanoseconds / 1e9
    raise RuntimeError("the kernel does not say when it came")


def _open(port: int, first: int, count: int, bare: bool) -> list[Socket]:
    """Connect subscribers number *first* and following."""

    def script(number: int) -> list[tuple[bytes, bytes]]:
        name = token(f"spread-{first + number}")
        return [hello(token=name), subscribe(CHANNEL)]

    if bare:
        numbers = range(BARE_SOURCES + first, BARE_SOURCES + first + count)
        sockets = [connect(port, number) for number in numbers]
    else:
        sockets = open_sessions(port, count, script)
    for one in sockets:
        one.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        one.sock.setblocking(False)
    return sockets


def listen(pipe: Connection, port: int, first: int, count: int, bare: bool) -> None:
    """Be *count* subscribers, in a process of its own."""
    sockets = _open(port, first, count, bare)
    pipe.send("ready")

    def heard(_: str) -> Heard:
        times = []
        for one in sockets:
            try:
                times.append(receive(one.sock)[1])
            except BlockingIOError:
                continue
        return len(times), min(times, default=0.0), max(times, default=0.0)

    answer_with(pipe, heard)


def ping(pipe: Connection, port: int) -> None:
    """Be somebody who has nothing to do with the others, in a process of its own."""
    [one] = open_sessions(port, 1, lambda _: [hello(token=token("pinger"))])
    one.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    reader = Reader([one])
    pipe.send("ready")
    answer_with(pipe, lambda seconds: _latencies(one, reader, seconds))


def _latencies(one: Socket, reader: Reader, seconds: float) -> list[float]:
    """
    Ping every two milliseconds, whether or not there was an answer; return ms.

    Counted from when a ping left: being late itself is not the server's doing.
    """
    sent: list[float] = []
    found: list[float] = []
    start = time.time()
    while (now := time.time()) < start + seconds + SETTLE_S:
        due = start + len(sent) * PING_EVERY_S
        if now < start + seconds and now >= due:
            sent.append(time.time())
            one.send(message("ping"))
            continue
        for ready in reader.ready(min(max(due - now, 0.0), PING_EVERY_S)):
            data, at = receive(ready.sock)
            pongs = data.count(b'"type":"pong"')
            found += [(at - ping) * 1e3 for ping in sent[len(found) :][:pongs]]
    if len(found) < len(sent):
        raise RuntimeError(f"{len(sent) - len(found)} pings were not answered")
    return found
