"""Devices on a bad network that never lose an event, for tests of faults."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from random import Random
from typing import Any

from tests.faults.support import PATIENCE_S, eventually
from tests.proof.device import Device, Habits, Tally


def like(post: str) -> dict[str, Any]:
    """One event of those that the devices track."""
    return {"name": "like", "properties": {"post": post}}


class Fleet:
    """
    Devices that track until all of their events are acknowledged, in a thread.

    *choose* says where one connects, every time it does.
    """

    DEVICES = 4
    EVENTS = 1_500

    def __init__(self, post: str, choose: Callable[[], str]) -> None:
        self.tally = Tally(self.DEVICES * self.EVENTS)
        habits = Habits(batch=5, duplicate=0.2, cut=0.005)
        self._devices = [
            Device(
                f"{post}-{number}",
                [like(post)] * self.EVENTS,
                choose,
                habits,
                Random(number),
                self.tally,
            )
            for number in range(self.DEVICES)
        ]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        async def main() -> None:
            await asyncio.gather(*(device.run() for device in self._devices))

        asyncio.run(main())

    def await_share(self, share: float) -> None:
        """Wait until this share of the events is acknowledged."""
        wanted = self.tally.total * share
        eventually(lambda: self.tally.acked >= wanted, f"{share:.0%} are acknowledged")

    def await_end(self) -> None:
        """Wait until everything is acknowledged."""
        self.await_share(1.0)
        self._thread.join(PATIENCE_S)
