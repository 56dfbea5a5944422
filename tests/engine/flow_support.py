"""Readers of a hub whose sockets are full or not, as a test says, on a manual clock."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson

from realtime.core.filters import compile_filter
from realtime.core.flow import DIRECT, Flow
from realtime.core.namespaces import Overflow
from realtime.engine.hub import Hub
from realtime.engine.outbox import Outbox
from realtime.engine.subscriber import FlowTally
from realtime.testing.clock import ManualClock
from realtime.testing.transport import RecordingSocket
from realtime.types import (
    Channel,
    ConnectionId,
    JSONText,
    Position,
    Publication,
    PublicationKind,
)
from realtime.wire.frames import FrameKey

PRICES = Channel("prices:all")
EPOCH = "e1"


class Reader:
    """An outbox on a socket that records, and whether it was given up."""

    def __init__(
        self, name: str = "", max_bytes: int = 1 << 20, tally: FlowTally | None = None
    ) -> None:
        self.socket = RecordingSocket()
        self.lost = False
        self.outbox = Outbox(
            self.socket,
            max_bytes,
            FrameKey.JSON,
            self._overflowed,
            ConnectionId(name),
            tally,
        )

    def _overflowed(self) -> None:
        self.lost = True

    @property
    def writes(self) -> list[list[dict[str, Any]]]:
        """The messages of every write so far."""
        return [messages_of(data) for data in self.socket.frames]

    def take(self) -> list[dict[str, Any]]:
        """The messages since the last call."""
        found = [message for write in self.writes for message in write]
        self.socket.frames = []
        return found

    def numbers(self) -> list[Any]:
        """The data of the pushes since the last call; other messages by their type."""
        return [message.get("data", message["type"]) for message in self.take()]


def messages_of(data: bytes) -> list[dict[str, Any]]:
    """Cut joined server frames of JSON into their messages (RFC 6455, 5.2)."""
    found, at = [], 0
    while at < len(data):
        size, head = data[at + 1], 2
        if size > 125:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[at + 2 : at + head])
        found.append(orjson.loads(data[at + head : at + head + size]))
        at += head + size
    return found


class World:
    """One hub, its clock and its readers; with *joins*, what one turn brings joins."""

    def __init__(self, *, joins: bool = False) -> None:
        self.clock = ManualClock()
        self.late = 0
        self.tally = FlowTally()
        soon = partial(self.clock.call_later, 0.0) if joins else None
        self.hub = Hub(self.clock, self.tally, self._late, soon)

    def _late(self, frames: int) -> None:
        self.late += frames

    def turn(self) -> None:
        """Let one timer run that is due."""
        self.clock._run_next(self.clock.monotonic())

    def reader(
        self,
        flow: Flow = DIRECT,
        *,
        name: str = "",
        after: int = 0,
        max_bytes: int = 1 << 20,
    ) -> Reader:
        """A reader that has joined."""
        reader = Reader(name, max_bytes, self.tally)
        self.hub.join(PRICES, reader.outbox, flow, after)
        return reader

    def publish(self, data: object, symbol: str | None = None, **fields: Any) -> int:
        """Broadcast one publication; return how many frames that handed out."""
        tags = None if symbol is None else {"symbol": symbol}
        text = JSONText(orjson.dumps(data))
        return self.hub.broadcast(Publication(PRICES, text, tags=tags, **fields))

    def place(self, offset: int, symbol: str | None = None, **fields: Any) -> int:
        """Broadcast a publication that has a position, which is its data, too."""
        return self.publish(offset, symbol, position=Position(offset, EPOCH), **fields)

    def notice(self, kind: PublicationKind, name: str = "ann") -> int:
        """Tell that somebody has come or gone."""
        return self.publish({"client": name}, kind=kind)

    def gap(self, offset: int) -> int:
        """Tell that what lies before is lost."""
        return self.publish(
            None, kind=PublicationKind.GAP, position=Position(offset, EPOCH)
        )


def only(**leaf: object) -> Flow:
    """The flow of who filters by symbol."""
    return Flow(filter=compile_filter({"tag": "symbol", **leaf}))


DROP = Flow(overflow=Overflow.DROP)
COALESCE = Flow(overflow=Overflow.COALESCE)
BY_SYMBOL = Flow(interval_s=1.0, by="symbol")
