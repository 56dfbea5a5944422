"""
Devices that send numbered events and wait for the acknowledgements, or for an echo.

Two ways: *flood*, in which every device sends its next frame as soon as the one before
is acknowledged, and *paced*, in which events are due at fixed times and latency counts
from when one was due, whatever has kept the sender from it (coordinated omission).
"""

from __future__ import annotations

import os
import signal
import time
from array import array
from multiprocessing.connection import Connection

import orjson

from realtime.bench.children import answer_with
from realtime.bench.frames import client_frame
from realtime.bench.local import token
from realtime.bench.sockets import (
    PATIENCE_S,
    READ_BYTES,
    Reader,
    Socket,
    connect,
    hello,
    open_sessions,
)

EVENT = "like"
POSTS = 100

PAYLOAD_BYTES = 130  # of a frame with one event, whatever its numbers; spaces are JSON
FRAME_BYTES = len(client_frame(b" " * PAYLOAD_BYTES))
ECHO_BYTES = len(b'..{"type":"ack","acked":1000}')

_ACKED = b'"acked":'


class Device:
    """One device: its socket, its numbers, and when what is under way was due."""

    __slots__ = ("acked", "dues", "events", "left", "sent", "socket")

    def __init__(self, socket: Socket, batch: int) -> None:
        self.socket = socket
        self.sent = 0
        self.acked = 0
        self.left = 0  # frames of the flood that it has not sent
        self.dues: list[float] = []  # of every number, when it was sent by the clock
        self.events = _events(socket.number, batch)

    def send(self) -> None:
        """Send the next frame."""
        payload = b'{"type":"track","first":%d,"events":%b}' % (
            self.sent + 1,
            self.events,
        )
        self.socket.send(client_frame(payload.ljust(PAYLOAD_BYTES)))


def _events(number: int, batch: int) -> bytes:
    """Return a batch as JSON: likes of several posts, a moment ago."""
    now = round(time.time(), 3)
    posts = [str((number + place) % POSTS) for place in range(batch)]
    return orjson.dumps(
        [{"name": EVENT, "at": now, "properties": {"post": post}} for post in posts]
    )


class Devices:
    """All devices of a benchmark. Without *batch*, they speak to an echo."""

    def __init__(self, port: int, count: int, batch: int) -> None:
        self.batch = batch
        sockets = self.open(port, count)
        self.all = [Device(one, batch) for one in sockets]
        self._reader = Reader(sockets)

    def open(self, port: int, count: int) -> list[Socket]:
        """Connect and sign in."""

        def script(number: int) -> list[tuple[bytes, bytes]]:
            user = f"user-{number}"
            return [hello(token=token(user), device=f"device-{number}")]

        return open_sessions(port, count, script)

    def acknowledged(self, device: Device) -> int:
        """Read; return the highest number that has been acknowledged."""
        acked = device.acked
        for payload in device.socket.receive():
            begin = payload.find(_ACKED)
            if begin < 0:
                raise RuntimeError(f"no acknowledgement: {payload.decode()}")
            acked = int(payload[begin + len(_ACKED) : -1])
        return acked

    def flood(self, frames: int, pid: int) -> int:
        """
        Send *frames* frames from each device; return how many events that were.

        *pid* is the server's.
        """
        for device in self.all:
            device.left = frames
            self.send_next(device)
        self.settle()
        return frames * len(self.all) * self.batch

    def settle(self) -> None:
        """Send what is left of a flood, until all of it is acknowledged."""
        give_up = time.monotonic() + PATIENCE_S
        waiting = len(self.all)
        while waiting:
            if time.monotonic() > give_up:
                raise RuntimeError(f"{waiting} devices wait for acknowledgements")
            for one in self._reader.ready(1.0):
                device = self.all[one.number]
                device.acked = self.acknowledged(device)
                if device.acked < device.sent:
                    continue
                if device.left:
                    self.send_next(device)
                else:
                    waiting -= 1

    def send_next(self, device: Device) -> None:
        """Send one frame of a flood."""
        device.send()
        device.sent += self.batch
        device.left -= 1

    def paced(self, events_per_s: float, seconds: float) -> array[float]:
        """Send at this rate; return the latencies of acknowledgement in ms."""
        frames = max(int(events_per_s * seconds) // self.batch, 1)
        gap_s = self.batch / events_per_s
        latencies: array[float] = array("d")
        for device in self.all:
            device.dues = []
        base = [device.sent for device in self.all]
        clock, sent = time.monotonic, 0
        start = clock() + 0.05
        give_up = start + seconds + PATIENCE_S
        while len(latencies) < frames:
            now, due = clock(), start + sent * gap_s
            if now > give_up:
                raise RuntimeError(f"{len(latencies)} of {frames} were acknowledged")
            if sent < frames and now >= due:
                device = self.all[sent % len(self.all)]
                device.send()
                device.sent += self.batch
                device.dues.append(due)
                sent += 1
                continue
            for one in self._reader.ready(due - now if sent < frames else 1.0):
                device = self.all[one.number]
                before, device.acked = device.acked, self.acknowledged(device)
                now, zero = clock(), base[one.number]
                first = (before - zero) // self.batch
                last = (device.acked - zero) // self.batch
                latencies.extend((now - due) * 1e3 for due in device.dues[first:last])
        return latencies


class EchoDevices(Devices):
    """Of floor.c: every frame is answered by ECHO_BYTES."""

    def open(self, port: int, count: int) -> list[Socket]:
        return [connect(port, number) for number in range(count)]

    def acknowledged(self, device: Device) -> int:
        data = device.socket.sock.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the floor has ended")
        return device.acked + self.batch * (len(data) // ECHO_BYTES)

    def flood(self, frames: int, pid: int) -> int:
        """
        Send in rounds, and each while the server is stopped.

        A loop in C would wait for every single frame of this client, and its price
        would be that of waking up; so it finds them all waiting, as a busy server does.
        """
        for _ in range(frames):
            os.kill(pid, signal.SIGSTOP)
            try:
                for device in self.all:
                    device.left = 1
                    self.send_next(device)
            finally:
                os.kill(pid, signal.SIGCONT)
            self.settle()
        return frames * len(self.all) * self.batch


def track(
    pipe: Connection, kind: type[Devices], port: int, count: int, batch: int
) -> None:
    """Be the devices, in a process of their own; see ``realtime.bench.children``."""
    devices = kind(port, count, batch)
    pipe.send("ready")

    def act(what: str, *arguments: float) -> object:
        if what == "flood":
            return devices.flood(*map(int, arguments))
        return devices.paced(*arguments)

    answer_with(pipe, act)
