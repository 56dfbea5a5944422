"""Audiences to whom eight publications come in one turn of the server's loop."""

from __future__ import annotations

from common.audience import (
    Audience,
    BareAudience,
    Found,
    LayerAudience,
    StampedAudience,
    stamped,
)
from realtime.bench.frames import client_frame, message
from realtime.bench.local import token
from realtime.bench.sockets import (
    Reader,
    Script,
    Socket,
    connect,
    hello,
    open_sessions,
    subscribe,
)

TOGETHER = 8
CHANNELS = [f"bench:together{number}" for number in range(TOGETHER)]
EVENT = "shown"
COUNTERS = [f"shown{number}" for number in range(TOGETHER)]


def _session(channels: list[str]) -> Script:
    def script(number: int) -> list[tuple[bytes, bytes]]:
        device = {"device": "publisher"} if number == 0 else {}
        greeting = hello(token=token(f"u{number}"), **device)
        return [greeting, *map(subscribe, channels)]

    return script


class BareTogether(BareAudience):
    """Of floor.c: a send() for each frame."""

    each = TOGETHER

    def publish(self, due: float) -> None:
        """Send eight frames at once, which go out one by one."""
        for _ in range(TOGETHER):
            super().publish(due)


class LayerTogether(LayerAudience):
    """Of the hub alone: eight messages arrive in one read."""

    each = TOGETHER

    def publish(self, due: float) -> None:
        """Send eight messages in one segment."""
        text = stamped(b'{"type":"push","channel":1,"data":', due)
        frame = client_frame(self.way + b' "' + text + b'"')
        self.publisher.send(frame * TOGETHER)


class BroadcastTogether(StampedAudience):
    """Of the real server: one request publishes to eight channels that all watch."""

    each = TOGETHER

    def open(self, port: int) -> None:
        """Connect everybody; the publisher speaks HTTP."""
        self._port = port
        self.subscribers = open_sessions(port, self.count, _session(CHANNELS))
        self.publisher = connect(port)
        self.prefix = b'{"type":"push","channel":1,"data":'  # numbers of one digit

    def measure(self, rounds: int, gap_s: float) -> Found:
        """Connect the publisher anew: the server does not keep who is silent."""
        self._reader.close()
        self.publisher.sock.close()
        self.publisher = connect(self._port)
        self._reader = Reader(self.everybody)
        return super().measure(rounds, gap_s)

    def publish(self, due: float) -> None:
        """Publish by one request."""
        names = ",".join(f'"{name}"' for name in CHANNELS)
        data = stamped(self.prefix, due).decode()
        body = f'{{"channels":[{names}],"data":"{data}"}}'
        head = (
            "POST /v1/broadcast HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {token('publisher')}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.publisher.send((head + body).encode())

    def take(self, one: Socket, now: float) -> None:
        """Read frames, or the answer to a request."""
        if one is not self.publisher:
            super().take(one, now)
            return
        answer = one.sock.recv(65536)
        if not answer or (answer.startswith(b"HTTP") and b" 200 OK" not in answer):
            raise RuntimeError(f"not published: {answer!r}")


class LiveTogether(Audience):
    """Of the real server: one event changes eight counters that all watch."""

    def open(self, port: int) -> None:
        """Connect everybody."""
        self.dues: list[float] = []
        self.current = 0  # latest values that have come
        live = [f"live:{name};window=total" for name in COUNTERS]
        self.subscribers = open_sessions(port, self.count, _session(live))
        self.publisher = self.subscribers[0]

    def publish(self, due: float) -> None:
        """Track one event."""
        self.dues.append(due)
        self.current = 0
        first = len(self.dues)
        self.publisher.send(message("track", first=first, events=[{"name": EVENT}]))

    def take(self, one: Socket, now: float) -> None:
        """Read values; one event each makes a new one of every counter."""
        for payload in one.receive():
            if b'"type":"push"' not in payload:
                continue  # an acknowledgement
            begin = payload.index(b'"value":') + 8
            value = int(payload[begin : payload.index(b",", begin)])
            self.latencies.append((now - self.dues[value - 1]) * 1e3)
            self.frames += 1
            self.current += value == len(self.dues)

    def complete(self, published: int) -> bool:
        """Whether everybody has the latest values: two events may share a tick."""
        return self.current == self.count * TOGETHER
