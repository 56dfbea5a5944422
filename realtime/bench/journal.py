"""
What one client has of the publications that it was owed: the bookkeeping of recovery.

Pure: a journal is told of what arrives and of losses that were admitted, and adds up.
Publication I of a run is owed to a client if its channel's turn is I: ``I % every ==
place``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

_UNSEEN, _SEEN, _ADMITTED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Account:
    """
    What came of publications, added up: *expected* is the sum of those that were
    *delivered* (each once), *admitted* (the server has said that they are lost) and
    *missing* (it has not). *doubled* and *disordered* are deliveries too many, and
    deliveries after later ones.
    """

    expected: int = 0
    delivered: int = 0
    doubled: int = 0
    disordered: int = 0
    admitted: int = 0
    missing: int = 0

    def __add__(self, other: Account) -> Account:
        return Account(
            self.expected + other.expected,
            self.delivered + other.delivered,
            self.doubled + other.doubled,
            self.disordered + other.disordered,
            self.admitted + other.admitted,
            self.missing + other.missing,
        )


class Journal:
    """The publications of one client, of *count* in all."""

    __slots__ = (
        "_disordered",
        "_doubled",
        "_every",
        "_hole",
        "_last",
        "_place",
        "_states",
    )

    def __init__(self, count: int, every: int, place: int) -> None:
        self._states = bytearray(count)
        self._every = every
        self._place = place
        self._last = -1
        self._hole = False  # what lies before the next delivery is admittedly lost
        self._doubled = 0
        self._disordered = 0

    @property
    def has_all(self) -> bool:
        """Whether nothing is to come, or it is admitted that it will not."""
        return _UNSEEN not in self._states[self._place :: self._every]

    def take(self, index: int) -> None:
        """A publication has arrived."""
        if self._states[index] == _SEEN:
            self._doubled += 1
            return
        if index < self._last:
            self._disordered += 1
        else:
            self._admit_until(index)
            self._last = index
        self._states[index] = _SEEN

    def admit(self) -> None:
        """The server has said that something after the last delivery is lost."""
        self._hole = True

    def _admit_until(self, index: int) -> None:
        if self._hole:
            for one in range(self._last + 1, index):
                if self._states[one] == _UNSEEN:
                    self._states[one] = _ADMITTED
            self._hole = False

    def close(self, unpublished: Collection[int]) -> Account:
        """Add up. *unpublished* were never taken by the server, or nobody knows."""
        self._admit_until(len(self._states))
        owed = range(self._place, len(self._states), self._every)
        states = [self._states[one] for one in owed if one not in unpublished]
        return Account(
            expected=len(states),
            delivered=states.count(_SEEN),
            doubled=self._doubled,
            disordered=self._disordered,
            admitted=states.count(_ADMITTED),
            missing=states.count(_UNSEEN),
        )
