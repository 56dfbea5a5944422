"""What one of each thing costs a node and the kernel: the real server, from outside."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection

import redis

from common.redis_costs import change
from realtime.adapters.broker.wire import encode_publication
from realtime.adapters.redis.keys import broker_channel
from realtime.bench.children import Child, answer_with
from realtime.bench.frames import (
    PING,
    PONG,
    client_frame,
    message,
    take_frames,
    upgrade_request,
)
from realtime.bench.local import pid_of, serving, token
from realtime.bench.machine import cpu_us, raise_file_limit
from realtime.bench.report import Turns, say
from realtime.bench.sockets import (
    BATCH,
    HOST,
    JSON_V1,
    SILENCE_S,
    Reader,
    Socket,
    connect,
    hello,
    open_sessions,
    subscribe,
)
from realtime.testing.servers import ValkeyServer
from realtime.types import Channel, JSONText, Publication

KEEPALIVE_S = 5  # the shortest that is granted
PING_ROUNDS = 2
HEARD = "bench:heard"
DATA = JSONText(b'{"text":"%s"}' % (b"x" * 90))
SETTLE_S = 1.0
WARM = 50
COUNTER = """
[counters.likes]
event = "like"
by = ["post"]
cadence = "5s"
"""


class Crowd:
    """Connections in a process of their own; see ``common.children``."""

    def __init__(self, port: int) -> None:
        raise_file_limit()
        self._port = port
        self._held: list[Socket] = []
        self._bare: list[socket.socket] = []

    def open(self, count: int, keepalive_s: int) -> int:
        """Sign in and subscribe, each to a channel of its own."""

        def script(number: int) -> list[tuple[bytes, bytes]]:
            said = message("hello", token=token(f"u-{number}"), keepalive_s=keepalive_s)
            return [(said, b'"type":"welcome"'), subscribe(f"bench:{number}")]

        self._held = open_sessions(self._port, count, script)
        return count

    def close(self) -> int:
        """End all connections by closing their sockets."""
        count = len(self._held)
        for one in self._held:
            one.sock.close()
        self._held.clear()
        return count

    def answer_pings(self, seconds: float) -> int:
        """Answer for a while; return how many pings came."""
        reader, until, pings = Reader(self._held), time.monotonic() + seconds, 0
        pong = client_frame(b"", PONG)
        while (left := until - time.monotonic()) > 0:
            for one in reader.ready(left):
                frames, one.rest = take_frames(one.rest + one.sock.recv(65536))
                for first, payload in frames:
                    if first & 0x0F == PING:
                        one.send(client_frame(payload, PONG) if payload else pong)
                        pings += 1
        reader.close()
        return pings

    def knock(self, count: int) -> int:
        """Ask for WebSockets and be refused; return how often that happened."""
        refused, request = 0, upgrade_request(JSON_V1)
        for first in range(0, count, BATCH):
            batch = [
                connect(self._port) for _ in range(first, min(first + BATCH, count))
            ]
            for one in batch:
                one.send(request)
            for one in batch:
                refused += one.sock.recv(4096).startswith(b"HTTP/1.1 503")
                one.sock.close()
        return refused

    def listen(self, channel: str) -> int:
        """Subscribe to the channel that is published on."""
        steps = [hello(token=token("listener")), subscribe(channel)]
        self._held = open_sessions(self._port, 1, lambda number: steps)
        return 1

    def drain(self, seconds: float) -> int:
        """Read what comes for a while; return how many frames it was."""
        reader, until, frames = Reader(self._held), time.monotonic() + seconds, 0
        while (left := until - time.monotonic()) > 0:
            for one in reader.ready(left):
                frames += len(one.receive())
        reader.close()
        return frames


def crowd(pipe: Connection, port: int) -> None:
    """Do what is asked: the name of a method, and its arguments."""
    one = Crowd(port)
    pipe.send("ready")
    answer_with(pipe, lambda what, *given: getattr(one, what)(*given))


def measure_node(count: int, messages: int, turns: int) -> Mapping[str, float]:
    """Return the costs of a node, in microseconds and KiB."""
    found = Turns()
    for turn in range(turns):
        say(f"node: turn {turn + 1} of {turns}")
        with _joined("") as (pid, child, valkey):
            _connections(found, pid, child, count)
            _messages(found, pid, child, valkey, messages)
        with _joined(COUNTER) as (pid, child, valkey):
            child.ask("listen", "live:likes;post=cell-0;window=total")
            us = _spent(pid, lambda: _change(valkey.url, messages), 0.0)
            found.add("node", value_us=us / messages)
        with _joined(f"max_connections = {WARM}") as (pid, child, _):
            child.ask("open", WARM, SILENCE_S)  # it is full now
            us = _spent(pid, lambda: _all_refused(child, count), 0.0)
            found.add("node", refuse_us=us / count)
    found.add("node", socket_kib=socket_kib(count))
    return found.medians("node")


def _change(url: str, times: int) -> None:
    asyncio.run(change(url, "realtime", "cell", times))


def _all_refused(child: Child, count: int) -> None:
    if child.ask("knock", count) != count:
        raise RuntimeError("somebody was let in who should not be")


@contextmanager
def _joined(limits: str) -> Iterator[tuple[int, Child, ValkeyServer]]:
    """Run a node with a Redis of its own, and a process of clients."""
    with ValkeyServer() as valkey, serving(limits, redis=valkey.url) as [node]:
        pid = pid_of(node)
        with Child(crowd, node.port) as child:
            child.answer()
            child.ask("open", WARM, SILENCE_S)  # what is done once is nobody's cost
            child.ask("close")
            yield pid, child, valkey


def _connections(found: Turns, pid: int, child: Child, count: int) -> None:
    time.sleep(SETTLE_S)
    idle_us = _spent(pid, lambda: time.sleep(2.0), 0.0) / 2.0
    found.add("node", node_idle_us=idle_us)
    us = _spent(pid, lambda: child.ask("open", count, KEEPALIVE_S), idle_us)
    found.add("node", connect_us=us / count)
    pings = 0

    def answer() -> None:
        nonlocal pings
        pings = child.ask("answer_pings", float(PING_ROUNDS * KEEPALIVE_S))

    us = _spent(pid, answer, idle_us)
    if pings:
        found.add("node", ping_us=us / pings)

    def close() -> None:
        child.ask("close")
        time.sleep(SETTLE_S)

    found.add("node", disconnect_us=_spent(pid, close, idle_us) / count)


def _messages(
    found: Turns, pid: int, child: Child, valkey: ValkeyServer, count: int
) -> None:
    """What a message from Redis for one subscriber costs, its frame included."""
    child.ask("listen", HEARD)
    name = broker_channel("realtime", Channel(HEARD))
    data = encode_publication(Publication(Channel(HEARD), DATA))
    with redis.Redis(HOST, valkey.port) as client:

        def publish() -> None:
            for number in range(count):
                client.publish(name, data)
                if number % 10 == 9:
                    time.sleep(0.005)
            time.sleep(0.2)

        us = _spent(pid, publish, 0.0)
    if child.ask("drain", 0.5) < count:
        raise RuntimeError("not all messages have arrived")
    found.add("node", message_and_frame_us=us / count)


def _spent(pid: int, act: Callable[[], object], idle_us: float) -> float:
    """Return the processor time that an act takes, without that of an idle server."""
    began, before = time.monotonic(), cpu_us(pid)
    act()
    return max(0.0, cpu_us(pid) - before - idle_us * (time.monotonic() - began))


def socket_kib(pairs: int) -> float:
    """
    Return the kernel's memory for one idle socket, in KiB.

    Both ends of so many loopback connections are here, and in no process but this one,
    whose own memory for them is taken out; the kernel frees lazily, so it is an
    estimate.
    """
    with socket.create_server((HOST, 0), backlog=64) as server:
        held = []
        before = _kernel_kib()
        for _ in range(pairs):
            held.append(socket.create_connection(server.getsockname()))
            held.append(server.accept()[0])
        after = _kernel_kib()
        for one in held:
            one.close()
    return max(0, after - before) / (2 * pairs)


def _kernel_kib() -> int:
    """Return the memory of the kernel's own objects."""
    with open("/proc/meminfo", encoding="ascii") as file:
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in file}
    return sizes["Slab"] + sizes.get("KernelStack", 0) + sizes.get("Percpu", 0)
