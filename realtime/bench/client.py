"""
Many WebSocket clients in one process: raw sockets that never block, and one selector.

    clients = Clients(target, dialect, listener)
    clients.open(Client(7, device="device-7"), due=clock())
    while ...:
        clients.poll(timeout_s)          # calls the listener
        clients.send(client, dialect.publish(...))

Nothing here waits, and nothing is done behind the caller's back but what belongs to a
WebSocket: the handshake, the greeting, answers to pings, the closing. The listener is
told everything else with the time at which it was read.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from realtime.bench import frames
from realtime.bench.dialects.port import OTHER, Dialect, Ping, Said, Welcome
from realtime.bench.sources import bind_source, bind_spare
from realtime.bench.target import Endpoint, Target

READ_BYTES = 1 << 18
MAX_HEAD_BYTES = 16_384
_FIN = 0x80
_AGAIN = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)

clock = time.monotonic


class Phase(Enum):
    """How far a client has come."""

    CONNECTING = "connecting"
    SECURING = "securing"
    UPGRADING = "upgrading"
    GREETING = "greeting"
    READY = "ready"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class End:
    """
    How a connection ended.

    *kind*: ``unreachable`` (no TCP or TLS), ``refused`` (an HTTP answer, *code* its
    status; or the greeting, *code* 0), ``closed`` (*code* is that of WebSocket),
    ``lost`` (without a word), ``ours``. *retry_after_s* is how long to stay away.
    """

    kind: str
    code: int = 0
    reason: str = ""
    retry_after_s: float | None = None

    @property
    def sentence(self) -> str:
        """The whole, for people."""
        if self.kind == "refused" and self.code:
            return f"refused with {self.code}: {self.reason}"
        if self.kind == "closed":
            return f"closed with {self.code}: {self.reason}"
        return f"{self.kind}: {self.reason}" if self.reason else self.kind


class Client:
    """
    One connection. Scenarios derive from it to keep more (with ``__slots__``).

    *number* is its place among all of the run; *token*, *device* and *secret* go into
    the greeting; ``endpoint`` may be set to choose one of the target's. The times are
    on ``clock``, ``ready_at`` is None before it is reached.
    """

    __slots__ = (
        "device",
        "due",
        "endpoint",
        "fileno",
        "number",
        "out",
        "phase",
        "ready_at",
        "rest",
        "secret",
        "sock",
        "token",
    )

    def __init__(
        self,
        number: int,
        token: str | None = None,
        device: str | None = None,
        secret: str | None = None,
    ) -> None:
        self.number = number
        self.token = token
        self.device = device
        self.secret = secret
        self.phase = Phase.ENDED
        self.due = 0.0
        self.ready_at: float | None = None
        self.sock: socket.socket | None = None
        self.fileno = -1
        self.rest = b""
        self.out = b""
        self.endpoint: Endpoint | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it is signed in."""
        return self.phase is Phase.READY


class Listener(Protocol):
    """Whom the clients tell."""

    def ready(self, client: Client, now: float) -> None:
        """It is signed in."""

    def said(self, client: Client, said: Said, now: float) -> None:
        """The server has said something, read at *now*."""

    def ended(self, client: Client, end: End, now: float) -> None:
        """Its connection is gone."""


class Clients:
    """All clients of one process."""

    def __init__(self, target: Target, dialect: Dialect, listener: Listener) -> None:
        self._target = target
        self._dialect = dialect
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._addresses = {one: one.addresses() for one in set(target.endpoints)}
        self._tls = (
            target.tls() if any(one.secure for one in target.endpoints) else None
        )
        self._opcode = frames.BINARY if dialect.binary else frames.TEXT
        self._requests = {one: self._request(one) for one in self._addresses}
        self.open_count = 0  # whose connection has not ended
        self.received_bytes = 0

    def _request(self, endpoint: Endpoint) -> bytes:
        path = endpoint.path or self._dialect.path
        return frames.upgrade_request(
            self._dialect.subprotocol, endpoint.authority, path
        )

    # -- what the caller does ------------------------------------------------------

    def open(self, client: Client, due: float) -> None:
        """Begin to connect; *due* is when that should have happened."""
        endpoint = client.endpoint or self._target.endpoint(client.number)
        addresses = self._addresses[endpoint]
        family, address = addresses[client.number % len(addresses)]
        client.endpoint, client.due = endpoint, due
        client.rest = client.out = b""
        client.ready_at = None
        client.phase = Phase.CONNECTING
        self.open_count += 1
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as exc:
            client.sock = None
            self._end(client, End("unreachable", reason=_words(exc)))
            return
        client.sock, client.fileno = sock, sock.fileno()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(
            sock, selectors.EVENT_WRITE | selectors.EVENT_READ, client
        )
        code = _connect(sock, (address, endpoint.port), client.number)
        if code not in (0, errno.EINPROGRESS):
            self._end(client, End("unreachable", reason=_words(OSError(code))))

    def send(self, client: Client, payload: bytes) -> None:
        """Send one message; nothing happens if the connection has ended."""
        self._write(client, frames.client_frame(payload, self._opcode))

    def send_frames(self, client: Client, data: bytes) -> None:
        """Send frames that are made already (``frames.client_frame``)."""
        self._write(client, data)

    def close(self, client: Client, code: int = 1000) -> None:
        """Close as one should: the server is told, the socket is gone at once."""
        if client.phase in (Phase.GREETING, Phase.READY):
            payload = code.to_bytes(2)
            self._write(client, frames.client_frame(payload, frames.CLOSE))
        self.cut(client)

    def cut(self, client: Client) -> None:
        """End it without a word, as a phone in a tunnel."""
        self._end(client, End("ours"))

    def poll(self, timeout_s: float) -> int:
        """
        Wait for at most *timeout_s*, then handle what has come; return how many
        sockets had something.
        """
        found = self._selector.select(max(timeout_s, 0.0))
        for key, mask in found:
            client: Client = key.data
            if client.phase is Phase.READY and mask & selectors.EVENT_READ:
                self._read(client)
            else:
                self._step(client)
            if mask & selectors.EVENT_WRITE and client.out:
                self._flush(client)
        return len(found)

    def shut(self) -> None:
        """End all connections without telling the listener, and stop watching."""
        for key in list(self._selector.get_map().values()):
            key.data.phase = Phase.ENDED
            key.data.sock.close()
        self._selector.close()
        self.open_count = 0

    # -- opening -------------------------------------------------------------------

    def _step(self, client: Client) -> None:
        if client.phase is Phase.CONNECTING:
            self._connected(client)
        elif client.phase is Phase.SECURING:
            self._secure(client)
        elif client.phase is not Phase.ENDED:
            self._read(client)

    def _connected(self, client: Client) -> None:
        assert client.sock is not None
        assert client.endpoint is not None
        code = client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._end(client, End("unreachable", reason=_words(OSError(code))))
            return
        if client.endpoint.secure:
            assert self._tls is not None
            self._selector.unregister(client.sock)
            client.sock = self._tls.wrap_socket(
                client.sock,
                server_hostname=client.endpoint.host,
                do_handshake_on_connect=False,
            )
            self._selector.register(
                client.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, client
            )
            client.phase = Phase.SECURING
            self._secure(client)
        else:
            self._upgrade(client)

    def _secure(self, client: Client) -> None:
        assert isinstance(client.sock, ssl.SSLSocket)
        try:
            client.sock.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(client, writing=False)
        except ssl.SSLWantWriteError:
            self._watch(client, writing=True)
        except OSError as exc:
            self._end(client, End("unreachable", reason=f"TLS: {_words(exc)}"))
        else:
            self._upgrade(client)

    def _upgrade(self, client: Client) -> None:
        assert client.endpoint is not None
        client.phase = Phase.UPGRADING
        self._watch(client, writing=False)
        self._write(client, self._requests[client.endpoint])

    def _upgraded(self, client: Client, data: bytes) -> bytes | None:
        """Read the answer to the upgrade; return what follows it, or None."""
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            client.rest = data
            if len(data) > MAX_HEAD_BYTES:
                self._end(client, End("refused", reason="the answer is no HTTP"))
            return None
        if not head.startswith(b"HTTP/1.1 101"):
            self._end(client, _refusal(head, rest))
            return None
        client.phase = Phase.GREETING
        for payload in self._dialect.greeting(
            client.token, client.device, client.secret
        ):
            self.send(client, payload)
        if not self._dialect.greets:
            self._ready(client, clock())
        return rest

    def _ready(self, client: Client, now: float) -> None:
        client.phase = Phase.READY
        client.ready_at = now
        self._listener.ready(client, now)

    # -- reading -------------------------------------------------------------------

    def _read(self, client: Client) -> None:
        for data in self._received(client):
            now = clock()
            self.received_bytes += len(data)
            data = client.rest + data if client.rest else data
            if client.phase is Phase.UPGRADING:
                rest = self._upgraded(client, data)
                if rest is None:
                    continue
                data = rest
            found, client.rest = frames.take_frames(data)
            for head, payload in found:
                self._frame(client, head, payload, now)
                if client.phase is Phase.ENDED:
                    return

    def _received(self, client: Client) -> Iterator[bytes]:
        """Yield what can be read now; with TLS, all of it is out of the kernel."""
        sock = client.sock
        while sock is not None and client.phase is not Phase.ENDED:
            try:
                data = sock.recv(READ_BYTES)
            except _AGAIN:
                return
            except OSError as exc:
                self._end(client, End("lost", reason=_words(exc)))
                return
            if not data:
                self._end(client, _without_a_word(client))
                return
            yield data
            if not isinstance(sock, ssl.SSLSocket) or not sock.pending():
                return

    def _frame(self, client: Client, head: int, payload: bytes, now: float) -> None:
        opcode = head & 0x0F
        if opcode <= frames.BINARY:
            if not opcode or not head & _FIN:
                # Nobody who is measured here divides messages; were it ignored, its
                # deliveries would count as lost.
                self._end(client, End("lost", reason="the server sends fragments"))
                return
            said = self._dialect.read(payload)
            for one in said if isinstance(said, list) else (said,):
                self._said(client, one, now)
        elif opcode == frames.PING:
            self._write(client, frames.client_frame(payload, frames.PONG))
        elif opcode == frames.CLOSE:
            self._closed(client, payload)

    def _said(self, client: Client, said: Said, now: float) -> None:
        if isinstance(said, Ping):
            self.send(client, said.reply)
        elif said is not OTHER:
            if client.phase is Phase.GREETING and isinstance(said, Welcome):
                client.phase = Phase.READY
                client.ready_at = now
                self._listener.said(client, said, now)
                self._listener.ready(client, now)
            else:
                self._listener.said(client, said, now)

    def _closed(self, client: Client, payload: bytes) -> None:
        code = int.from_bytes(payload[:2]) if len(payload) >= 2 else 1005
        reason = payload[2:].decode(errors="replace")
        self._write(client, frames.client_frame(payload[:2], frames.CLOSE))
        self._end(client, End("closed", code, reason))

    # -- writing and ending --------------------------------------------------------

    def _write(self, client: Client, data: bytes) -> None:
        if client.sock is None:
            return
        if client.out:
            client.out += data
            return
        try:
            sent = client.sock.send(data)
        except _AGAIN:
            sent = 0
        except OSError as exc:
            # What the server said before it went away is still to be read.
            client.out = b""
            if client.phase is not Phase.READY:
                self._end(client, End("lost", reason=_words(exc)))
            return
        if sent < len(data):
            client.out = data[sent:]
            self._watch(client, writing=True)

    def _flush(self, client: Client) -> None:
        out, client.out = client.out, b""
        self._write(client, out)
        if not client.out and client.sock is not None:
            self._watch(client, writing=False)

    def _watch(self, client: Client, *, writing: bool) -> None:
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
        assert client.sock is not None
        self._selector.modify(client.sock, mask, client)

    def _end(self, client: Client, end: End) -> None:
        if client.phase is Phase.ENDED:
            return
        client.phase = Phase.ENDED
        self.open_count -= 1
        sock, client.sock = client.sock, None
        if sock is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(sock)
            sock.close()
        self._listener.ended(client, end, clock())


def _connect(sock: socket.socket, address: tuple[str, int], number: int) -> int:
    """Begin to connect; return the system's number for how that went."""
    try:
        bind_source(sock, address[0], number)
        code = sock.connect_ex(address)
        if code == errno.EADDRNOTAVAIL and bind_spare(sock, address[0], number):
            code = sock.connect_ex(address)
    except OSError as exc:
        return exc.errno or errno.EIO
    return code


def _refusal(head: bytes, body: bytes) -> End:
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    retry_after_s = None
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "retry-after" and value.strip().isdigit():
            retry_after_s = float(value)
    text = body.decode(errors="replace").strip()
    reason = text.splitlines()[0][:200] if text else " ".join(words[2:])
    return End("refused", status, reason, retry_after_s)


def _without_a_word(client: Client) -> End:
    phase = client.phase.value
    return End("lost", reason=f"the server hung up while we were {phase}")


def _words(exc: OSError) -> str:
    if exc.strerror:
        return exc.strerror
    if len(exc.args) == 1 and isinstance(exc.args[0], int):
        return os.strerror(exc.args[0])
    return str(exc) or type(exc).__name__
