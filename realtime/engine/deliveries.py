"""
What is handed to every subscriber of a group: one write, and how it may give way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import structlog

from realtime import native
from realtime.engine.outbox import Outbox
from realtime.engine.subscriber import Delivery, Droppable, Part, Subscriber

log = structlog.get_logger(__name__)

SendAll = Callable[
    [tuple[Subscriber, ...], bytes, type[Outbox]],
    "list[tuple[Subscriber, bytes]] | None",
]

send_all = cast("SendAll | None", native.find("fanout", "send_all"))
"""
Sends a frame to all outboxes that hold nothing back; returns the others, each with what
it still has to get. None where it was not built; then each is handed its frame in turn.

Without it, 1.6 of 11.5 us of a frame were Python's and uvloop's, most of them waiting
for memory that the kernel's work on the frame before had driven out of the caches; with
it, 0.6 (benchmarks/fanout.py, 2026-11).
"""


def hand(delivery: Delivery, subscribers: tuple[Subscriber, ...]) -> None:
    """Hand *delivery* to each; a defect that one brings to light is only its own."""
    frame = delivery.frame
    if send_all is None:
        _hand_each(delivery, subscribers)
        return
    # Hot: once per sixty-four subscribers (benchmarks/fanout.py).
    left = send_all(subscribers, frame, Outbox)
    if left is None:
        return
    # First what the kernel has the beginning of: whoever is given up on among the
    # others lets everybody's next frames leave.
    for one, rest in left:
        if rest is not frame:
            one.push(rest)
    _hand_each(delivery, [one for one, rest in left if rest is frame])


def _hand_each(delivery: Delivery, subscribers: Sequence[Subscriber]) -> None:
    # Hot without the native part: once per subscriber and frame.
    each = iter(subscribers)
    while True:
        try:
            if type(delivery) is Plain:
                frame = delivery.frame
                for subscriber in each:
                    subscriber.push(frame)
            else:
                for subscriber in each:
                    delivery.to(subscriber)
        except Exception:  # raised on, it would be the others' problem
            log.exception("delivery_failed")
        else:
            return


class Plain:
    """Frames that wait in order; a reader who has no room for them is lost."""

    __slots__ = ("frame",)

    def __init__(self, frame: bytes) -> None:
        self.frame = frame

    def to(self, subscriber: Subscriber) -> None:
        """Hand them over."""
        subscriber.push(self.frame)


class Value:
    """A live channel's value."""

    __slots__ = ("frame", "number")

    def __init__(self, number: int, frame: bytes) -> None:
        self.number = number
        self.frame = frame

    def to(self, subscriber: Subscriber) -> None:
        """Hand it over."""
        subscriber.push_latest(self.number, self.frame)


class Dropping:
    """Frames that a slow reader loses, and is told so."""

    __slots__ = ("drop", "frame")

    def __init__(self, drop: Droppable, frame: bytes) -> None:
        self.drop = drop
        self.frame = frame

    def to(self, subscriber: Subscriber) -> None:
        """Hand them over."""
        subscriber.push_droppable(self.drop, self.frame)


class Merging:
    """Frames of which a slow reader gets the latest."""

    __slots__ = ("frame", "parts")

    def __init__(self, parts: Sequence[Part], frame: bytes) -> None:
        self.parts = parts
        self.frame = frame

    def to(self, subscriber: Subscriber) -> None:
        """Hand them over."""
        subscriber.push_merged(self.parts, self.frame)


class Joined:
    """Deliveries that leave in one write; where they must wait, each in its manner."""

    __slots__ = ("frame", "parts")

    def __init__(self, parts: Sequence[Delivery]) -> None:
        self.parts = parts
        self.frame = b"".join([part.frame for part in parts])

    def to(self, subscriber: Subscriber) -> None:
        """Hand them over."""
        subscriber.push_joined(self.parts, self.frame)


def join(deliveries: Sequence[Delivery], max_bytes: int) -> Sequence[Delivery]:
    """Join neighbours into writes of *max_bytes* or little more."""
    if len(deliveries) == 1:
        return deliveries
    found: list[Delivery] = []
    parts: list[Delivery] = []
    size = 0
    for delivery in deliveries:
        parts.append(delivery)
        size += len(delivery.frame)
        if size >= max_bytes:
            found.append(_join(parts))
            parts, size = [], 0
    if parts:
        found.append(_join(parts))
    return found


def _join(parts: Sequence[Delivery]) -> Delivery:
    if len(parts) == 1:
        return parts[0]
    if all(type(part) is Plain for part in parts):
        return Plain(b"".join([part.frame for part in parts]))
    return Joined(parts)
