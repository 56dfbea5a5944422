"""
The values every floor speaks of: names that must not be confused, and plain facts.

Nothing here does anything; everything here is immutable, if need be by the type checker
alone (`hot_value`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NewType, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def hot_value(cls: type[T]) -> type[T]:
    """
    Make a frozen dataclass with slots, frozen for the type checker only.

    For values of which one is made per event or per message: what really is frozen sets
    every field by a call of ``object.__setattr__``, and five fields take 1.1 us, not
    0.2 (Python 3.11).
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


Channel = NewType("Channel", str)
"""A topic, ``namespace:name``. ``live:`` is the namespace of live channels."""

UserId = NewType("UserId", str)
DeviceId = NewType("DeviceId", str)
ConnectionId = NewType("ConnectionId", str)
NodeId = NewType("NodeId", str)

Scalar = str | int | float | bool | None
"""What a property of an event may be. Nested values are refused."""

JSONText = NewType("JSONText", bytes)
"""UTF-8 JSON that has been encoded by us and may be spliced into a frame as it is."""


@hot_value
class Event:
    """
    One thing that happened on a device, after validation and correction of its clock.

    ``at`` is event time in seconds since the epoch, already corrected and clamped.
    ``seq`` is the device's own number for it: 1, 2, 3 without holes.
    """

    name: str
    device: DeviceId
    seq: int
    at: float
    user: UserId | None = None
    properties: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Position:
    """
    A place in a channel's history; ``epoch`` changes when the history starts anew.
    """

    offset: int
    epoch: str


class PublicationKind(IntEnum):
    """What a publication is to its subscribers; the numbers travel between nodes."""

    MESSAGE = 0  # somebody's data
    JOIN = 1  # a member came: `data` is the member, as JSON
    LEAVE = 2  # a member went: the same
    GAP = 3  # made by each node for its own: what lies before `position` is lost


@dataclass(frozen=True, slots=True)
class Publication:
    """
    One message on a channel; ``data`` is JSON text whatever the subscriber's codec.

    ``position`` is there when the channel has a history. ``tags`` are what filters and
    conflation look at. ``sender`` is a connection that is not to receive it.
    """

    channel: Channel
    data: JSONText
    position: Position | None = None
    tags: Mapping[str, str] | None = None
    sender: ConnectionId | None = None
    kind: PublicationKind = PublicationKind.MESSAGE


@dataclass(frozen=True, slots=True)
class Member:
    """
    One connection that is present on a channel; ``info`` is what its token tells of
    its user, as JSON text.
    """

    client: ConnectionId
    user: UserId | None = None
    info: JSONText | None = None
