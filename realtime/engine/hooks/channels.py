"""
Whether somebody may subscribe or publish, when a hook has a word in it.

The rules of token and namespace are asked first. What is no channel at all stays so;
what they merely do not grant, the hook may. Backends with an API key are not asked
about: they act for the same developer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from realtime.core.access import Access, Identity, Kind
from realtime.core.hook_answers import (
    data_of,
    decision_of,
    publication_of,
    reason_of,
)
from realtime.engine.hooks.calls import Calls
from realtime.errors import (
    PERMISSION_DENIED,
    UNAVAILABLE,
    CommandError,
    HookUnavailable,
)
from realtime.hooks import (
    UNCHANGED,
    ChangePublication,
    Deny,
    Point,
    PublishAnswer,
    PublishRequest,
    SubscribeRequest,
    Wants,
)
from realtime.types import ConnectionId, JSONText

REFUSED = "the server's own rules do not allow it"

Content = tuple[JSONText, Mapping[str, str] | None]
"""The data and the tags of a publication."""


class ChannelHooks:
    """
    Asks ``authorise_subscribe`` and ``on_publish``.

    If a hook fails, nothing is allowed (with *deny*), or what the rules allow.
    """

    def __init__(
        self, calls: Calls, access: Access, max_data_bytes: int, *, deny: bool
    ) -> None:
        self._calls = calls
        self._access = access
        self._max_data_bytes = max_data_bytes
        self._deny = deny
        self.subscribes = Point.AUTHORISE_SUBSCRIBE in calls
        self.publishes = Point.ON_PUBLISH in calls

    async def check_subscribe(
        self, identity: Identity, channel: str, connection: ConnectionId | None = None
    ) -> None:
        """
        Raise unless *identity* may subscribe to *channel*.

        Raises:
            CommandError: As ``Access.check_subscribe``; UNAVAILABLE if the hook fails.
        """
        refusal = _refusal(self._access.check_subscribe, identity, channel)
        if not self.subscribes or identity.kind is Kind.BACKEND:
            allowed = None
        else:
            request = SubscribeRequest(
                channel, identity.user, refusal is None, connection
            )
            allowed = await self._ask(
                Point.AUTHORISE_SUBSCRIBE, request, decision_of, refusal
            )
        _settle(allowed, refusal)

    async def check_read(
        self,
        identity: Identity | None,
        channel: str,
        wants: Wants,
        connection: ConnectionId | None = None,
    ) -> None:
        """
        Raise if the hook refuses *identity* what the rules have let him read.

        Raises:
            CommandError: PERMISSION_DENIED, or UNAVAILABLE if the hook fails.
        """
        if not self.subscribes or identity is None or identity.kind is Kind.BACKEND:
            return
        request = SubscribeRequest(channel, identity.user, True, connection, wants)
        allowed = await self._ask(Point.AUTHORISE_SUBSCRIBE, request, decision_of, None)
        _settle(allowed, None)

    async def check_publish(
        self,
        identity: Identity,
        channel: str,
        data: JSONText,
        tags: Mapping[str, str] | None = None,
        connection: ConnectionId | None = None,
    ) -> Content:
        """
        Return what is to be published, unless *identity* may not.

        Raises:
            CommandError: As ``Access.check_publish``; UNAVAILABLE if the hook fails.
        """
        refusal = _refusal(self._access.check_publish, identity, channel)
        if not self.publishes or identity.kind is Kind.BACKEND:
            _settle(None, refusal)
            return data, tags
        granted = refusal is None
        request = PublishRequest(
            channel, identity.user, granted, data, tags or {}, connection
        )
        content: Content = (data, tags)

        def read(answer: object) -> bool | None:
            nonlocal content
            allowed, content = self._read(publication_of(answer), content)
            return allowed

        allowed = await self._ask(Point.ON_PUBLISH, request, read, refusal)
        _settle(allowed, refusal)
        return content

    def _read(
        self, answer: PublishAnswer, content: Content
    ) -> tuple[bool | None, Content]:
        if not isinstance(answer, ChangePublication):
            return answer, content
        data, tags = content
        data = data_of(answer, data, self._max_data_bytes)
        if answer.tags is not UNCHANGED:
            tags = dict(answer.tags) or None
        return answer.allow, (data, tags)

    async def _ask(
        self,
        point: Point,
        request: object,
        read: Callable[[object], bool | None],
        refusal: CommandError | None,
    ) -> bool | None:
        try:
            return await self._calls.ask(point, request, read)
        except Deny as exc:
            reason = reason_of(exc.reason, REFUSED)
            raise CommandError(PERMISSION_DENIED, reason, field="channel") from exc
        except HookUnavailable as exc:
            # What the rules refuse may be what only the hook grants: nobody knows.
            if self._deny or refusal is not None:
                raise CommandError(
                    UNAVAILABLE, str(exc), retry_after_s=exc.retry_after_s
                ) from exc
            return None


def _refusal(
    check: Callable[[Identity, str], None], identity: Identity, channel: str
) -> CommandError | None:
    """Return why the rules do not grant it; None if they do."""
    try:
        check(identity, channel)
    except CommandError as exc:
        if exc.code is not PERMISSION_DENIED:
            raise
        return exc
    return None


def _settle(allowed: bool | None, refusal: CommandError | None) -> None:
    if allowed is False:
        raise CommandError(PERMISSION_DENIED, REFUSED, field="channel")
    if allowed is None and refusal is not None:
        raise refusal
