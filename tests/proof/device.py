"""
One device that does everything a bad network makes of a good client.

It keeps every event until it is acknowledged, sends up to three batches ahead, sends
batches twice, cuts its own connection without warning, and reconnects to any node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

JSON_V1 = Subprotocol("realtime.v1.json")
AHEAD = 3  # batches under way
SILENCE_S = 5.0  # without an acknowledgement: send again


@dataclass(slots=True)
class Tally:
    """What happened to all devices together."""

    total: int
    acked: int = 0
    sent: int = 0
    duplicated_batches: int = 0
    batches: int = 0
    cuts: int = 0
    reconnects: int = 0
    slow_downs: int = 0
    gaps: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class Habits:
    """How bad the network is."""

    batch: int = 20
    duplicate: float = 0.3  # share of batches that are sent twice
    cut: float = 0.02  # chance, with each batch, that the connection is cut after it


class Device:
    """Sends *events* exactly in order, numbered from 1, until all are acknowledged."""

    def __init__(
        self,
        name: str,
        events: Sequence[dict[str, Any]],
        choose: Callable[[], str],
        habits: Habits,
        random: Random,
        tally: Tally,
    ) -> None:
        self._name = name
        self._secret = f"secret of {name}, long enough"
        self._events = events
        self._choose = choose
        self._habits = habits
        self._random = random
        self._tally = tally
        self._acked = 0
        self._next = 1

    async def run(self) -> None:
        """Send until everything is acknowledged, however often it takes."""
        attempt = 0
        while self._acked < len(self._events):
            before = self._acked
            try:
                await self._connected()
            except (OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                self._tally.reconnects += 1
            attempt = 0 if self._acked > before else min(attempt + 1, 6)
            await asyncio.sleep(self._random.random() * 0.05 * 2**attempt)

    async def _connected(self) -> None:
        async with connect(
            self._choose(),
            subprotocols=[JSON_V1],
            compression=None,
            open_timeout=10,
            close_timeout=1,
            ping_interval=None,
        ) as socket:
            await self._say(
                socket,
                type="hello",
                device=self._name,
                secret=self._secret,
                acked=self._acked,
            )
            welcome = await self._hear(socket)
            if welcome["type"] != "welcome":
                return
            self._acknowledge(welcome["acked"])
            self._next = welcome["acked"] + 1
            while self._acked < len(self._events):
                await self._send_ahead(socket)
                await self._listen(socket)

    async def _send_ahead(self, socket: ClientConnection) -> None:
        size = self._habits.batch
        while self._next <= min(len(self._events), self._acked + AHEAD * size):
            await self._send(socket, self._next)
            if self._random.random() < self._habits.duplicate:
                self._tally.duplicated_batches += 1
                await self._send(socket, self._next)
            self._next += size
            if self._random.random() < self._habits.cut:
                self._tally.cuts += 1
                socket.transport.abort()

    async def _send(self, socket: ClientConnection, first: int) -> None:
        events = self._events[first - 1 : first - 1 + self._habits.batch]
        self._tally.sent += len(events)
        self._tally.batches += 1
        await self._say(socket, type="track", first=first, events=events)

    async def _listen(self, socket: ClientConnection) -> None:
        try:
            message = await self._hear(socket)
        except TimeoutError:
            self._next = self._acked + 1
            return
        match message["type"]:
            case "ack":
                self._acknowledge(message["acked"])
                self._tally.rejected += len(message.get("rejected", ()))
            case "slow_down":
                self._tally.slow_downs += 1
                await asyncio.sleep(message["retry_after_s"])
                self._next = self._acked + 1
            case "error" if message["name"] == "gap":
                self._tally.gaps += 1
                self._next = message["expected"]

    def _acknowledge(self, acked: int) -> None:
        if acked > self._acked:
            self._tally.acked += acked - self._acked
            self._acked = acked

    async def _say(self, socket: ClientConnection, **message: Any) -> None:
        await socket.send(orjson.dumps(message), text=True)

    async def _hear(self, socket: ClientConnection) -> Any:
        async with asyncio.timeout(SILENCE_S):
            return orjson.loads(await socket.recv())
