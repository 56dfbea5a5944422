"""
Replays the week of earthquakes in a few minutes, over and over.

The player keeps the rhythm of the real events: quiet minutes stay quiet and aftershocks
come in bursts. Only `play` knows of time; the rest is arithmetic.
"""

from __future__ import annotations

import csv
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from realtime.clock import Clock
from realtime.demo import EVENTS
from realtime.types import Scalar

EventDict = dict[str, Any]
"""An event as the protocol has it: name, at and properties."""

Track = Callable[[list[EventDict]], Awaitable[None]]

LOOP_S = 180.0
"""How long one pass over the week takes: nine or ten events a second."""

MAX_LAG_S = 5.0
"""Beyond this, what was missed is moved to now instead of being sent in one flood."""


@dataclass(frozen=True, slots=True)
class Quake:
    """One row: when it happened (seconds since the epoch) and what is known of it."""

    at: float
    properties: dict[str, Scalar]


def read_quakes(path: Path = EVENTS) -> list[Quake]:
    """The rows of *path*, in order of time."""
    with path.open(newline="", encoding="utf-8") as lines:
        return [_quake(row) for row in csv.DictReader(lines)]


def _quake(row: dict[str, str]) -> Quake:
    properties: dict[str, Scalar] = {
        "id": row["id"],
        "type": row["type"],
        "magnitude": float(row["magnitude"]),
        "region": row["region"],
        "place": row["place"],
        "depth_km": float(row["depth_km"]),
    }
    return Quake(datetime.fromisoformat(row["time"]).timestamp(), properties)


class Player:
    """
    The endless sequence of events, each with the moment at which it is due.

    *loop_s* is how long one pass takes, including the pause before the next one, which
    is as long as the mean gap between two events.
    """

    def __init__(
        self, quakes: Sequence[Quake] | None = None, loop_s: float = LOOP_S
    ) -> None:
        self.quakes = read_quakes() if quakes is None else quakes
        if len(self.quakes) < 2 or self.quakes[-1].at <= self.quakes[0].at:
            raise ValueError("quakes: at least two, at different times, are needed")
        if loop_s <= 0:
            raise ValueError(f"loop_s: {loop_s} is no duration; it must be above 0")
        self.loop_s = loop_s
        span_s = self.quakes[-1].at - self.quakes[0].at
        self.speed = span_s * len(self.quakes) / (len(self.quakes) - 1) / loop_s
        """How many seconds of the real week pass in one second."""

    def events(self) -> Iterator[tuple[float, EventDict]]:
        """
        Yield ``(due_s, event)`` without end, ``due_s`` counted from the start.

        The events carry no ``at``: whoever sends them knows what time it is.
        """
        began_s = 0.0
        while True:
            for quake in self.quakes:
                due_s = began_s + (quake.at - self.quakes[0].at) / self.speed
                yield due_s, {"name": "quake", "properties": dict(quake.properties)}
            began_s += self.loop_s


async def play(track: Track, clock: Clock, player: Player | None = None) -> None:
    """
    Send the events through *track* when they are due, until cancelled.

    Events that became due while *track* was busy go together in the next call. An
    exception of *track* ends the play: repeating what failed is its own business.
    """
    events = (player or Player()).events()
    due_s, event = next(events)
    began = clock.monotonic()
    while True:
        await clock.sleep(max(0.0, due_s - (clock.monotonic() - began)))
        lag_s = clock.monotonic() - began - due_s
        if lag_s > MAX_LAG_S:  # the machine slept
            began += lag_s
        now_s, now = clock.monotonic() - began, clock.time()
        batch: list[EventDict] = []
        while due_s <= now_s or not batch:
            batch.append({**event, "at": now - max(0.0, now_s - due_s)})
            due_s, event = next(events)
        await track(batch)
