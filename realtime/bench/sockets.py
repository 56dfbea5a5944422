"""Many sockets at once, without an event loop: connect, speak in steps, read."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence

from realtime.bench.frames import JSON_V1, message, take_payloads, upgrade_request
from realtime.bench.sources import bind_source

HOST = "127.0.0.1"
BATCH = 50  # connections that are opened at a time
READ_BYTES = 65536
SILENCE_S = 1800  # that the server grants: none of the clients here answers pings
PATIENCE_S = 60.0  # for anything that must come


class Socket:
    """
    One connection; ``number`` is its place among its like, ``answer`` the last answer
    of its script.
    """

    __slots__ = ("answer", "fileno", "number", "rest", "sock")

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.fileno = sock.fileno()
        self.rest = b""
        self.answer = b""

    def send(self, data: bytes) -> None:
        """Send all of *data*."""
        self.sock.sendall(data)

    def receive(self) -> list[bytes]:
        """Return the payloads of the frames that have come."""
        data = self.sock.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the server has closed the connection")
        payloads, self.rest = take_payloads(self.rest + data)
        return payloads

    def await_payload(self, what: bytes) -> bytes:
        """Return the next payload that contains *what*."""
        while True:
            for payload in self.receive():
                if what in payload:
                    return payload
                if b'"type":"error"' in payload:
                    raise RuntimeError(payload.decode())


def connect(port: int, number: int = 0) -> Socket:
    """Connect from an address of loopback that has ports left."""
    sock = socket.socket()
    sock.settimeout(PATIENCE_S)
    bind_source(sock, HOST, number)
    sock.connect((HOST, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Socket(sock, number)


def read_head(one: Socket) -> None:
    """Read the answer to the upgrade."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = one.sock.recv(READ_BYTES)
        if not data:
            raise ConnectionError(f"refused: {head.decode()}")
        head += data
    if not head.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(f"refused: {head.decode()}")


Script = Callable[[int], Iterable[tuple[bytes, bytes]]]
"""For connection number N: what to send, and what the answer to it contains."""


def open_sessions(
    port: int,
    count: int,
    script: Script,
    subprotocol: str = JSON_V1,
    extensions: str = "",
    start: int = 0,
) -> list[Socket]:
    """
    Open *count* WebSockets and run *script* on each, a batch of them at a time.

    They are numbered from *start*, and come from the addresses of their numbers.

    A batch sends its step together and then waits for all answers: nobody sends before
    the answer to what it said before.
    """
    opened: list[Socket] = []
    end = start + count
    for first in range(start, end, BATCH):
        numbers = range(first, min(first + BATCH, end))
        batch = [connect(port, number) for number in numbers]
        request = upgrade_request(subprotocol, extensions=extensions)
        for one in batch:
            one.send(request)
        for one in batch:
            read_head(one)
        for step in zip(*(list(script(one.number)) for one in batch), strict=True):
            _run_step(batch, step)
        opened += batch
    return opened


def _run_step(batch: Sequence[Socket], step: Sequence[tuple[bytes, bytes]]) -> None:
    for one, (said, _) in zip(batch, step, strict=True):
        one.send(said)
    for one, (_, awaited) in zip(batch, step, strict=True):
        one.answer = one.await_payload(awaited)


def hello(**fields: object) -> tuple[bytes, bytes]:
    """Return the step that opens a session, in which the server does not ping."""
    said = message("hello", keepalive_s=SILENCE_S, **fields)
    return said, b'"type":"welcome"'


def subscribe(channel: str) -> tuple[bytes, bytes]:
    """Return the step that subscribes."""
    return message("subscribe", channel=channel), b'"type":"subscribed"'


class Reader:
    """Waits for sockets to have something, for a while."""

    def __init__(self, sockets: Iterable[Socket]) -> None:
        self._poll = select.epoll()
        self._by_fd: dict[int, Socket] = {}
        for one in sockets:
            self._poll.register(one.fileno, select.EPOLLIN)
            self._by_fd[one.fileno] = one

    def ready(self, timeout_s: float) -> Iterator[Socket]:
        """Yield the sockets that can be read, after waiting at most *timeout_s*."""
        by_fd = self._by_fd
        for fd, _ in self._poll.poll(max(timeout_s, 0.0), 4096):
            yield by_fd[fd]

    def close(self) -> None:
        """Stop watching; the sockets stay open."""
        self._poll.close()
