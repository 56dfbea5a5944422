"""A WebSocket on a recording transport, with the client's side of it."""

from __future__ import annotations

from types import SimpleNamespace

from websockets.frames import Close, Frame
from websockets.frames import Opcode as AnyOpcode
from websockets.protocol import OPEN, Protocol, Side

from realtime.edges.websocket import WebSocketTransport
from realtime.settings import LimitSettings, ServerSettings
from realtime.testing.clock import ManualClock
from realtime.testing.host import RecordingPeer, SimpleHost
from realtime.testing.transport import RecordingTransport

REQUEST = (
    b"GET /v1/ws HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
LIMITS = LimitSettings(close_timeout_s=5.0, hello_timeout_s=10.0, max_frame_bytes=1000)


class Line:
    """A WebSocket, its transport, its peer and the clock, with the client's side."""

    def __init__(
        self,
        *,
        tls: bool = False,
        server: ServerSettings | None = None,
        limits: LimitSettings = LIMITS,
    ) -> None:
        self.clock = ManualClock()
        self.peer = RecordingPeer()
        self.opened_for: list[tuple[str, str]] = []
        self.host = SimpleHost(
            self._make,
            limits=limits,
            server=server or ServerSettings(),
            clock=self.clock,
        )
        self.state = SimpleNamespace(connections=set())
        self.socket = WebSocketTransport(None, self.state, {"node": self.host})
        self.transport = RecordingTransport(
            self.socket, peername=("192.0.2.7", 1234), tls=tls
        )
        self.socket.connection_made(self.transport)

    def _make(self, subprotocol: str, remote: str) -> RecordingPeer:
        self.opened_for.append((subprotocol, remote))
        return self.peer

    def open(self) -> Line:
        """Shake hands and forget the response."""
        self.transport.feed(REQUEST)
        assert self.transport.take().startswith(b"HTTP/1.1 101 ")
        return self

    def send(self, opcode: int, payload: bytes = b"", fin: bool = True) -> None:
        """Let a frame of the client arrive."""
        frame = Frame(AnyOpcode(opcode), payload, fin)
        self.transport.feed(frame.serialize(mask=True))

    def frames(self) -> list[tuple[int, bytes]]:
        """Return the frames that have reached the client since the last call."""
        client = Protocol(Side.CLIENT, state=OPEN)
        client.receive_data(self.transport.take())
        frames = client.events_received()
        assert client.parser_exc is None
        return [
            (int(frame.opcode), bytes(frame.data))
            for frame in frames
            if isinstance(frame, Frame)
        ]


def a_line() -> Line:
    """Return an open WebSocket."""
    return Line().open()


def close_payload(code: int, reason: str = "") -> bytes:
    """Return what a close frame carries."""
    return Close(code, reason).serialize()
