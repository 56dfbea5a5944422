"""
The server's lower floors alone: sockets, outboxes and the hub, without sessions.

A client that says ``join`` is subscribed. ``WAY TEXT`` publishes TEXT, by one of the
WAYS: through the socket's ``send`` alone, the hub, or the hub for live channels.
"""

from __future__ import annotations

from multiprocessing.connection import Connection

from realtime.clock import call_soon
from realtime.engine.hub import Hub
from realtime.engine.outbox import Outbox
from realtime.engine.socket import Socket
from realtime.settings import LimitSettings
from realtime.testing.host import RecordingPeer, SimpleHost
from realtime.testing.server import run_until_stopped
from realtime.types import Channel, JSONText, Publication
from realtime.wire.frames import FrameKey, Opcode, PreparedPush, server_frame

CHANNEL = Channel("bench:layers")
WAYS = ("socket", "hub", "hub_latest")
OUTBOX_BYTES = 1 << 20


class _Peer(RecordingPeer):
    """Joins and publishes as it is told."""

    def __init__(self, hub: Hub, sockets: list[Socket]) -> None:
        super().__init__()
        self._hub = hub
        self._sockets = sockets

    def received(self, data: bytes, binary: bool) -> None:
        """Obey."""
        assert self.socket is not None
        if data == b"join":
            outbox = Outbox(self.socket, OUTBOX_BYTES, FrameKey.JSON, self._overflowed)
            self._hub.join(CHANNEL, outbox)
            self._sockets.append(self.socket)
            self.socket.send(server_frame(Opcode.TEXT, b"joined"))
            return
        way, _, text = data.partition(b" ")
        self._publish(way, JSONText(text))

    def _publish(self, way: bytes, data: JSONText) -> None:
        if way == b"hub":
            self._hub.broadcast(Publication(CHANNEL, data))
        elif way == b"hub_latest":
            self._hub.broadcast_latest(CHANNEL, data)
        else:
            frame = PreparedPush(1, Publication(CHANNEL, data)).frame(FrameKey.JSON)
            for socket in self._sockets:
                socket.send(frame)

    def _overflowed(self) -> None:
        raise RuntimeError("the reader is too slow for this benchmark")


def serve_layers(pipe: Connection) -> None:
    """Serve in a process of its own; tells its port first."""
    hub, sockets = Hub(soon=call_soon), list[Socket]()
    host = SimpleHost(
        lambda subprotocol, remote: _Peer(hub, sockets),
        limits=LimitSettings(hello_timeout_s=60, connect_rate=0),
    )
    run_until_stopped(host, pipe.send)
