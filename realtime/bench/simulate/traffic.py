"""
What the users do: how many are there at which hour, what they send, what they watch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import cos, exp, pi

DAY_S = 86_400.0


class Kind(Enum):
    """What a channel carries."""

    LIVE = "live"  # a counter's value: pushed once a cadence, however it changes
    PLAIN = "plain"  # publications without a history
    KEPT = "kept"  # publications with one


@dataclass(frozen=True, slots=True)
class Audience:
    """
    Channels that are alike.

    *share* of all connections are on one of them each; *members* connections share a
    channel (0: all of them share one). Each of them causes *per_minute* publications,
    or events that change the value. *joined* frames leave in one write.
    """

    name: str
    kind: Kind
    share: float
    members: float
    per_minute: float
    cadence_s: float = 0.1
    joined: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share of {self.name} is {self.share}, not in 0 to 1")
        if min(self.members, self.per_minute) < 0 or self.cadence_s <= 0:
            raise ValueError(f"{self.name} has a number that must not be negative")
        if self.joined < 1:
            raise ValueError(f"joined of {self.name} is {self.joined}, less than 1")

    def channels(self, connections: float) -> float:
        """Return how many channels there are when *connections* are there."""
        watching = connections * self.share
        if not self.members:
            return 1.0 if watching else 0.0
        return watching / self.members

    def on_each(self, connections: float) -> float:
        """Return how many connections are on each channel."""
        return self.members or connections * self.share

    def pushes_per_s(self, changes_per_s: float) -> float:
        """
        Return how often a subscriber is sent something.

        Publications all arrive. Of values, the first after a quiet time leaves at
        once and the next one a cadence later; exact for changes at random times.
        """
        if self.kind is not Kind.LIVE or not changes_per_s:
            return changes_per_s
        in_cadence = changes_per_s * self.cadence_s
        return 1 / (self.cadence_s + exp(-in_cadence) / changes_per_s)


MOBILE = (
    Audience("headline", Kind.LIVE, 1.0, 0, 0.1, cadence_s=5.0),
    Audience("rooms", Kind.LIVE, 0.5, 500, 0.5, cadence_s=1.0),
    Audience("chats", Kind.KEPT, 0.2, 20, 0.1),
    Audience("personal", Kind.KEPT, 1.0, 1, 0.05),
)
"""One number that all see, half in rooms of 500, some in chats, all with an inbox."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """
    A population of phones.

    *connections* are there at *peak_hour*, and *trough* of them twelve hours away. Each
    stays for *session_s* and tracks *events_per_minute*, *batch* to a frame. An event
    changes *grains* cells, of one of *combinations* of dimensions.
    """

    connections: int
    trough: float = 0.3
    peak_hour: float = 20.5
    session_s: float = 600.0
    keepalive_s: float = 25.0
    events_per_minute: float = 2.0
    batch: float = 4.0
    grains: float = 2.0
    combinations: float = 10_000.0
    slow: float = 0.001  # of the connections do not read: their outbox is full
    max_outbox_kib: float = 1024.0
    noise: float = 0.05  # of activity, from minute to minute
    audiences: tuple[Audience, ...] = field(default=MOBILE)

    def __post_init__(self) -> None:
        if self.connections < 1:
            raise ValueError(f"connections is {self.connections}: one or more")
        if not 0 <= self.trough <= 1:
            raise ValueError(f"trough is {self.trough}, not in 0 to 1")
        for name in ("session_s", "keepalive_s", "batch", "grains", "combinations"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: above 0")

    def population(self, at_s: float) -> float:
        """Return how many are connected *at_s* seconds after midnight."""
        turn = 2 * pi * (at_s / DAY_S - self.peak_hour / 24)
        return self.connections * (
            self.trough + (1 - self.trough) * (1 + cos(turn)) / 2
        )
