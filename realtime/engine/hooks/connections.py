"""Telling hooks, and the backend's webhook, which connections come and go."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

from realtime.clock import Clock
from realtime.engine.hooks.calls import Calls
from realtime.engine.notify import Notify
from realtime.errors import HookUnavailable
from realtime.hooks import ConnectionClosed, ConnectionOpened, Deny, Point

if TYPE_CHECKING:
    from realtime.engine.connection import Connection

FLUSH_S = 2.0
"""How long closing waits for what is being told."""

OPENED, CLOSED = "connection_opened", "connection_closed"
"""What the webhook is told."""


class ConnectionHooks:
    """
    Tells ``on_connect`` and ``on_disconnect``, each connection's in that order.

    Nobody waits for them. What fails is in the log and the metrics, and not repeated.
    """

    def __init__(self, calls: Calls, clock: Clock, notify: Notify | None) -> None:
        self._calls = calls
        self._clock = clock
        self._notify = notify
        self._here: dict[str, ConnectionOpened] = {}
        self._telling: dict[str, asyncio.Task[None]] = {}
        self.used = (
            notify is not None
            or Point.ON_CONNECT in calls
            or Point.ON_DISCONNECT in calls
        )

    def opened(self, connection: Connection, client: str | None) -> None:
        """Note that *connection* has been welcomed."""
        identity = connection.session.identity
        if not self.used or identity is None:
            return
        told = self._here[connection.id] = ConnectionOpened(
            connection.id,
            identity.user,
            connection.session.device,
            client,
            connection.remote,
            self._clock.time(),
        )
        self._tell(Point.ON_CONNECT, OPENED, told)

    def closed(self, connection: Connection, code: int, reason: str) -> None:
        """Note that *connection*, which may never have been welcomed, is gone."""
        opened = self._here.pop(connection.id, None)
        if opened is None:
            return
        seconds = round(self._clock.monotonic() - connection.opened_at, 3)
        fields = asdict(opened) | {"at": self._clock.time()}
        told = ConnectionClosed(**fields, code=code, reason=reason, seconds=seconds)
        self._tell(Point.ON_DISCONNECT, CLOSED, told)

    async def aclose(self) -> None:
        """Wait for what is being told, for a bounded time."""
        tasks = list(self._telling.values())
        if tasks:
            await asyncio.wait(tasks, timeout=FLUSH_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _tell(
        self, point: Point, event: str, told: ConnectionOpened | ConnectionClosed
    ) -> None:
        if self._notify is not None:
            body = asdict(told)
            del body["at"]  # each notice has the time of its own
            self._notify(event, body)
        if point not in self._calls:
            return
        id = told.connection
        before = self._telling.get(id)
        task = asyncio.get_running_loop().create_task(self._ask(point, told, before))
        self._telling[id] = task
        task.add_done_callback(lambda done: self._told(id, done))

    async def _ask(
        self, point: Point, told: object, before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            await self._calls.ask(point, told, lambda answer: None)
        except (Deny, HookUnavailable):
            return  # it was told, whatever it thinks of it; or it is in the log

    def _told(self, id: str, task: asyncio.Task[None]) -> None:
        if self._telling.get(id) is task:
            del self._telling[id]
