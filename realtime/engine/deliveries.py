"""
What is handed to every subscriber of a group: one write, and how it may give way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from realtime.engine.subscriber import Droppable, Part, Subscriber


@dataclass(frozen=True, slots=True)
class Plain:
    """Frames that wait in order; a reader who has no room for them is lost."""

    frame: bytes

    @property
    def size(self) -> int:
        """The bytes of its frames."""
        return len(self.frame)

    def to(self, subscribers: Iterable[Subscriber]) -> None:
        """Hand them to each."""
        # Hot: once per subscriber and publication.
        frame = self.frame
        for subscriber in subscribers:
            subscriber.push(frame)


@dataclass(frozen=True, slots=True)
class Value:
    """A live channel's value."""

    number: int
    frame: bytes

    @property
    def size(self) -> int:
        """The bytes of its frames."""
        return len(self.frame)

    def to(self, subscribers: Iterable[Subscriber]) -> None:
        """Hand it to each."""
        # Hot: once per subscriber and value.
        number, frame = self.number, self.frame
        for subscriber in subscribers:
            subscriber.push_latest(number, frame)


@dataclass(frozen=True, slots=True)
class Dropping:
    """Frames that a slow reader loses, and is told so."""

    drop: Droppable
    frame: bytes

    @property
    def size(self) -> int:
        """The bytes of its frames."""
        return len(self.frame)

    def to(self, subscribers: Iterable[Subscriber]) -> None:
        """Hand them to each."""
        drop, frame = self.drop, self.frame
        for subscriber in subscribers:
            subscriber.push_droppable(drop, frame)


@dataclass(frozen=True, slots=True)
class Merging:
    """Frames of which a slow reader gets the latest."""

    parts: Sequence[Part]
    joined: bytes

    @property
    def size(self) -> int:
        """The bytes of its frames."""
        return len(self.joined)

    def to(self, subscribers: Iterable[Subscriber]) -> None:
        """Hand them to each."""
        parts, joined = self.parts, self.joined
        for subscriber in subscribers:
            subscriber.push_merged(parts, joined)
