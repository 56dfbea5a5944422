"""The real stack on loopback: uvicorn, the front door, WebSockets and real clients."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from realtime.settings import LimitSettings, ServerSettings
from realtime.testing.host import EchoPeer, RecordingPeer, SimpleHost
from realtime.testing.server import running

LIMITS = LimitSettings(
    max_frame_bytes=100_000, hello_timeout_s=0.5, close_timeout_s=0.5
)
NAMES = ("realtime.v1.json", "realtime.v1.msgpack")


def a_host(*, server: ServerSettings | None = None) -> SimpleHost:
    """Return a host that echoes and wants no sub-protocol."""
    return SimpleHost(limits=LIMITS, server=server or ServerSettings())


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Serve echoes on uvloop."""
    with running(a_host()) as port:
        yield port


def dial(port: int, path: str = "/v1/ws", **options: Any) -> ClientConnection:
    """Connect, with no keepalive of the client's own."""
    url = f"ws://127.0.0.1:{port}{path}"
    client: ClientConnection = connect(url, ping_interval=None, **options)
    return client


class Raw:
    """A TCP connection with no manners."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=5)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def upgrade(self) -> Raw:
        """Shake hands as a client does."""
        self.send(
            b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\n\r\n"
        )
        assert self.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        return self

    def send(self, data: bytes) -> None:
        """Send *data*."""
        self.sock.sendall(data)

    def until(self, mark: bytes) -> bytes:
        """Read until *mark* has come."""
        data = b""
        while mark not in data:
            more = self.sock.recv(65536)
            assert more, f"the connection ended after {data!r}"
            data += more
        return data

    def rest(self) -> bytes:
        """Read until the server closes; a reset connection is a failure."""
        data = b""
        while more := self.sock.recv(65536):
            data += more
        return data

    def rest_or_reset(self) -> bytes:
        """Read until the server closes or cuts the connection."""
        data = b""
        with suppress(ConnectionError):
            while more := self.sock.recv(65536):
                data += more
        return data


# -- one port --------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_one_port_serves_http_and_websocket(loop: str) -> None:
    """A request and a WebSocket at the same address both get their answers."""
    with running(a_host(), loop=loop) as port, dial(port) as client:
        client.send("text")
        client.send(b"binary")
        assert [client.recv(), client.recv()] == ["text", b"binary"]
        response = httpx.get(f"http://127.0.0.1:{port}/hello")
        assert response.text == "hello over HTTP"


def test_a_websocket_may_follow_requests_on_the_same_connection(port: int) -> None:
    """Proxies that keep connections alive ask for the upgrade on a used one."""
    with Raw(port) as raw:
        raw.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.until(b"hello over HTTP")
        raw.upgrade()
        raw.send(b"\x81\x82\x00\x00\x00\x00hi")
        assert raw.until(b"hi") == b"\x81\x02hi"


def test_requests_may_be_cut_anywhere(port: int) -> None:
    """The front door waits until it has seen enough."""
    for first in (b"G", b"GET /v1/w", b"GET /hell", b"GET /hello HTTP/1.1\r\nHo"):
        with Raw(port) as raw:
            raw.send(first)
            request = b"GET /v1/ws" if b"v1" in first else b"GET /hello"
            request += b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            raw.send(request[len(first) :])
            answer = raw.rest()
            assert answer.startswith(
                b"HTTP/1.1 426 " if b"v1" in first else b"HTTP/1.1 200"
            )


def test_other_paths_that_begin_alike_are_http(port: int) -> None:
    """``/v1/wsx`` is a path of the application."""
    assert httpx.get(f"http://127.0.0.1:{port}/v1/wsx").status_code == 404


def test_a_browser_that_opens_the_path_is_told_what_it_is(port: int) -> None:
    """A plain GET gets 426 and a sentence."""
    response = httpx.get(f"http://127.0.0.1:{port}/v1/ws?x=1")

    assert response.status_code == 426
    assert "WebSocket" in response.text


def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    """After the timeout, whether nothing came or half a request."""
    with Raw(port) as silent, Raw(port) as halting:
        halting.send(b"GET /v1/ws HTTP/1.1\r\n")
        for raw in (silent, halting):
            with suppress(ConnectionResetError):  # cut, since nobody is there
                assert raw.rest() == b""


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_over_tls_the_same_port_serves_both(tmp_path: Path, loop: str) -> None:
    """Certificate and key files are enough for https and wss."""
    certificate, key = a_certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(certificate))
    options = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
    with running(a_host(), loop=loop, **options) as port:
        response = httpx.get(f"https://127.0.0.1:{port}/hello", verify=context)
        assert response.text == "hello over HTTP"
        url = f"wss://127.0.0.1:{port}/v1/ws"
        assert asyncio.run(_echoed(url, context)) == ("x" * 90_000, 1000)


async def _echoed(url: str, context: ssl.SSLContext) -> tuple[str | bytes, int | None]:
    """
    Return what comes back of a long message, and the code of the close.

    Not by the threaded client, whose two threads on one TLS socket may hang.
    """
    async with connect_async(url, ssl=context, ping_interval=None) as client:
        await client.send("x" * 90_000)
        answer = await client.recv()
    return answer, client.close_code


def a_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate for loopback; return its and its key's files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


# -- strangers over HTTP ---------------------------------------------------------------

HALF = b"GET /hello HTTP/1.1\r\nHost: x\r\nX: "


@pytest.mark.parametrize("piece", [b"x" * 4000, b"x" * 4000 + b"\r\nX: "])
def test_a_head_that_never_ends_is_refused(port: int, piece: bytes) -> None:
    """One endless header or endless headers: what is kept of them is bounded."""
    with Raw(port) as client:
        client.send(HALF)
        with suppress(ConnectionError):
            for _ in range(1000):
                client.send(piece)
        assert client.rest_or_reset().startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        pytest.param(b"0\r\nX: ", b"x" * 4_000, id="an endless trailer"),
        pytest.param(b"0\r\n", b"X: y\r\n" * 500, id="endless trailers"),
        pytest.param(b"5;", b"x" * 4_000, id="an endless extension of a chunk"),
    ],
)
def test_what_follows_a_body_is_bounded(port: int, begun: bytes, piece: bytes) -> None:
    """Bytes that lead to nothing end the connection."""
    head = b"POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Raw(port) as client, suppress(ConnectionError):
        client.send(head + begun)
        for _ in range(5_000):
            client.send(piece)
        pytest.fail("the server still reads")


def test_a_second_request_that_is_no_http_is_refused(port: int) -> None:
    """With an answer, as the first one would be."""
    with Raw(port) as client:
        client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        client.until(b"hello over HTTP")
        client.send(b"nonsense\r\n\r\n")
        assert client.rest_or_reset().startswith(b"HTTP/1.1 400 ")


def test_a_body_that_is_no_http_is_refused(port: int) -> None:
    """Also when the request has been handed on before the mistake came."""
    head = b"POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Raw(port) as client:
        client.send(head + b"zz\r\n")
        assert client.rest_or_reset().startswith(b"HTTP/1.1 4")


def test_requests_in_advance_are_bounded(port: int) -> None:
    """A few may wait for the answers of those before them; thousands may not."""
    request = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
    with Raw(port) as client:
        client.send(request * 10)
        data = b""
        while data.count(b"hello over HTTP") < 10:
            data += client.sock.recv(65_536)
    with Raw(port) as client:
        with suppress(ConnectionError):
            for _ in range(100):
                client.send(request * 1_000)
        assert client.rest_or_reset().count(b"hello over HTTP") < 1_000


@pytest.mark.parametrize("before", [b"", b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"])
@pytest.mark.parametrize("begun", [HALF, b"\r\n"])
def test_a_head_that_does_not_come_is_not_waited_for(
    port: int, before: bytes, begun: bytes
) -> None:
    """Neither at the beginning nor after a first request."""
    with Raw(port) as client:
        if before:
            client.send(before)
            client.until(b"hello over HTTP")
        client.send(begun)
        assert client.rest_or_reset() == b""


def test_a_large_head_and_a_large_body_are_let_through(port: int) -> None:
    """Also when the beginning of the next request comes together with a body."""
    head = b"POST /hello HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 30_000
    body = b"\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
    with Raw(port) as client:
        for _ in range(3):
            client.send(head)
            client.send(body + b"GET /hello HTTP/1.1\r\n")
            client.until(b"Method Not Allowed")
            client.send(b"Host: x\r\n\r\n")
            client.until(b"hello over HTTP")


# -- who may connect -------------------------------------------------------------------


def test_a_page_of_the_same_host_may_connect_and_no_other(port: int) -> None:
    """Without allowed origins, a browser's Origin must be the Host."""
    own = Origin(f"http://127.0.0.1:{port}")
    with dial(port, origin=own):
        pass
    with pytest.raises(InvalidStatus) as failure:
        dial(port, origin=Origin("https://evil.example"))

    assert failure.value.response.status_code == 403
    assert b"server.allowed_origins" in failure.value.response.body


def test_the_client_chooses_among_the_sub_protocols() -> None:
    """The first it offers that the server knows; offering none is an error."""
    host = a_host()
    host.subprotocols = NAMES
    with running(host) as port:
        offered = [Subprotocol(name) for name in ("unknown", *reversed(NAMES))]
        with dial(port, subprotocols=offered) as client:
            assert client.subprotocol == "realtime.v1.msgpack"
        with pytest.raises(InvalidStatus) as failure:
            dial(port)

    assert failure.value.response.status_code == 400
    assert all(name.encode() in failure.value.response.body for name in NAMES)


def test_a_closing_server_answers_503_and_keeps_the_connected() -> None:
    """The refused are told when to retry; others do not notice."""
    host = a_host()
    with running(host) as port, dial(port) as first:
        host.admission.closing = True
        with pytest.raises(InvalidStatus) as failure:
            dial(port)
        first.send("still here")
        assert first.recv() == "still here"

    response = failure.value.response
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0


# -- bad frames ------------------------------------------------------------------------


def test_a_message_of_the_largest_size_comes_back(port: int) -> None:
    """The bound itself is allowed."""
    with dial(port) as client:
        client.send(b"x" * LIMITS.max_frame_bytes)
        assert client.recv() == b"x" * LIMITS.max_frame_bytes


def test_a_message_that_is_too_large_is_answered_with_1009(port: int) -> None:
    """The client reads the close code even while it is still sending."""
    with dial(port) as client:
        with suppress(ConnectionClosed):
            client.send(b"x" * 5_000_000)
        with pytest.raises(ConnectionClosed):
            client.recv()

    assert client.close_code == 1009


def test_fragments_come_back_as_one_message(port: int) -> None:
    """Also with a ping between them."""
    with dial(port) as client:
        client.send(["one ", "two ", "three"])
        assert client.ping().wait(5)
        assert client.recv() == "one two three"


@pytest.mark.parametrize(
    "frame, code",
    [
        (b"\x81\x81\x00\x00\x00\x00\xff", 1007),
        (b"\x83\x80\x00\x00\x00\x00", 1002),
        (b"\x81\x00", 1002),
        (b"\xc1\x80\x00\x00\x00\x00", 1002),
        (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 1009),
    ],
)
def test_a_broken_rule_gets_its_close_code(port: int, frame: bytes, code: int) -> None:
    """The echo of the good message, then the close frame, then the end."""
    with Raw(port) as raw:
        raw.upgrade()
        raw.send(b"\x82\x82\x00\x00\x00\x00hi" + frame)
        answer = raw.until(code.to_bytes(2, "big"))
        raw.sock.shutdown(socket.SHUT_WR)

        assert answer.startswith(b"\x82\x02hi\x88")
        raw.rest()


# -- the end ---------------------------------------------------------------------------


def test_stopping_the_server_says_goodbye() -> None:
    """Clients get 1001, and the server stops without waiting for its timeouts."""
    with ExitStack() as clients:
        with running(a_host()) as port:
            opened = [clients.enter_context(dial(port)) for _ in range(3)]
        for client in opened:
            with pytest.raises(ConnectionClosed):
                client.recv()
            assert client.close_code == 1001


def test_a_client_that_vanishes_is_told_to_its_peer_once() -> None:
    """A reset connection is 1006."""
    gone = threading.Event()

    class Peer(RecordingPeer):
        def closed(self, code: int, reason: str) -> None:
            super().closed(code, reason)
            gone.set()

    peer = Peer()
    host = SimpleHost(lambda subprotocol, remote: peer, limits=LIMITS)
    with running(host) as port:
        with Raw(port) as raw:
            raw.upgrade()
            linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
            raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        assert gone.wait(5)

    assert peer.closes == [(1006, "")]


def test_a_reader_that_never_reads_is_not_read_and_grows_nothing() -> None:
    """The echo pauses reading at the high water mark: the client's sends block."""
    peers: list[EchoPeer] = []

    def make(subprotocol: str, remote: str) -> EchoPeer:
        peers.append(EchoPeer())
        return peers[-1]

    with running(SimpleHost(make, limits=LIMITS)) as port, Raw(port) as raw:
        raw.upgrade()
        raw.sock.settimeout(0.5)
        frame = b"\x82\xfe\x80\x00\x00\x00\x00\x00" + b"x" * 0x8000
        sent = 0
        with suppress(TimeoutError):
            while sent < 500_000_000:
                raw.send(frame)
                sent += len(frame)
        held = peers[0].socket.buffered + peers[0].outbox.waiting_bytes
        raw.sock.settimeout(5)
        assert held < 1_000_000
        assert sent < 500_000_000
        for _ in range(100):
            raw.until(b"x" * 0x8000)
