"""All hooks of one node: what each room of them is made of, its start and its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from realtime.adapters.webhooks import notices as webhook_notices
from realtime.adapters.webhooks.notices import Notices
from realtime.clock import Clock
from realtime.core.access import Access
from realtime.core.events import EventRules
from realtime.engine.auth import Authenticator
from realtime.engine.hooks.asker import Asker
from realtime.engine.hooks.calls import Calls
from realtime.engine.hooks.channels import ChannelHooks
from realtime.engine.hooks.connections import (
    CLOSED,
    FLUSH_S,
    OPENED,
    ConnectionHooks,
)
from realtime.engine.hooks.events import EventHooks
from realtime.engine.hooks.module import STOP_S
from realtime.engine.hooks.sessions import SessionHooks
from realtime.engine.metrics import Metrics
from realtime.engine.notify import Notify, nobody
from realtime.hooks import Point
from realtime.settings import HookSettings

log = structlog.get_logger(__name__)

LONGEST_STOP_S = FLUSH_S + webhook_notices.FLUSH_S + STOP_S
"""How long ``Hooks.aclose`` takes at the most."""


@dataclass(frozen=True, slots=True)
class HookParts:
    """What the assembly has made: who is asked, and how a backend is told."""

    settings: HookSettings = field(default_factory=HookSettings)
    askers: Sequence[Asker] = ()
    notices: Notices | None = None


class Hooks:
    """
    The developer's own rules. You must ``start`` it before use, ``aclose`` it after.

    Without askers, every room does what would be done without it.
    """

    def __init__(
        self,
        parts: HookParts,
        clock: Clock,
        metrics: Metrics,
        *,
        authenticator: Authenticator,
        access: Access,
        rules: EventRules,
        max_publication_bytes: int,
        dev: bool = False,
    ) -> None:
        self._parts = parts
        self._metrics = metrics
        self._calls = calls = Calls(parts.askers, parts.settings, clock, metrics)
        deny = parts.settings.on_failure == "deny"
        notices = parts.notices
        self.notify: Notify = nobody if notices is None else notices.put
        follows = notices is not None and not notices.events.isdisjoint(
            (OPENED, CLOSED)
        )
        self.sessions = SessionHooks(calls, authenticator, clock, deny=deny, dev=dev)
        self.connections = ConnectionHooks(
            calls, clock, self.notify if follows else None
        )
        self.channels = ChannelHooks(calls, access, max_publication_bytes, deny=deny)
        self.events = EventHooks(calls, rules, deny=deny)
        self._measure()

    def _measure(self) -> None:
        gauge, calls, notices = self._metrics.gauge, self._calls, self._parts.notices
        gauge("hook_calls_waiting", "Questions under way", lambda: calls.waiting)
        gauge(
            "hook_points_resting",
            "Points that are not asked at the moment, after failures",
            lambda: sum(calls.resting(point) for point in Point),
        )
        gauge(
            "webhook_waiting",
            "Notices that wait to be delivered",
            lambda: 0 if notices is None else notices.waiting,
        )

    async def start(self) -> None:
        """
        Make ready what answers.

        Raises:
            ConfigError: If the developer's ``on_start`` fails.
        """
        for asker in self._parts.askers:
            await asker.start()
            points = sorted(point.value for point in asker.points)
            log.info("hooks_used", place=asker.place, points=points)
        notices, metrics = self._parts.notices, self._metrics
        if notices is not None:
            notices.on_settled = lambda outcome, number: metrics.notices.labels(
                outcome
            ).inc(number)
            notices.on_failed = metrics.notice_failures.inc
            notices.start()

    async def aclose(self) -> None:
        """Tell what is still to be told, and let go; takes a bounded time."""
        await self.connections.aclose()
        if self._parts.notices is not None:
            await self._parts.notices.aclose()
        for asker in self._parts.askers:
            await asker.aclose()
