"""All hooks of one node: what each room of them is made of, its start and its end."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from realtime.clock import Clock
from realtime.core.access import Access
from realtime.core.events import EventRules
from realtime.engine.auth import Authenticator
from realtime.engine.hooks.asker import Asker
from realtime.engine.hooks.calls import Calls
from realtime.engine.hooks.channels import ChannelHooks
from realtime.engine.hooks.connections import ConnectionHooks
from realtime.engine.hooks.events import EventHooks
from realtime.engine.hooks.sessions import SessionHooks
from realtime.engine.metrics import Metrics
from realtime.engine.notify import Notify
from realtime.hooks import Point
from realtime.settings import HookSettings, LimitSettings

log = structlog.get_logger(__name__)


class Hooks:
    """
    The developer's own rules. You must ``start`` it before use, ``aclose`` it after.

    Without askers, every room does what would be done without it.
    """

    def __init__(
        self,
        askers: Sequence[Asker],
        settings: HookSettings,
        clock: Clock,
        metrics: Metrics,
        *,
        authenticator: Authenticator,
        access: Access,
        rules: EventRules,
        limits: LimitSettings,
        notify: Notify | None = None,
        dev: bool = False,
    ) -> None:
        self._askers = askers
        self._calls = calls = Calls(askers, settings, clock, metrics)
        deny = settings.on_failure == "deny"
        self.sessions = SessionHooks(calls, authenticator, clock, deny=deny, dev=dev)
        self.connections = ConnectionHooks(calls, clock, notify)
        self.channels = ChannelHooks(
            calls, access, limits.max_publication_bytes, deny=deny
        )
        self.events = EventHooks(calls, rules, deny=deny)
        metrics.gauge(
            "hooks_resting",
            "Points that are not asked at the moment, after failures",
            lambda: sum(calls.resting(point) for point in Point),
        )
        metrics.gauge(
            "hooks_waiting", "Questions to hooks under way", lambda: calls.waiting
        )

    async def start(self) -> None:
        """
        Make ready what answers.

        Raises:
            ConfigError: If the developer's ``on_start`` fails.
        """
        for asker in self._askers:
            await asker.start()
            log.info("hooks_used", place=asker.place, points=sorted(asker.points))

    async def aclose(self) -> None:
        """Tell what is still to be told, and let go; takes a bounded time."""
        await self.connections.aclose()
        for asker in self._askers:
            await asker.aclose()
