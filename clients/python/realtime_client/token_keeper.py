"""Replacing a connection's token before it expires, without reconnecting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Never

from realtime_client.backoff import Backoff
from realtime_client.clock import Clock, Signal
from realtime_client.errors import BadReply, CommandError, RealtimeError
from realtime_client.hooks import Hooks
from realtime_client.replies import Refreshed, Reply
from realtime_client.tokens import REFRESH_AT, Tokens
from realtime_client.values import RefreshFailed

SOONEST_S = 1.0


class TokenKeeper:
    """
    Refreshes one connection's token at 80 % of its life, or when the server asks.

    *refresh* sends the command and returns its reply; *on_refreshed* is told when the
    new token expires (server's clock) and must call ``expires_in``. ``expired`` is true
    between the server's ``token_expired`` and the reply to the refresh that follows.
    """

    def __init__(
        self,
        tokens: Tokens,
        clock: Clock,
        backoff: Backoff,
        hooks: Hooks,
        refresh: Callable[[str], Awaitable[Reply]],
        on_refreshed: Callable[[float | None], None],
    ) -> None:
        self.expired = False
        self._tokens = tokens
        self._clock = clock
        self._backoff = backoff
        self._hooks = hooks
        self._refresh = refresh
        self._on_refreshed = on_refreshed
        self._due: float | None = None
        self._changed = Signal(clock)

    def expires_in(self, left_s: float | None) -> None:
        """The token in force lasts this long; None: for ever."""
        if left_s is None or not self._tokens.renewable:
            self._due = None
        else:
            delay_s = max(left_s * REFRESH_AT, SOONEST_S)
            self._due = self._clock.monotonic() + delay_s
        self._changed.set()

    def expire(self) -> None:
        """The server says that the token has expired."""
        self.expired = True
        if self._tokens.renewable:
            self._due = self._clock.monotonic()
            self._changed.set()

    async def run(self) -> Never:
        """Refresh whenever it is due, until cancelled."""
        while True:
            await self._changed.wait(self._due)
            self._changed.clear()
            if self._due is not None and self._clock.monotonic() >= self._due:
                await self._renew()

    async def _renew(self) -> None:
        try:
            reply = await self._refresh(await self._tokens.renew())
            if not isinstance(reply, Refreshed):
                raise BadReply(f"refresh was answered with {type(reply).__name__}")
        except RealtimeError as exc:
            if isinstance(exc, CommandError):
                self._tokens.forget()  # it was refused: no connection may begin with it
            delay_s = self._backoff.next_delay(exc.retry_after_s)
            self._due = self._clock.monotonic() + delay_s
            self._hooks.notice(RefreshFailed(exc, delay_s))
            return
        self._backoff.reset()
        self.expired = False
        self._on_refreshed(reply.expires_at)
