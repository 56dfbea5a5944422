"""What recovery does to its clients, and what it keeps of them: values, no sockets."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from realtime.bench.client import Client
from realtime.bench.histogram import Histogram
from realtime.bench.journal import Journal

RETRY_S = 0.5  # the first pause after an attempt that has failed; it doubles


@dataclass(frozen=True, slots=True)
class Settings:
    """What all processes are told once."""

    publishers: int
    channels: int
    size: int


@dataclass(frozen=True, slots=True)
class Step:
    """
    What happens in one measurement: *count* publications, *rate* a second from *start*
    on; *cuts* of each subscriber, each followed by *down_s* without and *up_s* with a
    connection; all of them *together* or spread. *reset*: with a RST, not a FIN.
    """

    start: float
    rate: float
    count: int
    cuts: int = 0
    down_s: float = 0.0
    up_s: float = 0.0
    together: bool = False
    reset: bool = False

    def due(self, index: int) -> float:
        """When publication *index* is to be sent."""
        return self.start + index / self.rate

    def index(self, due: float) -> int | None:
        """Which publication was due then; None if it is of another measurement."""
        index = round((due - self.start) * self.rate)
        return index if 0 <= index < self.count else None

    def cut_times(self, number: int) -> Iterator[float]:
        """When client *number* is cut."""
        cycle_s = self.up_s + self.down_s
        # At the same time for all, or anywhere in the cycle; the same in every run.
        spread_s = random.Random(number).random() * cycle_s
        first = self.start + (self.up_s / 2 if self.together else spread_s)
        return (first + turn * cycle_s for turn in range(self.cuts))


@dataclass(frozen=True, slots=True)
class Travelled:
    """What one process has seen, without the accounts."""

    caught_up: Histogram
    cuts: int
    dropped: int  # connections that ended without our doing
    retries: int
    absent: int  # clients that have not come back
    recovered: int  # times that everything was there
    unrecovered: int  # times that the server told a loss
    failures: dict[str, int]
    unpublished: set[int]  # or nobody knows


class Traveller(Client):
    """A subscriber, its position, and its journal."""

    __slots__ = ("away_since", "epoch", "journal", "offset", "pause_s")

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.offset: int | None = None
        self.epoch = ""
        self.journal = Journal(0, 1, 0)
        self.away_since: float | None = None  # when it wanted to be back, if it is not
        self.pause_s = RETRY_S

    @property
    def since(self) -> tuple[int, str] | None:
        """The position, if it has one."""
        return None if self.offset is None else (self.offset, self.epoch)
