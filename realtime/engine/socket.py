"""
The seam between a socket and what speaks over it: two Protocols and nothing else.

The edge implements ``Socket`` (it knows RFC 6455 and the transport), the engine
implements ``Peer`` (it knows sessions). Neither imports the other. All calls happen on
the event loop and none of them blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Socket(Protocol):
    """
    One open WebSocket, as its peer sees it.

    Everything may be called at any time, also after the end: then it does nothing.
    """

    @property
    def remote(self) -> str:
        """The client's address, already resolved through trusted proxies."""

    @property
    def subprotocol(self) -> str:
        """The sub-protocol agreed in the handshake; empty when none was."""

    @property
    def last_received(self) -> float:
        """
        When bytes last came in: monotonic seconds, coarse (the wheel's time).

        While reading is paused this is the present, for silence cannot be told then.
        """

    @property
    def buffered(self) -> int:
        """Bytes written that the kernel has not taken yet."""

    def send(self, frame: bytes, /) -> None:
        """
        Hand one or more complete server frames to the transport, as they are.

        Writes even while paused: bounding what waits is the outbox's work. Nothing
        is sent once the closing handshake has begun.
        """

    def ping(self) -> None:
        """Send an empty ping; the answer shows as ``last_received``."""

    def close(self, code: int, reason: str) -> None:
        """
        Begin the closing handshake; cut the connection if it is not over in time.

        *code* is 1000 to 4999 and *reason* at most 123 bytes of UTF-8 (the rest is
        cut off). ``Peer.closed`` follows when the connection is gone.
        """

    def abort(self) -> None:
        """Cut the connection now, without a closing handshake."""

    def pause_reading(self) -> None:
        """Take no more bytes; messages that were read already may still arrive."""

    def resume_reading(self) -> None:
        """Take bytes from the client again."""


class Peer(Protocol):
    """
    What is told of one WebSocket's life, in this order.

    ``opened``, then any number of ``received``, ``paused`` and ``resumed``, then
    ``closed`` exactly once, whatever happened. An exception from any of them closes
    the connection as *internal* and is logged; it never reaches another connection.
    """

    def opened(self, socket: Socket) -> None:
        """The handshake is done; *socket* may be used from now on."""

    def received(self, data: bytes, binary: bool) -> None:
        """One complete message came in. Text is valid UTF-8."""

    def paused(self) -> None:
        """The transport holds more than its high water mark: stop sending."""

    def resumed(self) -> None:
        """The transport has drained to its low water mark: send again."""

    def closed(self, code: int, reason: str) -> None:
        """
        The connection is gone.

        *code* is what the client's close frame said, or ours when we began; 1005 for
        a close frame without code, 1006 when the TCP connection was lost without
        a closing handshake.
        """


PeerFactory = Callable[[str, str], Peer]
"""Make the peer of a new connection, given its sub-protocol and its remote address."""
