"""
Publishing on schedule to many subscribers, and who got it how late.

Publications are due at fixed times, and latency counts from when one was due: a server
that makes the publisher wait does not make its own numbers better (coordinated
omission). Everybody is in one process, so that there is one clock.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from array import array
from multiprocessing.connection import Connection

import orjson

from realtime.bench.children import answer_with
from realtime.bench.frames import client_frame, message
from realtime.bench.local import token
from realtime.bench.sockets import (
    PATIENCE_S,
    READ_BYTES,
    Reader,
    Script,
    Socket,
    connect,
    hello,
    open_sessions,
    subscribe,
)

FRAME_BYTES = 132
CHANNEL = "bench:fanout"
COUNTER = "shown"
LIVE = f"live:{COUNTER};window=total"
_HEAD_BYTES = 4  # of a server frame of this size
_STAMP = slice(-18, -2)  # of a frame: when it was due; then come a quote and a brace

Found = tuple[int, "array[float]"]
"""How many frames were delivered, and the latencies in milliseconds."""


def stamped(prefix: bytes, due: float) -> bytes:
    """Return a text that makes a frame of FRAME_BYTES after *prefix*; ends in *due*."""
    size = FRAME_BYTES - _HEAD_BYTES - len(prefix) - len(b'""}')
    return (b"%016d" % int(due * 1e6)).rjust(size, b"x")


class Audience(ABC):
    """Subscribers, and a publisher who may be one of them."""

    subscribers: list[Socket]
    publisher: Socket

    def __init__(self, port: int, count: int) -> None:
        self.count = count
        self.frames = 0
        self.latencies: array[float] = array("d")
        self.open(port)
        self._reader = Reader({one.fileno: one for one in self.everybody}.values())

    @property
    def everybody(self) -> list[Socket]:
        """All sockets, possibly some of them twice."""
        return [*self.subscribers, self.publisher]

    @abstractmethod
    def open(self, port: int) -> None:
        """Connect everybody."""

    @abstractmethod
    def publish(self, due: float) -> None:
        """Send one publication that was due then."""

    @abstractmethod
    def take(self, one: Socket, now: float) -> None:
        """Read what has come for a socket."""

    @abstractmethod
    def complete(self, published: int) -> bool:
        """Whether everybody has got all of what was published in this measurement."""

    def measure(self, rounds: int, gap_s: float) -> Found:
        """Publish *rounds* times, every *gap_s*, and wait until all has come."""
        self.frames, self.latencies = 0, array("d")
        clock, published = time.monotonic, 0
        start = clock() + gap_s
        give_up = start + rounds * gap_s + PATIENCE_S
        while published < rounds or not self.complete(published):
            now, due = clock(), start + published * gap_s
            if now > give_up:
                raise RuntimeError(f"only {self.frames} frames came")
            if published < rounds and now >= due:
                self.publish(due)
                published += 1
                continue
            left_s = due - now if published < rounds else 1.0
            for one in self._reader.ready(left_s):
                self.take(one, clock())
        return self.frames, self.latencies


class StampedAudience(Audience):
    """The frames say when they were due."""

    prefix: bytes
    each = 1  # frames that one publishing brings to each

    def take(self, one: Socket, now: float) -> None:
        data = one.sock.recv(READ_BYTES)
        if not data or len(data) % FRAME_BYTES:
            raise RuntimeError(f"these are not whole frames: {data[:200]!r}")
        for end in range(FRAME_BYTES, len(data) + 1, FRAME_BYTES):
            due = int(data[end - FRAME_BYTES : end][_STAMP]) / 1e6
            self.latencies.append((now - due) * 1e3)
            self.frames += 1

    def complete(self, published: int) -> bool:
        return self.frames == published * self.count * self.each


class BareAudience(StampedAudience):
    """Of floor.c: no handshake, no protocol."""

    def open(self, port: int) -> None:
        self.publisher = connect(port)
        self.subscribers = [connect(port, number) for number in range(self.count)]

    def publish(self, due: float) -> None:
        prefix = b"-" * 33
        text = stamped(prefix, due)
        self.publisher.send(b"-" * _HEAD_BYTES + prefix + b'"' + text + b'"}')


class LayerAudience(StampedAudience):
    """Of layers.py: WebSockets that are told in a word which way to publish."""

    way = b"hub"

    def open(self, port: int) -> None:
        join = (client_frame(b"join"), b"joined")
        self.subscribers = open_sessions(port, self.count, lambda _: [join], "")
        self.publisher = self.subscribers[0]

    def publish(self, due: float) -> None:
        text = stamped(b'{"type":"push","channel":1,"data":', due)
        self.publisher.send(client_frame(self.way + b' "' + text + b'"'))


class ChannelAudience(StampedAudience):
    """Of the real server: publications on a channel."""

    def open(self, port: int) -> None:
        self.subscribers = open_sessions(port, self.count, _session(CHANNEL))
        self.publisher = self.subscribers[0]
        number = orjson.loads(self.publisher.answer)["number"]
        self.prefix = b'{"type":"push","channel":%d,"data":' % number

    def publish(self, due: float) -> None:
        text = stamped(self.prefix, due).decode()
        self.publisher.send(message("publish", channel=CHANNEL, data=text))


class LiveAudience(Audience):
    """Of the real server: the values of a counter; one event each makes a new one."""

    def open(self, port: int) -> None:
        self.dues: list[float] = []
        self.seen = [0] * self.count
        self.subscribers = open_sessions(port, self.count, _session(LIVE))
        self.publisher = self.subscribers[0]

    def publish(self, due: float) -> None:
        self.dues.append(due)
        first = len(self.dues)
        self.publisher.send(message("track", first=first, events=[{"name": COUNTER}]))

    def take(self, one: Socket, now: float) -> None:
        for payload in one.receive():
            if b'"type":"push"' not in payload:
                continue  # an acknowledgement
            begin = payload.index(b'"value":') + 8
            value = int(payload[begin : payload.index(b",", begin)])
            for due in self.dues[self.seen[one.number] : value]:
                self.latencies.append((now - due) * 1e3)
            self.seen[one.number] = value
            self.frames += 1

    def complete(self, published: int) -> bool:
        return min(self.seen) == len(self.dues)


def _session(channel: str) -> Script:
    def script(number: int) -> list[tuple[bytes, bytes]]:
        device = {"device": "publisher"} if number == 0 else {}
        return [hello(token=token(f"u{number}"), **device), subscribe(channel)]

    return script


def attend(pipe: Connection, kind: type[Audience], port: int, count: int) -> None:
    """Be the audience, in a process of its own; see ``realtime.bench.children``."""
    audience = kind(port, count)
    pipe.send("ready")

    def measure(way: str, rounds: int, gap_s: float) -> Found:
        if isinstance(audience, LayerAudience):
            audience.way = way.encode()
        return audience.measure(rounds, gap_s)

    answer_with(pipe, measure)
