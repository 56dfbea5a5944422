"""
The outgoing bytes of one connection, bounded in bytes.

While the transport has room, every frame goes straight through to it. While it has not
(it holds more than its high water mark), frames wait in a backlog, which is made for
them and goes with them: an outbox whose transport has room holds nothing. Past the
bound the outbox gives up what waits and says so once; its owner then closes the
connection with a code that tells the client to come back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from realtime.engine.backlog import Backlog
from realtime.engine.socket import Socket
from realtime.engine.subscriber import (
    Delivery,
    Droppable,
    FlowTally,
    Part,
    Subscriber,
)
from realtime.types import ConnectionId
from realtime.wire.frames import FrameKey

BATCH_BYTES = 64 * 1024  # joined into one write when the transport has room again


class Turn(Protocol):
    """What leaves at the end of the loop's turn, for all outboxes of a node."""

    @property
    def entries(self) -> Sequence[object]:
        """What leaves with it so far."""

    def answer(self, subscriber: Subscriber, frame: bytes) -> None:
        """Let an answer leave with it, in its place."""

    def flush(self) -> None:
        """Let it leave now."""


class Outbox:
    """
    What one socket is to send.

    *on_overflow* is called in the middle of a fan-out (trap: the hub is iterating its
    subscribers), so it may close the socket but must not change the hub. *frame_key*
    and *id* are only carried, for the hub. *tally* is shared by all outboxes of a node,
    as is *turn*, where answers stand behind publications that leave at its end.
    """

    __slots__ = (
        "_max_bytes",
        "_on_overflow",
        "_paused",
        "_socket",
        "_tally",
        "_turn",
        "_waiting",
        "frame_key",
        "id",
        "overflowed",
    )

    def __init__(
        self,
        socket: Socket,
        max_bytes: int,
        frame_key: FrameKey,
        on_overflow: Callable[[], None],
        id: ConnectionId | None = None,
        tally: FlowTally | None = None,
        turn: Turn | None = None,
    ) -> None:
        self.frame_key = frame_key
        self.id = id
        self.overflowed = False
        self._socket = socket
        self._max_bytes = max_bytes
        self._on_overflow = on_overflow
        self._tally = tally or FlowTally()
        self._turn = turn
        self._paused = False
        # None while nothing waits: most connections, always.
        self._waiting: Backlog | None = None

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait here; what the transport holds is not among them."""
        return self._waiting.bytes if self._waiting is not None else 0

    def room(self) -> int:
        """
        Bytes that one answer may have: half of the bound is left for what follows it.
        """
        return self._max_bytes // 2 - self.waiting_bytes

    def push(self, frame: bytes) -> None:
        """Send *frame*, after everything that waits."""
        # Hot: once per subscriber and publication (benchmarks/fanout.py).
        if not self._paused:
            self._socket.send(frame)
        elif not self.overflowed and not self._backlog.add(frame):
            self._overflow()

    def reply(self, frame: bytes) -> None:
        """Send an answer, which keeps its place among publications."""
        if self._turn is not None and self._turn.entries:
            self._turn.answer(self, frame)
        else:
            self.push(frame)

    def flush(self) -> None:
        """Send what leaves at the end of this turn now: the socket is to be closed."""
        if self._turn is not None:
            self._turn.flush()

    def push_latest(self, number: int, frame: bytes) -> None:
        """
        Send the value of live channel *number*.

        A value of the same channel that still waits is replaced where it stands, so
        that a slow reader gets round to every channel.
        """
        if not self._paused:
            self._socket.send(frame)
        elif not self.overflowed and not self._backlog.add_latest(number, frame):
            self._overflow()

    def push_droppable(self, drop: Droppable, frame: bytes) -> None:
        """Send what may be dropped; if it is, a gap follows when there is room."""
        if not self._paused:
            self._socket.send(frame)
        elif not self.overflowed:
            self._backlog.add_droppable(drop, frame)

    def push_merged(self, parts: Sequence[Part], joined: bytes) -> None:
        """Send what may give way to newer publications while it waits."""
        if not self._paused:
            self._socket.send(joined)
            return
        for part in parts:
            if self.overflowed:
                return
            if not self._backlog.add_part(part):
                self._overflow()

    def push_joined(self, parts: Sequence[Delivery], joined: bytes) -> None:
        """Send deliveries in one write; those that must wait do so in their manner."""
        if not self._paused:
            self._socket.send(joined)
            return
        for part in parts:
            part.to(self)

    def forget(self, number: int) -> None:
        """
        Drop what waits of channel *number*: it was unsubscribed.

        Without this, the first value after subscribing again would take the old
        value's place, in front of the reply.
        """
        if self._waiting is not None:
            self._waiting.forget(number)

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
            self._waiting.tell_gaps(self.frame_key)
            self._socket.send(self._waiting.take(BATCH_BYTES))
        if not self._waiting:
            self._waiting = None

    def close(self) -> None:
        """
        Keep nothing for a socket that is gone, and let go of the owner.

        The owner and its outbox hold each other: without this, every connection that
        has ended would stay until the next full garbage collection.
        """
        self._waiting = None
        self._on_overflow = _ignore

    @property
    def _backlog(self) -> Backlog:
        if self._waiting is None:
            self._waiting = Backlog(self._max_bytes, self._tally)
        return self._waiting

    def _overflow(self) -> None:
        self.overflowed = True
        self._waiting = None
        self._on_overflow()


def _ignore() -> None:
    """Nobody is left to be told."""
