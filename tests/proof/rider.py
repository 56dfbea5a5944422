"""
A client that is as a good phone is, thousands of which fit into one process.

It watches a channel from the first publication that it is told of and takes note of
every offset; it numbers its events and keeps them until they are acknowledged; it comes
back when and where it is told to.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

from realtime.testing.lean import End, LeanSocket
from realtime.testing.servers import HOST

POSTS = 10
BATCH = 50  # events in one message, when many wait
BACKOFF_S = 0.5  # the first delay's range where no other is told
BACKOFF_MOST_S = 5.0
PATIENCE_S = 15.0  # for a welcome


@dataclass(slots=True)
class Tally:
    """What happened to all riders together."""

    heard: int = 0  # publications
    lost: int = 0  # that were skipped over
    repeated: int = 0  # that came again, or out of order
    wrong: int = 0  # whose content is not what was published under this offset
    unrecovered: int = 0  # times that the server said it could not
    made: int = 0  # events
    acked: int = 0
    rejected: int = 0
    welcomes: int = 0
    goodbyes: int = 0
    refusals: int = 0  # 503 and 429
    failures: int = 0  # connections that did not come about, or ended unasked
    errors: int = 0  # commands answered with one
    away_s: list[float] = field(default_factory=list)  # from one welcome's end to next


class Rider:
    """
    One client of the balancer at *port*. ``run`` until it is cancelled.

    ``stop_making`` ends its events, ``last`` is the last offset that it has.
    """

    def __init__(
        self,
        number: int,
        channel: str,
        port: int,
        event_s: float,
        tally: Tally,
        random: Random,
    ) -> None:
        self.last: int | None = None
        self.connected = False
        self.made = 0
        self.acked = 0
        self._name = f"rider-{number}"
        self._post = str(number % POSTS)
        self._channel = channel
        self._port = port
        self._event_s = event_s
        self._tally = tally
        self._random = random
        self._epoch = ""
        self._number: int | None = None  # of the channel, on this connection
        self._socket: LeanSocket | None = None
        self._welcomed: asyncio.Future[None] | None = None
        self._sent = 0
        self._told: tuple[float, float] | None = None  # when goodbye came, after_s
        self._gone_at: float | None = None
        self._making = event_s > 0

    async def run(self) -> None:
        """Ride, and get on again however often it is thrown off."""
        self._later(self._random.random() * self._event_s, self._make)
        attempt = 0
        while True:
            before = self._tally.welcomes
            end = await self._ride()
            attempt = 0 if self._tally.welcomes > before else attempt + 1
            await asyncio.sleep(self._pause_s(end, attempt))

    async def get_off(self) -> None:
        """Cut what is open; call it when ``run`` has been cancelled."""
        if self._socket is not None and self._socket.begun:
            self._socket.cut()
            await self._socket.ended

    def stop_making(self) -> None:
        """Make no more events."""
        self._making = False

    # -- one connection ------------------------------------------------------------

    async def _ride(self) -> End:
        loop = asyncio.get_running_loop()
        self._told, self._number = None, None
        welcomed = self._welcomed = loop.create_future()
        socket = self._socket = LeanSocket(self._hear)
        try:
            await loop.create_connection(lambda: socket, HOST, self._port)
        except OSError:
            self._tally.failures += 1
            return End()
        socket.say(self._hello())
        await asyncio.wait(
            [welcomed, socket.ended],
            timeout=PATIENCE_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not welcomed.done() and not socket.ended.done():
            socket.cut()
        end = await asyncio.shield(socket.ended)
        if self.connected:
            self._gone_at = time.monotonic()
        self.connected = False
        self._note(end)
        return end

    def _hello(self) -> dict[str, Any]:
        wanted: dict[str, Any] = {"channel": self._channel, "id": 2}
        if self.last is not None:
            wanted["since"] = {"offset": self.last, "epoch": self._epoch}
        return {
            "type": "hello",
            "id": 1,
            "device": self._name,
            "secret": f"the secret of {self._name}",
            "acked": self.acked,
            "subscriptions": [wanted],
        }

    def _note(self, end: End) -> None:
        if end.status is not None:
            self._tally.refusals += 1
        elif self._told is None:
            self._tally.failures += 1

    def _pause_s(self, end: End, attempt: int) -> float:
        """Say how long to stay away: as told, or longer with each attempt."""
        spread_s = min(BACKOFF_S * 2**attempt, BACKOFF_MOST_S) * self._random.random()
        if self._told is not None:
            came_at, after_s = self._told
            return max(came_at + after_s - time.monotonic(), 0.0)
        return end.retry_after_s + spread_s

    # -- what is heard -------------------------------------------------------------

    def _hear(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "push":
                if message["channel"] == self._number:
                    self._take(message["offset"], message["data"])
            case "ack":
                self._acknowledge(message["acked"])
                self._tally.rejected += len(message.get("rejected", ()))
            case "welcome":
                self._welcome(message)
            case "subscribed":
                self._subscribed(message)
            case "recovering":
                self._take_all(message)
                again = self._hello()["subscriptions"][0]
                self._say({"type": "subscribe", **again})
            case "gap":
                self._tally.unrecovered += 1
                self.last = message["offset"]
            case "slow_down":
                self._later(message["retry_after_s"], self._resend)
            case "error":
                self._fail(message)
            case "goodbye":
                self._tally.goodbyes += 1
                self._told = (time.monotonic(), message["after_s"])

    def _welcome(self, message: dict[str, Any]) -> None:
        self._tally.welcomes += 1
        self.connected = True
        if self._gone_at is not None:
            self._tally.away_s.append(time.monotonic() - self._gone_at)
        if self._welcomed is not None and not self._welcomed.done():
            self._welcomed.set_result(None)
        self._acknowledge(message["acked"])
        self._resend()

    def _subscribed(self, message: dict[str, Any]) -> None:
        self._number = message["number"]
        if self.last is None:
            self.last = message["offset"]
        elif message.get("recovered"):
            self._take_all(message)
            self._tally.lost += max(message["offset"] - self.last, 0)
        else:
            self._tally.unrecovered += 1
            self.last = message["offset"]
        self._epoch = message["epoch"]

    def _take_all(self, message: dict[str, Any]) -> None:
        for publication in message.get("publications", ()):
            self._take(publication["offset"], publication["data"])

    def _take(self, offset: int, data: Any) -> None:
        assert self.last is not None
        self._tally.heard += 1
        if offset <= self.last:
            self._tally.repeated += 1
            return
        self._tally.lost += offset - self.last - 1
        self._tally.wrong += data != offset
        self.last = offset

    def _fail(self, message: dict[str, Any]) -> None:
        if message["name"] == "gap":
            self._sent = message["expected"] - 1
            self._resend()
            return
        self._tally.errors += 1
        if message.get("id") == 2:  # the subscription: ask for it once more
            again = self._hello()["subscriptions"][0]
            delay_s = message.get("retry_after_s", 1.0)
            self._later(delay_s, lambda: self._say({"type": "subscribe", **again}))

    # -- events --------------------------------------------------------------------

    def _make(self) -> None:
        """Make an event, and the next one a while later."""
        if not self._making:
            return
        self.made += 1
        self._tally.made += 1
        if self.connected:
            self._send()
        self._later(self._event_s, self._make)

    def _acknowledge(self, acked: int) -> None:
        if acked > self.acked:
            self._tally.acked += acked - self.acked
            self.acked = acked

    def _resend(self) -> None:
        """Send everything again that is not acknowledged."""
        self._sent = self.acked
        self._send()

    def _send(self) -> None:
        event = {"name": "like", "properties": {"post": self._post}}
        while self.connected and self._sent < self.made:
            size = min(self.made - self._sent, BATCH)
            first = self._sent + 1
            self._say({"type": "track", "first": first, "events": [event] * size})
            self._sent += size

    def _say(self, message: dict[str, Any]) -> None:
        if self._socket is not None:
            self._socket.say(message)

    @staticmethod
    def _later(delay_s: float, act: Any) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(delay_s, act)
