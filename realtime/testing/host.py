"""
A node of one's own for tests of sockets: it makes the peers it is told to, and no more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from realtime.clock import Clock, SystemClock
from realtime.engine.admission import Admission
from realtime.engine.metrics import Metrics
from realtime.engine.outbox import Outbox
from realtime.engine.socket import Peer, Socket
from realtime.engine.wheel import Wheel
from realtime.settings import DrainSettings, LimitSettings, ServerSettings
from realtime.wire.frames import FrameKey, Opcode, deflate_frame, server_frame


class RecordingPeer:
    """Keeps what it is told; ``calls`` has the names in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.messages: list[tuple[bytes, bool]] = []
        self.closes: list[tuple[int, str]] = []
        self.socket: Socket | None = None

    def opened(self, socket: Socket) -> None:
        """Keep the socket."""
        self.calls.append("opened")
        self.socket = socket

    def received(self, data: bytes, binary: bool) -> None:
        """Keep the message."""
        self.calls.append("received")
        self.messages.append((data, binary))

    def paused(self) -> None:
        """Note it."""
        self.calls.append("paused")

    def resumed(self) -> None:
        """Note it."""
        self.calls.append("resumed")

    def closed(self, code: int, reason: str) -> None:
        """Keep code and reason."""
        self.calls.append("closed")
        self.closes.append((code, reason))


class EchoPeer:
    """
    Sends every message back, through an outbox as a real connection does.

    A client that sends and does not read is not read any more, so that nothing grows.
    With a window, all messages are compressed, be they smaller by that or not.
    """

    outbox: Outbox
    socket: Socket

    def __init__(self, window_bits: int = 0) -> None:
        self._window_bits = window_bits

    def opened(self, socket: Socket) -> None:
        """Make the outbox."""
        self.socket = socket
        self.outbox = Outbox(socket, 64 * 1024 * 1024, FrameKey.JSON, socket.abort)

    def received(self, data: bytes, binary: bool) -> None:
        """Send it back."""
        opcode = Opcode.BINARY if binary else Opcode.TEXT
        frame = server_frame(opcode, data)
        window_bits = self._window_bits
        self.outbox.reply(deflate_frame(frame, window_bits) if window_bits else frame)

    def paused(self) -> None:
        """Stop reading too."""
        self.outbox.paused()
        self.socket.pause_reading()

    def resumed(self) -> None:
        """Go on."""
        self.outbox.resumed()
        self.socket.resume_reading()

    def closed(self, code: int, reason: str) -> None:
        """Do nothing: there is nothing to let go of."""


@dataclass(slots=True)
class SimpleHost:
    """
    An ``edges.host.SocketHost``. *make* is given sub-protocol and remote address;
    without it, there is an echo.
    """

    make: Callable[[str, str], Peer] | None = None
    subprotocols: tuple[str, ...] = ("",)
    limits: LimitSettings = field(default_factory=LimitSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    drain: DrainSettings = field(default_factory=DrainSettings)
    clock: Clock = field(default_factory=SystemClock)
    metrics: Metrics = field(default_factory=Metrics)
    wheel: Wheel = field(init=False)
    admission: Admission = field(init=False)

    def __post_init__(self) -> None:
        self.wheel = Wheel(self.clock)
        self.admission = Admission(self.limits, self.drain, self.clock, self.metrics)

    def open_peer(self, subprotocol: str, remote: str, window_bits: int = 0) -> Peer:
        """Make a peer."""
        if self.make is None:
            return EchoPeer(window_bits)
        return self.make(subprotocol, remote)
