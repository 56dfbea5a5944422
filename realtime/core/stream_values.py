"""What a stream asks and answers: reads of the history, and how somebody enters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from realtime.types import Position, Publication


class Reason(Enum):
    """Why the history is read."""

    TOP = "top"  # to know the position, nothing else
    LATEST = "latest"  # the newest publication that is kept
    RECOVER = "recover"  # what somebody who comes has missed
    HEAL = "heal"  # what this node has missed


@dataclass(frozen=True, slots=True)
class Read:
    """
    What to read: what follows *since*, or the newest alone, or only the position.
    """

    reason: Reason
    since: Position | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """
    What a read found.

    ``top`` is the position of the newest publication ever made. ``complete``: nothing
    is missing between the place asked for and the first publication; otherwise they are
    from the oldest on. ``more``: further ones follow.
    """

    publications: Sequence[Publication]
    top: Position
    complete: bool = True
    more: bool = False

    @property
    def oldest(self) -> int:
        """The offset before the first publication; the top's if there is none."""
        if not self.publications:
            return self.top.offset
        return offset_of(self.publications[0]) - 1


@dataclass(slots=True)
class Want:
    """
    With what somebody wants to enter. ``tried``: a read that was begun after this came
    has been merged, so that what it did not find is not there.
    """

    since: Position | None = None
    latest: bool = False  # the newest publication is wanted when nothing is recovered
    tried: bool = False
    room: int | None = None  # bytes of data that may be told; None: a whole page


@dataclass(frozen=True, slots=True)
class Entry:
    """
    How somebody enters: at ``position``, after ``publications``.

    ``recovered`` answers *since*: true, and nothing is missing; false, and what was
    missed is lost. With ``more`` they cannot enter yet: there is more than one page.
    """

    position: Position
    recovered: bool | None = None
    publications: Sequence[Publication] = ()
    more: bool = False
    latest: Publication | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one page, in publications and bytes of data; of what is held, in bytes."""

    page: int = 500
    page_bytes: int = 512 * 1024
    held_bytes: int = 1024 * 1024


def offset_of(publication: Publication) -> int:
    """Return the offset of a publication that has one."""
    assert publication.position is not None
    return publication.position.offset
