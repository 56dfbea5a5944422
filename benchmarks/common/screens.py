"""
Devices and watchers on several nodes: when did which event reach which screen?

Every device likes a post of its own, or shares it with a device of another node. The
value that a watcher receives tells how many events of which device are in it: what they
add is summed up, and the second device of a post adds 2**26 where the first adds 1. A
watcher is at another node than the (first) device of its post, if there are several.

Batches are due at fixed times, and latency counts from when one was due (coordinated
omission), once for every batch and watcher of its post.
"""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Sequence
from multiprocessing.connection import Connection

import orjson

from realtime.bench.children import answer_with
from realtime.bench.frames import client_frame
from realtime.bench.local import token
from realtime.bench.sockets import (
    PATIENCE_S,
    Reader,
    Socket,
    hello,
    open_sessions,
    subscribe,
)

EVENT = "like"
COUNTER = "likes"  # counts, where posts are not shared
SUM = "weights"  # of the property ``weight``, where they are

_SHIFT = 26
_VALUE = b'"value":'


class _Device:
    """One device: its socket, what it sends, and when its batches were due."""

    __slots__ = ("dues", "events", "post", "socket", "unit")

    def __init__(self, socket: Socket, post: int, unit: int, batch: int) -> None:
        properties = {"post": str(post), "weight": unit}
        self.socket = socket
        self.post = post
        self.unit = unit
        self.events = orjson.dumps([{"name": EVENT, "properties": properties}] * batch)
        self.dues: list[float] = []

    def send(self, batch: int, due: float) -> None:
        """Send the next batch."""
        first = len(self.dues) * batch + 1
        self.dues.append(due)
        payload = b'{"type":"track","first":%d,"events":%b}' % (first, self.events)
        self.socket.send(client_frame(payload))


class Screens:
    """Devices and watchers, spread over the nodes at *ports*."""

    def __init__(
        self,
        ports: Sequence[int],
        devices: int,
        watchers: int,
        batch: int,
        *,
        shared: bool,
    ) -> None:
        self._batch = batch
        posts = devices // 2 if shared else devices
        nodes = len(ports)
        self._devices: list[_Device] = []
        for node, port in enumerate(ports):
            numbers = range(node, devices, nodes)
            for number, socket in zip(numbers, _devices(port, numbers), strict=True):
                post = number // 2 if shared else number
                unit = 1 << _SHIFT if shared and number % 2 else 1
                self._devices.append(_Device(socket, post, unit, batch))
        self._devices.sort(key=lambda one: (one.post, one.unit))
        counter = SUM if shared else COUNTER
        self._watchers: dict[int, tuple[Socket, list[_Device], list[int]]] = {}
        for node, port in enumerate(ports):
            at = [
                n % posts
                for n in range(watchers)
                if node == _node_of(n, posts, nodes, shared)
            ]
            channels = [f"live:{counter};post={post};window=total" for post in at]
            for post, socket in zip(at, _watchers(port, channels), strict=True):
                of = [one for one in self._devices if one.post == post]
                self._watchers[socket.fileno] = (socket, of, [0] * len(of))
        self._reader = Reader(
            [one.socket for one in self._devices]
            + [one for one, _, _ in self._watchers.values()]
        )

    def paced(self, events_per_s: float, seconds: float) -> array[float]:
        """Track at this rate; return the latencies of all watchers in ms."""
        gap_s = self._batch / events_per_s
        batches = int(seconds / gap_s)
        expected = self._expected(batches)
        latencies: array[float] = array("d")
        clock, sent = time.monotonic, 0
        start = clock() + 0.05
        give_up = start + seconds + PATIENCE_S
        while len(latencies) < expected:
            now, due = clock(), start + sent * gap_s
            if now > give_up:
                raise RuntimeError(f"{len(latencies)} of {expected} values came")
            if sent < batches and now >= due:
                self._devices[sent % len(self._devices)].send(self._batch, due)
                sent += 1
                continue
            for one in self._reader.ready(due - now if sent < batches else 1.0):
                self._read(one, latencies)
        return latencies

    def _expected(self, batches: int) -> int:
        """Return how many latencies there will be: one per batch and watcher."""
        count = len(self._devices)
        each = {
            id(device): batches // count + (place < batches % count)
            for place, device in enumerate(self._devices)
        }
        return sum(each[id(one)] for _, of, _ in self._watchers.values() for one in of)

    def _read(self, one: Socket, latencies: array[float]) -> None:
        payloads = one.receive()
        watcher = self._watchers.get(one.fileno)
        if watcher is None:
            return  # acknowledgements
        now = time.monotonic()
        _, devices, seen = watcher
        for payload in payloads:
            begin = payload.index(_VALUE) + len(_VALUE)
            value = int(payload[begin : payload.index(b",", begin)])
            for place, device in enumerate(devices):
                amount = value >> _SHIFT if device.unit > 1 else value
                if len(devices) > 1 and device.unit == 1:
                    amount &= (1 << _SHIFT) - 1
                shown = amount // self._batch
                dues = device.dues[seen[place] : shown]
                latencies.extend([(now - due) * 1e3 for due in dues])
                seen[place] = max(seen[place], shown)


def _node_of(watcher: int, posts: int, nodes: int, shared: bool) -> int:
    """Another node than that of the device; by turns where devices of both share."""
    turn, post = divmod(watcher, posts)
    return (turn if shared else post + 1) % nodes


def _devices(port: int, numbers: Sequence[int]) -> list[Socket]:
    def script(place: int) -> list[tuple[bytes, bytes]]:
        number = numbers[place]
        return [hello(token=token(f"user-{number}"), device=f"device-{number}")]

    return open_sessions(port, len(numbers), script)


def _watchers(port: int, channels: Sequence[str]) -> list[Socket]:
    shared = token("watcher")

    def script(place: int) -> list[tuple[bytes, bytes]]:
        return [hello(token=shared), subscribe(channels[place])]

    return open_sessions(port, len(channels), script)


def show(
    pipe: Connection,
    ports: Sequence[int],
    devices: int,
    watchers: int,
    batch: int,
    shared: bool,
) -> None:
    """Be all of them, in a process of its own; see ``realtime.bench.children``."""
    screens = Screens(ports, devices, watchers, batch, shared=shared)
    gc.freeze()
    gc.disable()  # a pause here would look like one of the server
    pipe.send("ready")

    def paced(_: str, events_per_s: float, seconds: float) -> array[float]:
        return screens.paced(events_per_s, seconds)

    answer_with(pipe, paced)
