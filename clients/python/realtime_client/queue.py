"""
The queue of events that are not acknowledged yet, and who the device is.

Every event takes the next number when it is put. It stays until the server's
acknowledgement has covered its number, so that it can be sent again with the same one.
"""

from __future__ import annotations

import re
import secrets
from abc import ABC, abstractmethod
from dataclasses import dataclass
from uuid import uuid4

from realtime_client.errors import QueueError, QueueFull

MAX_EVENTS = 100_000
MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Run:
    """Events numbered from *first* without a hole; more follow if *truncated*."""

    first: int
    events: tuple[bytes, ...]
    truncated: bool

    @property
    def last(self) -> int:
        """The number of the last one."""
        return self.first + len(self.events) - 1


class EventQueue(ABC):
    """
    What every queue is. All methods are synchronous and belong to one event loop.

    ``device`` and ``secret`` say and prove whose the numbers are; they live exactly as
    long as the queue does. ``next`` is the number that the next event takes and
    ``acked`` the highest one that was acknowledged. The queue holds at most
    ``max_events`` events of ``max_bytes`` together; when it is full, ``put`` raises.
    ``count`` and ``size`` (bytes) say what is in it; ``removed`` counts the events that
    left it since it was opened.
    """

    device: str
    secret: str
    next: int
    acked: int
    count: int
    size: int
    removed: int = 0

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self.max_events = max_events
        self.max_bytes = max_bytes

    @abstractmethod
    def put(self, event: bytes) -> int:
        """
        Append an event and return its number.

        Raises:
            QueueFull: If there is no room.
            QueueError: If it cannot be written.
        """

    @abstractmethod
    def read(self, start: int, max_events: int, max_bytes: int) -> Run | None:
        """
        Return the first run of events at or after *start*; None when there is none.

        At most *max_events* of them, taking at most *max_bytes* with a comma for each;
        but at least one, however large.
        """

    @abstractmethod
    def get(self, seq: int) -> bytes | None:
        """Return one event; None if it is not there."""

    @abstractmethod
    def acknowledge(self, upto: int) -> None:
        """Forget every event up to the number *upto*, which must be below ``next``."""

    @abstractmethod
    def skip(self, seq: int) -> None:
        """Forget one event; its number is not used again."""

    @abstractmethod
    def renumber(self, old_first: int, new_first: int) -> None:
        """
        Move the events from number *old_first* on so that they begin at *new_first*.

        Events below stay. *new_first* must be greater. ``next`` moves too.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of files. Closing twice is harmless."""

    def check_room(self, size: int) -> None:
        """Raise QueueFull unless an event of *size* bytes fits."""
        if self.count >= self.max_events:
            raise QueueFull(
                f"{self.count} events wait to be acknowledged, "
                f"at most {self.max_events} are kept"
            )
        if self.size + size > self.max_bytes:
            raise QueueFull(
                f"{self.size} bytes of events wait to be acknowledged, "
                f"at most {self.max_bytes} are kept"
            )


_DEVICE = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_SECRET = re.compile(r"[ -~]{16,128}")


def check_identity(device: str | None, secret: str | None) -> None:
    """Raise ValueError unless each of them is None or what the protocol allows."""
    if device is not None and not _DEVICE.fullmatch(device):
        raise ValueError(
            f"device: must be 1 to 128 of A-Z a-z 0-9 _ . : -, not {device!r}"
        )
    if secret is not None and not _SECRET.fullmatch(secret):
        raise ValueError("secret: must be 16 to 128 printable ASCII characters")


def new_device() -> str:
    """Return a device's name that nobody else has."""
    return uuid4().hex


def new_secret() -> str:
    """Return what proves that the device is ours."""
    return secrets.token_urlsafe(32)


class MemoryQueue(EventQueue):
    """
    A queue that ends with the process, and its device with it.

    Give *device* only if no other queue ever used this name: numbers begin at 1. Should
    the server have counted this device's numbers before, events are renumbered.
    """

    def __init__(
        self,
        device: str | None = None,
        secret: str | None = None,
        *,
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        super().__init__(max_events, max_bytes)
        check_identity(device, secret)
        self.device = device or new_device()
        self.secret = secret or new_secret()
        self.next = 1
        self.acked = 0
        self.count = 0
        self.size = 0
        self._events: dict[int, bytes] = {}
        self._closed = False

    def put(self, event: bytes) -> int:
        """Append an event and return its number."""
        if self._closed:
            raise QueueError("the queue was closed")
        self.check_room(len(event))
        seq = self.next
        self._events[seq] = event
        self.next += 1
        self.count += 1
        self.size += len(event)
        return seq

    def read(self, start: int, max_events: int, max_bytes: int) -> Run | None:
        """Return the first run of events at or after *start*."""
        events = self._events
        first = max(start, self.acked + 1)
        while first not in events:
            if first >= self.next:
                return None
            first += 1
        taken: list[bytes] = []
        seq, room = first, max_bytes
        while len(taken) < max_events and (event := events.get(seq)) is not None:
            room -= len(event) + 1
            if room < 0 and taken:
                break
            taken.append(event)
            seq += 1
        return Run(first, tuple(taken), seq in events)

    def get(self, seq: int) -> bytes | None:
        """Return one event."""
        return self._events.get(seq)

    def acknowledge(self, upto: int) -> None:
        """Forget every event up to *upto*."""
        if upto - self.acked > len(self._events):
            covered = [seq for seq in self._events if seq <= upto]
        else:
            covered = list(range(self.acked + 1, upto + 1))
        for seq in covered:
            self._remove(seq)
        self.acked = max(self.acked, upto)

    def skip(self, seq: int) -> None:
        """Forget one event."""
        self._remove(seq)

    def _remove(self, seq: int) -> None:
        event = self._events.pop(seq, None)
        if event is not None:
            self.count -= 1
            self.size -= len(event)
            self.removed += 1

    def renumber(self, old_first: int, new_first: int) -> None:
        """Move the events from *old_first* on to *new_first*."""
        move = new_first - old_first
        self._events = {
            seq + move if seq >= old_first else seq: event
            for seq, event in self._events.items()
        }
        self.next += move

    def close(self) -> None:
        """Take no more events."""
        self._closed = True
