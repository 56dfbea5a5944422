"""What the hub writes to, and what it says of a frame that may have to give way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from realtime.types import Channel, ConnectionId, Position
from realtime.wire.frames import FrameKey, PreparedPush


@dataclass(slots=True)
class FlowTally:
    """
    What flows, outboxes and compression of one node have kept from being sent, since
    its start.

    All are publications times subscribers, but for ``gaps_told``, which are pushes, and
    ``deflate_saved_bytes``.
    """

    filtered: int = 0  # a subscriber's filter did not match
    conflated: int = 0  # a newer one came within the interval
    coalesced: int = 0  # a newer one came while the reader was too slow
    dropped: int = 0  # the reader was too slow
    gaps_told: int = 0  # to readers of whom something had been dropped
    deflated: int = 0  # handed out compressed
    deflate_saved_bytes: int = 0  # by which those are shorter than the plain ones

    def hand_out(self, push: PreparedPush, key: FrameKey, count: int) -> None:
        """Count *push* as handed to *count* subscribers by the compressing *key*."""
        saved = len(push.frame(key.plain)) - len(push.frame(key))
        if saved:  # else it went as it is
            self.deflated += count
            self.deflate_saved_bytes += saved * count


@dataclass(frozen=True, slots=True, eq=False)
class Droppable:
    """
    A write that a slow reader may lose, if it is told so by a gap.

    *count* publications are in it. *position* is where the reader stands after it; None
    in a channel without history, and of who comes and goes. Its identity tells it from
    others.
    """

    channel: Channel
    number: int
    count: int
    position: Position | None


MergeKey = tuple[int, str | None, int]
"""Channel number, value of the tag, and a number that changes after every gap."""


class Part(NamedTuple):
    """
    One frame of a write whose frames may give way to newer ones.

    *key* tells which one it may take the place of; None: of no other. With *moves* it
    takes its place at the end instead: offsets must not run ahead of what waits.
    """

    frame: bytes
    key: MergeKey | None
    moves: bool


class Subscriber(Protocol):
    """
    Where frames of a channel go; the outbox of a connection, usually.

    None of the methods may change the hub: a subscriber that overflows says so and is
    removed after the loop. A frame may be several, joined.
    """

    @property
    def id(self) -> ConnectionId | None:
        """The connection, which may be excluded from what it publishes itself."""

    @property
    def frame_key(self) -> FrameKey:
        """What the bytes for this subscriber depend on; never changes."""

    def push(self, frame: bytes) -> None:
        """Send publications."""

    def push_latest(self, number: int, frame: bytes) -> None:
        """
        Send a live channel's value; a value of channel *number* still waiting may go.
        """

    def push_droppable(self, drop: Droppable, frame: bytes) -> None:
        """Send publications; when the reader is slow, tell a gap in their place."""

    def push_merged(self, parts: Sequence[Part], joined: bytes) -> None:
        """
        Send publications, which are *joined*; those that must wait do so part by part.
        """

    def push_joined(self, parts: Sequence[Delivery], joined: bytes) -> None:
        """Send deliveries, which are *joined*; if they must wait, each by itself."""


class Delivery(Protocol):
    """Bytes that are the same for everyone who gets them. Shared, so never changed."""

    @property
    def frame(self) -> bytes:
        """One frame, or several joined."""

    def to(self, subscriber: Subscriber) -> None:
        """Hand them over; they wait in the manner of their kind if they must."""
