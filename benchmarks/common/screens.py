"""
Devices on one side, watchers on the other: when did which event reach which screen?

Every device likes a post of its own, so the value that a watcher of the post receives
is the number of the device's last event in it. Events are due at fixed times, and
latency counts from when one was due (coordinated omission).
"""

from __future__ import annotations

import time
from array import array
from multiprocessing.connection import Connection

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
COUNTER = "likes"


class Screens:
    """Devices of the node at one port, watchers of the node at another."""

    def __init__(
        self, device_port: int, watcher_port: int, devices: int, watchers: int
    ) -> None:
        def device(number: int) -> list[tuple[bytes, bytes]]:
            user = f"user-{number}"
            return [hello(token=token(user), device=f"device-{number}")]

        def watcher(number: int) -> list[tuple[bytes, bytes]]:
            channel = f"live:{COUNTER};post={number % devices};window=total"
            return [hello(token=token(f"watcher-{number}")), subscribe(channel)]

        self._devices = open_sessions(device_port, devices, device)
        self._watchers = open_sessions(watcher_port, watchers, watcher)
        self._dues: list[list[float]] = [[] for _ in self._devices]
        self._seen = [0] * watchers  # the value that each watcher shows
        self._watching = {one.fileno for one in self._watchers}
        self._reader = Reader([*self._devices, *self._watchers])

    def paced(self, events_per_s: float, seconds: float) -> array[float]:
        """Track at this rate; return the latencies of all watchers in ms."""
        events = int(events_per_s * seconds)
        expected = self._expected(events)
        latencies: array[float] = array("d")
        clock, sent = time.monotonic, 0
        start = clock() + 0.05
        give_up = start + seconds + PATIENCE_S
        while len(latencies) < expected:
            now, due = clock(), start + sent / events_per_s
            if now > give_up:
                raise RuntimeError(f"{len(latencies)} of {expected} values came")
            if sent < events and now >= due:
                self._track(sent % len(self._devices), due)
                sent += 1
                continue
            for one in self._reader.ready(due - now if sent < events else 1.0):
                if one.fileno in self._watching:
                    self._show(one, latencies)
                else:
                    one.receive()  # acknowledgements
        return latencies

    def _expected(self, events: int) -> int:
        """Return how many latencies there will be: one per event and watcher."""
        devices = len(self._devices)
        each = [events // devices + (n < events % devices) for n in range(devices)]
        return sum(each[one.number % devices] for one in self._watchers)

    def _track(self, number: int, due: float) -> None:
        dues = self._dues[number]
        dues.append(due)
        payload = (
            b'{"type":"track","first":%d,"events":'
            b'[{"name":"like","properties":{"post":"%d"}}]}' % (len(dues), number)
        )
        self._devices[number].send(client_frame(payload))

    def _show(self, one: Socket, latencies: array[float]) -> None:
        payloads = one.receive()
        now = time.monotonic()
        dues = self._dues[one.number % len(self._devices)]
        for payload in payloads:
            begin = payload.index(b'"value":') + 8
            value = int(payload[begin : payload.index(b",", begin)])
            shown = dues[self._seen[one.number] : value]
            latencies.extend((now - due) * 1e3 for due in shown)
            self._seen[one.number] = max(self._seen[one.number], value)


def show(
    pipe: Connection, device_port: int, watcher_port: int, devices: int, watchers: int
) -> None:
    """Be all of them, in a process of its own; see ``realtime.bench.children``."""
    screens = Screens(device_port, watcher_port, devices, watchers)
    pipe.send("ready")

    def paced(_: str, events_per_s: float, seconds: float) -> array[float]:
        return screens.paced(events_per_s, seconds)

    answer_with(pipe, paced)
