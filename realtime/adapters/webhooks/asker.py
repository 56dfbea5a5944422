"""The questions of hooks, put to a backend by HTTP (``[hooks] url``)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence, Set

from realtime.adapters.webhooks.signed import SignedClient
from realtime.clock import Clock
from realtime.core.hook_answers import HookFailed
from realtime.core.hook_forms import answer, question
from realtime.hooks import Deny, Point

Outcome = tuple[object, BaseException | None]


class WebhookAsker:
    """
    Asks the backend; the guards (time, number, breaker) are the caller's.

    You must ``aclose`` it after use.
    """

    def __init__(
        self, points: Sequence[str], client: SignedClient, clock: Clock
    ) -> None:
        self._points = frozenset(map(Point, points))
        self._client = client
        self._clock = clock

    @property
    def points(self) -> Set[Point]:
        """The points that are configured."""
        return self._points

    @property
    def place(self) -> str:
        """The backend's address."""
        return self._client.url

    async def start(self) -> None:
        """Do nothing: a connection is made for the first question."""

    def begin(self, point: Point, request: object) -> asyncio.Future[Outcome]:
        """Ask; the result is the answer, or why there is none."""
        return asyncio.get_running_loop().create_task(self._ask(point, request))

    def timed_out(self) -> None:
        """Do nothing: the request has been cancelled, and nothing else waits for it."""

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(self, point: Point, request: object) -> Outcome:
        id = secrets.token_hex(8)
        try:
            body = question(point, id, self._clock.time(), request)
            return answer(point, await self._client.post(id, body)), None
        except (Deny, HookFailed) as exc:
            return None, exc
