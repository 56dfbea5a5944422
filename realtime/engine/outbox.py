"""
The outgoing bytes of one connection, bounded in bytes.

While the transport has room, every frame goes straight through to it. While it has not,
frames wait here: of a live channel only the latest value, of everything else all, in
order. Past the bound the outbox gives up what waits and says so once; its owner then
closes the connection with a code that tells the client to come back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from realtime.engine.socket import Socket
from realtime.wire.frames import FrameKey

BATCH_BYTES = 64 * 1024  # joined into one write when the transport has room again


class Outbox:
    """
    What one socket is to send.

    *on_overflow* is called in the middle of a fan-out (trap: the hub is iterating its
    subscribers), so it may close the socket but must not change the hub. *frame_key* is
    only carried, for the hub.
    """

    __slots__ = (
        "_bytes",
        "_last_key",
        "_max_bytes",
        "_on_overflow",
        "_paused",
        "_socket",
        "_waiting",
        "coalesced",
        "frame_key",
        "overflowed",
    )

    def __init__(
        self,
        socket: Socket,
        max_bytes: int,
        frame_key: FrameKey,
        on_overflow: Callable[[], None],
    ) -> None:
        self.frame_key = frame_key
        self.overflowed = False
        self.coalesced = 0  # values of live channels that gave way to newer ones
        self._socket = socket
        self._max_bytes = max_bytes
        self._on_overflow = on_overflow
        self._paused = False
        # Keys are channel numbers for the values of live channels, and -1, -2, -3 ...
        # for all other frames. None while nothing waits: most connections, always.
        self._waiting: OrderedDict[int, bytes] | None = None
        self._last_key = 0
        self._bytes = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait here; what the transport holds is not among them."""
        return self._bytes

    def push(self, frame: bytes) -> None:
        """Send *frame*, after everything that waits."""
        # Hot: once per subscriber and publication (benchmarks/fanout.py).
        if not self._paused:
            self._socket.send(frame)
        else:
            self._last_key -= 1
            self._hold(self._last_key, frame)

    reply = push
    """Answers keep their place among publications."""

    def push_latest(self, number: int, frame: bytes) -> None:
        """
        Send the value of live channel *number*.

        A value of the same channel that still waits is replaced where it stands, so
        that a slow reader gets round to every channel.
        """
        if not self._paused:
            self._socket.send(frame)
        else:
            self._hold(number, frame)

    def forget(self, number: int) -> None:
        """
        Drop what waits of live channel *number*: it was unsubscribed.

        Without this, the first value after subscribing again would take the old
        value's place, in front of the reply.
        """
        if self._waiting is not None:
            frame = self._waiting.pop(number, None)
            if frame is not None:
                self._bytes -= len(frame)

    def paused(self) -> None:
        """Let frames wait from now on."""
        self._paused = True

    def resumed(self) -> None:
        """Send what waits, until the transport is full again or nothing is left."""
        if self.overflowed:
            return
        self._paused = False
        # A full transport says so from within `send`, by way of `paused`.
        while self._waiting and not self._paused:
            self._socket.send(self._take(self._waiting))
        if not self._waiting:
            self._waiting = None

    def close(self) -> None:
        """
        Keep nothing for a socket that is gone, and let go of the owner.

        The owner and its outbox hold each other: without this, every connection that
        has ended would stay until the next full garbage collection.
        """
        self._waiting = None
        self._bytes = 0
        self._on_overflow = _ignore

    def _hold(self, key: int, frame: bytes) -> None:
        if self.overflowed:
            return
        if self._waiting is None:
            self._waiting = OrderedDict()
        replaced = self._waiting.get(key)
        if replaced is not None:
            self._bytes -= len(replaced)
            self.coalesced += 1
        self._bytes += len(frame)
        self._waiting[key] = frame
        if self._bytes > self._max_bytes:
            self.overflowed = True
            self._waiting = None
            self._bytes = 0
            self._on_overflow()

    def _take(self, waiting: OrderedDict[int, bytes]) -> bytes:
        """Remove the first frames, about one write's worth, and join them."""
        frames: list[bytes] = []
        size = 0
        while waiting and size < BATCH_BYTES:
            frame = waiting.popitem(last=False)[1]
            frames.append(frame)
            size += len(frame)
        self._bytes -= size
        return b"".join(frames)


def _ignore() -> None:
    """Nobody is left to be told."""
