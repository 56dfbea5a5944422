"""
Who a session acts for: the shell around the verification of tokens.

Nearly always the keys are here and the answer is immediate. Only for a token that names
a key not seen before is the issuer asked, who may have rotated its keys.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from realtime.clock import Clock
from realtime.core.access import ANONYMOUS, Identity, Kind
from realtime.core.tokens import KeySet, TokenError, TokenProblem, verify
from realtime.errors import (
    TOKEN_EXPIRED,
    UNAUTHORIZED,
    CommandError,
    KeysUnavailable,
)
from realtime.settings import AuthSettings


class KeySource(Protocol):
    """Where the keys come from."""

    @property
    def keys(self) -> KeySet:
        """The keys known now."""

    async def refresh(self) -> None:
        """
        Return when ``keys`` are as new as can be.

        Raises:
            KeysUnavailable: If they could not be fetched, or were a moment ago.
        """


class StaticKeys:
    """Keys that stay as they were configured."""

    def __init__(self, keys: KeySet) -> None:
        self.keys = keys

    async def refresh(self) -> None:
        """Do nothing: they are as new as can be."""


class Authenticator:
    """
    Turns what a client presents into an identity, or an error it may be told.

    Without a *source*, the keys are those of *settings*.
    """

    def __init__(
        self,
        settings: AuthSettings,
        source: KeySource | None,
        clock: Clock,
        dev: bool = False,
    ) -> None:
        self._settings = settings
        self._source = source or StaticKeys(KeySet.configured(settings))
        self._clock = clock
        self._dev = dev

    async def authenticate(self, token: str | None) -> Identity:
        """
        Return whom *token* speaks for; without one, the anonymous identity.

        Under ``--dev`` everybody is a developer, by the name of a token that is good.

        Raises:
            CommandError: UNAUTHORIZED, or TOKEN_EXPIRED for a token that was good.
            KeysUnavailable: If the issuer's keys are needed and cannot be had now.
        """
        identity = self.try_authenticate(token)
        if identity is not None:
            return identity
        assert token is not None
        try:
            await self._source.refresh()
        except KeysUnavailable:
            if self._dev:
                return _developer(ANONYMOUS)
            raise
        try:
            return self._verify(token)
        except TokenError as exc:
            return self._refused(exc)

    def try_authenticate(self, token: str | None) -> Identity | None:
        """
        Return whom *token* speaks for, or None if the issuer must be asked first.

        Raises:
            CommandError: As ``authenticate`` does.
        """
        if token is None:
            return self._without_token()
        try:
            return self._verify(token)
        except TokenError as exc:
            if exc.kind is TokenProblem.UNKNOWN_KEY:
                return None
            return self._refused(exc)

    def _without_token(self) -> Identity:
        if self._dev:
            return _developer(ANONYMOUS)
        if self._settings.anonymous:
            return ANONYMOUS
        raise CommandError(
            UNAUTHORIZED,
            "token: it is missing, and anonymous sessions are not allowed here",
            field="token",
        )

    def _verify(self, token: str) -> Identity:
        identity = verify(
            token,
            self._source.keys,
            self._clock.time(),
            self._settings,
            require_expiry=not self._dev,
        )
        return _developer(identity) if self._dev else identity

    def _refused(self, exc: TokenError) -> Identity:
        if exc.kind is TokenProblem.EXPIRED:
            # Under --dev too: an app is developed to refresh its token in time.
            raise CommandError(TOKEN_EXPIRED, exc.reason, field="token") from exc
        if self._dev:
            return _developer(ANONYMOUS)
        raise CommandError(UNAUTHORIZED, exc.reason, field="token") from exc


def _developer(identity: Identity) -> Identity:
    return replace(identity, kind=Kind.DEVELOPER)
