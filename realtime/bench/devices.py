"""
Devices: clients that send numbered events, and send again what was not taken.

What the native protocol asks of a client (docs/reference/protocol.md, numbering
events), and no more: a batch is kept until it is acknowledged; after ``slow_down`` all
from its number on is sent again when it is time.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Event as Stopping

from realtime.bench.client import Client, End
from realtime.bench.crowd import Share
from realtime.bench.dialects.port import (
    Acked,
    Event,
    Refused,
    Said,
    SlowDown,
    Welcome,
)
from realtime.bench.joining import Joining

EVENT = "bench"
COUNTER = "bench"


@dataclass(frozen=True, slots=True)
class Batch:
    """Events *first* to *last*, which were due then, as they are sent."""

    first: int
    last: int
    due: float
    payload: bytes


class Device(Client):
    """A client with numbers. ``waiting`` are the batches not acknowledged yet."""

    __slots__ = ("acked", "next", "resume_at", "waiting")

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.next = 1
        self.acked = 0
        self.waiting: deque[Batch] = deque()
        self.resume_at: float | None = None  # told to slow down until then


def cell(label: str, number: int) -> str:
    """Return the value of the dimension ``post`` that names a cell of this run."""
    return f"{label}-{number}"


def live_channel(label: str, number: int) -> str:
    """Return the live channel of that cell."""
    return f"live:{COUNTER};post={cell(label, number)};window=total"


class Devices(Joining):
    """
    A worker some of whose clients are devices.

    Override ``is_device`` and ``acknowledged``; call ``track`` to send and
    ``resume`` in each turn of a loop.
    """

    def __init__(
        self, share: Share, report: Callable[[float], None], event: Stopping
    ) -> None:
        super().__init__(share, report, event)
        self.failures: Counter[str] = Counter()
        self.slowed = 0  # how often a device was told to slow down
        self._resting: set[Device] = set()

    def is_device(self, number: int) -> bool:
        """Whether a connection sends events."""
        return True

    def acknowledged(self, device: Device, batch: Batch, now: float) -> None:
        """A batch is counted."""

    def make(self, number: int) -> Client:
        if not self.is_device(number):
            return super().make(number)
        device = Device(number)
        self.share.sign_in(device, device=True)
        return device

    @property
    def devices(self) -> list[Device]:
        """Those who are inside, by number."""
        found = sorted(self.inside.items())
        return [client for _, client in found if isinstance(client, Device)]

    def track(self, device: Device, events: Sequence[Event], due: float) -> None:
        """Send a batch, or keep it if the device was told to slow down."""
        first = device.next
        payload = self.share.dialect.track(first, events)
        device.next = first + len(events)
        device.waiting.append(Batch(first, device.next - 1, due, payload))
        if device.resume_at is None:
            self.clients.send(device, payload)

    def resume(self, now: float) -> None:
        """Send again what was not taken, if it is time."""
        if not self._resting:
            return
        for device in [one for one in self._resting if (one.resume_at or 0) <= now]:
            self._resting.discard(device)
            device.resume_at = None
            self._send_again(device)

    def settled(self) -> bool:
        """Whether everything that was sent is acknowledged."""
        return not any(device.waiting for device in self.devices)

    def _send_again(self, device: Device) -> None:
        for batch in device.waiting:
            self.clients.send(device, batch.payload)

    # -- Listener ------------------------------------------------------------------

    def said(self, client: Client, said: Said, now: float) -> None:
        if not isinstance(client, Device) or not self._heed(client, said, now):
            super().said(client, said, now)

    def _heed(self, device: Device, said: Said, now: float) -> bool:
        if isinstance(said, Acked):
            self._acked(device, said, now)
        elif isinstance(said, SlowDown):
            self.slowed += 1
            device.resume_at = now + said.retry_after_s
            self._resting.add(device)
        elif isinstance(said, Welcome):
            # A label that was used before: its numbers go on.
            device.acked, device.next = said.acked, said.acked + 1
        elif isinstance(said, Refused) and device.number in self.inside:
            # What came behind a refused batch is refused as a gap, and goes with it.
            if said.expected is None or device.resume_at is None:
                self.failures[said.sentence] += 1
        else:
            return False
        return True

    def _acked(self, device: Device, said: Acked, now: float) -> None:
        device.acked = said.acked
        if said.rejected:
            self.failures[f"rejected: {said.reason}"] += said.rejected
        waiting = device.waiting
        while waiting and waiting[0].last <= said.acked:
            self.acknowledged(device, waiting.popleft(), now)

    def lost(self, client: Client, end: End) -> None:
        self.failures[f"lost a connection: {end.sentence}"] += 1
        if isinstance(client, Device):
            client.waiting.clear()  # nobody waits for what cannot come
            self._resting.discard(client)


def schedule(
    count: int, gap_s: float, start: float, of: int, ours: Sequence[int]
) -> Iterator[tuple[float, int]]:
    """
    Yield when each of *count* things is due and whose turn it is, if it is one of ours.

    They are due every *gap_s* from *start* on, and it is the turn of 0 to *of* (which
    it is not) round and round; *ours* ascend.
    """
    for round_start in range(0, count, of):
        for one in ours:
            number = round_start + one
            if number < count:
                yield start + number * gap_s, one
