"""Who somebody is, when a hook has a word in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from realtime.clock import Clock
from realtime.core.access import Identity, Kind
from realtime.core.hook_answers import identity_of_user, reason_of, user_of
from realtime.engine.auth import Authenticator
from realtime.engine.hooks.calls import Calls
from realtime.errors import UNAUTHORIZED, CommandError, HookUnavailable
from realtime.hooks import (
    ConnectRequest,
    Deny,
    Point,
    Purpose,
)
from realtime.wire.messages import Hello, Refresh

if TYPE_CHECKING:
    from realtime.engine.connection import Connection

REFUSED = "the server's own rules let nobody in with this"


class SessionHooks:
    """
    Asks ``authenticate``, then the token.

    If the hook fails, nobody is let in (with *deny*), or those whose token is good.
    """

    def __init__(
        self,
        calls: Calls,
        authenticator: Authenticator,
        clock: Clock,
        *,
        deny: bool,
        dev: bool,
    ) -> None:
        self._calls = calls
        self._authenticator = authenticator
        self._clock = clock
        self._deny = deny
        self._dev = dev
        self._asked = Point.AUTHENTICATE in calls

    async def hello(self, connection: Connection, command: Hello) -> Identity:
        """Return who says hello. Raises as ``Authenticator.authenticate`` does."""
        if not self._asked:
            return await self._authenticator.authenticate(command.token)
        return await self._ask(
            ConnectRequest(
                command.token,
                Purpose.CONNECT,
                connection.remote,
                connection.id,
                command.device,
                command.client,
            )
        )

    def try_hello(self, command: Hello) -> Identity | None:
        """Do ``hello`` if nobody must be asked; None: somebody must."""
        if self._asked:
            return None
        return self._authenticator.try_authenticate(command.token)

    async def refresh(self, connection: Connection, command: Refresh) -> Identity:
        """Return whom the new token names. Raises as ``authenticate`` does."""
        if not self._asked:
            return await self._authenticator.authenticate(command.token)
        before = connection.session.identity
        return await self._ask(
            ConnectRequest(
                command.token,
                Purpose.REFRESH,
                connection.remote,
                connection.id,
                connection.session.device,
                user=None if before is None else before.user,
            )
        )

    async def authenticate(self, token: str | None, remote: str = "") -> Identity:
        """
        Return who sends an HTTP request.

        Raises:
            CommandError: UNAUTHORIZED or TOKEN_EXPIRED.
            Unavailable: If the issuer's keys, or the hook, cannot be had now.
        """
        if not self._asked:
            return await self._authenticator.authenticate(token)
        return await self._ask(ConnectRequest(token, Purpose.REQUEST, remote))

    async def _ask(self, request: ConnectRequest) -> Identity:
        failure: HookUnavailable | None = None
        try:
            found = await self._calls.ask(Point.AUTHENTICATE, request, self._identity)
        except Deny as exc:
            reason = reason_of(exc.reason, REFUSED)
            raise CommandError(UNAUTHORIZED, reason, field="token") from exc
        except HookUnavailable as exc:
            if self._deny:
                raise
            failure = exc
        else:
            if found is not None:
                return found
        try:
            return await self._authenticator.authenticate(request.token)
        except CommandError:
            if failure is not None:  # perhaps only the hook knows such tokens
                raise failure from None
            raise

    def _identity(self, answer: object) -> Identity | None:
        user = user_of(answer)
        if user is None:
            return None
        identity = identity_of_user(user, self._clock.time())
        return replace(identity, kind=Kind.DEVELOPER) if self._dev else identity
