"""
What becomes of events, when a hook has a word in it.

Events come here judged: well-formed, granted, their time corrected. Each keeps its
number whatever the hook answers, so that exactly-once counting is not concerned: a
refused event uses up its number, and a batch that is sent again is asked about again,
but what the ledger has counted is not counted anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from realtime import hooks
from realtime.core.events import EventRules
from realtime.core.hook_answers import event_answers, reason_of
from realtime.engine.batches import rejection_of
from realtime.engine.hooks.calls import Calls
from realtime.errors import (
    EVENT_REFUSED,
    UNAVAILABLE,
    CommandError,
    HookUnavailable,
    RejectedEvent,
)
from realtime.hooks import (
    ChangeEvent,
    Deny,
    EventAnswer,
    EventBatch,
    Point,
    RejectEvent,
)
from realtime.types import ConnectionId, DeviceId, Event, UserId
from realtime.wire.messages import Rejection

REFUSED = "the server's own rules do not take it"


class EventHooks:
    """
    Asks ``on_events``. If it fails, events are not taken (with *deny*), or kept.
    """

    def __init__(self, calls: Calls, rules: EventRules, *, deny: bool) -> None:
        self._calls = calls
        self._rules = rules
        self._deny = deny
        self.used = Point.ON_EVENTS in calls

    async def ask(
        self,
        judged: Sequence[Event | Rejection],
        device: DeviceId,
        user: UserId | None,
        connection: ConnectionId | None = None,
    ) -> list[Event | Rejection]:
        """
        Return *judged*, with the events as the hook has them, or their rejections.

        Raises:
            CommandError: UNAVAILABLE if the hook fails: nothing is decided then.
        """
        events = [one for one in judged if type(one) is Event]
        if not events:
            return list(judged)
        batch = EventBatch(device, user, tuple(map(_shown, events)), connection)
        try:
            answers = await self._calls.ask(
                Point.ON_EVENTS, batch, lambda told: event_answers(told, len(events))
            )
        except Deny as exc:
            answers = [RejectEvent(exc.reason)] * len(events)
        except HookUnavailable as exc:
            if self._deny:
                raise CommandError(
                    UNAVAILABLE, str(exc), retry_after_s=exc.retry_after_s
                ) from exc
            answers = None
        if answers is None:
            return list(judged)
        told = iter(answers)
        return [
            self._settled(one, next(told)) if type(one) is Event else one
            for one in judged
        ]

    def _settled(self, event: Event, answer: EventAnswer) -> Event | Rejection:
        if answer is None:
            return event
        try:
            if isinstance(answer, ChangeEvent):
                return self._changed(event, answer)
            reason = reason_of(answer.reason, REFUSED)
            raise RejectedEvent(EVENT_REFUSED, reason)
        except RejectedEvent as exc:
            return rejection_of(event.seq, exc)

    def _changed(self, event: Event, change: ChangeEvent) -> Event:
        properties = dict(change.properties)
        self._rules.check_properties(properties)
        return Event(
            event.name, event.device, event.seq, event.at, event.user, properties
        )


def _shown(event: Event) -> hooks.Event:
    """Show an event to a hook, whose thread must not be able to change ours."""
    properties = MappingProxyType(event.properties)
    return hooks.Event(event.seq, event.name, event.at, event.user, properties)
