"""
Notices to a backend: what happened, told until it is taken (``[webhooks]``).

Laws: notices go in the order in which they were made, one request after another, so
each user's are in order. What the backend does not take is sent again, with growing and
random pauses, until it is older than ``webhooks.give_up``. Whatever is not delivered is
counted. Delivery is at least once: each notice has an id that stays the same.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import orjson
import structlog

from realtime.adapters.redis.backoff import Backoff
from realtime.adapters.webhooks.queue import Notice, NoticeQueue
from realtime.adapters.webhooks.signed import DeliveryFailed
from realtime.clock import Clock
from realtime.settings import WebhookSettings

log = structlog.get_logger(__name__)

MAX_BATCH = 100
FLUSH_S = 3.0  # how long closing waits for what is still to be delivered
RETRY_FIRST_S = 0.5
RETRY_MOST_S = 30.0

REFUSALS = (400, 413, 422)
"""Statuses that say that a content is not wanted, however often it is sent."""


Settled = Callable[[str, int], None]
"""Told what became of how many notices: delivered, dropped, given_up, refused, lost."""


class Client(Protocol):
    """Sends one request; ``SignedClient`` fits."""

    async def post(self, id: str, body: bytes) -> bytes:
        """Return when it has been taken. Raises DeliveryFailed."""

    async def aclose(self) -> None:
        """Let go."""


class Notices:
    """
    Delivers notices of the configured events. ``start`` before use, ``aclose`` after.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        client: Client,
        queue: NoticeQueue,
        clock: Clock,
        backoff: Backoff | None = None,
    ) -> None:
        self.events = frozenset(settings.events)
        self.on_settled: Settled = _nobody
        self.on_failed: Callable[[], None] = _nothing
        self._give_up_s = settings.give_up_s
        self._client = client
        self._queue = queue
        self._queue.on_dropped = partial(self._settled, "dropped")
        self._clock = clock
        self._backoff = backoff or Backoff(RETRY_FIRST_S, RETRY_MOST_S)
        self._failing = False
        self._running: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many notices wait here."""
        return self._queue.waiting

    def start(self) -> None:
        """Begin to deliver."""
        self._queue.start()
        self._running = asyncio.get_running_loop().create_task(self._run())

    def put(self, event: str, body: Mapping[str, object]) -> None:
        """Tell the backend of *event*, if it wants to know; see ``engine.notify``."""
        if event in self.events:
            at = round(self._clock.time(), 3)
            self._queue.put(Notice(secrets.token_hex(8), event, at, dict(body)))

    async def aclose(self) -> None:
        """Deliver what waits, as far as that is quick; count what is lost."""
        if self._running is None:
            return
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._queue.drained()
        except TimeoutError:
            log.debug("notices_not_flushed", notices=self.waiting)
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        lost = await self._queue.aclose()
        if lost:
            log.warning("notices_lost", notices=lost)
        self._settled("lost", lost)
        await self._client.aclose()

    async def _run(self) -> None:
        while True:
            try:
                await self._deliver(await self._queue.take(MAX_BATCH))
            except Exception:  # a defect of ours, after which nobody would be told
                log.exception("notices_failed")
                await self._clock.sleep(RETRY_MOST_S)

    async def _deliver(self, notices: Sequence[Notice]) -> None:
        """Send until they are taken, refused or too old."""
        failures = 0
        while notices := await self._fresh(notices):
            try:
                await self._send(notices)
            except DeliveryFailed as exc:
                failures += 1
                self._failed(exc)
                if exc.status in REFUSALS:
                    await self._refused(notices)
                    return
                await self._clock.sleep(self._pause_s(failures, exc))
            else:
                self._taken()
                await self._settle("delivered", notices)
                return

    async def _fresh(self, notices: Sequence[Notice]) -> Sequence[Notice]:
        """Give up what is too old; return the others."""
        oldest = self._clock.time() - self._give_up_s
        await self._settle("given_up", [one for one in notices if one.at < oldest])
        return [one for one in notices if one.at >= oldest]

    async def _send(self, notices: Sequence[Notice]) -> None:
        id = secrets.token_hex(8)
        told = [
            {"id": one.id, "event": one.event, "at": one.at, **one.body}
            for one in notices
        ]
        await self._client.post(id, orjson.dumps({"id": id, "notices": told}))

    async def _refused(self, notices: Sequence[Notice]) -> None:
        """One of them is not wanted: find out which, by sending each alone."""
        if len(notices) == 1:
            await self._settle("refused", notices)
            return
        for notice in notices:
            await self._deliver([notice])

    def _pause_s(self, failures: int, exc: DeliveryFailed) -> float:
        asked_s = min(exc.retry_after_s or 0.0, RETRY_MOST_S)
        return max(self._backoff.delay_s(failures), asked_s)

    def _failed(self, exc: DeliveryFailed) -> None:
        self.on_failed()
        if not self._failing:
            self._failing = True
            log.warning("notices_not_taken", problem=exc.problem, waiting=self.waiting)

    def _taken(self) -> None:
        if self._failing:
            self._failing = False
            log.info("notices_taken_again", waiting=self.waiting)

    async def _settle(self, outcome: str, notices: Sequence[Notice]) -> None:
        if notices:
            await self._queue.settle(notices)
            self._settled(outcome, len(notices))

    def _settled(self, outcome: str, number: int) -> None:
        if number:
            self.on_settled(outcome, number)


def _nobody(outcome: str, number: int) -> None:
    """Count nothing."""


def _nothing() -> None:
    """Count nothing."""
