"""
Keeping connected: attempt, wait, attempt again, until told to stop or hopeless.

    OFFLINE --start--> CONNECTING --welcome--> ONLINE
       ^                   |                     |
       '------ back-off ---+---------------------'
    CLOSED follows any of them: after a final error, or when the application closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from realtime_client.backoff import Backoff
from realtime_client.clock import Bell, Clock, Signal
from realtime_client.errors import (
    GoingAway,
    HandshakeRefused,
    RealtimeError,
    Retry,
)
from realtime_client.hooks import Hooks, log
from realtime_client.replies import Welcome
from realtime_client.session import Session
from realtime_client.tokens import Tokens
from realtime_client.values import State, StateChange

STABLE_S = 10.0  # a connection that lasted this long was no failed attempt

OpenSession = Callable[[str | None, Callable[[Welcome], None]], Awaitable[Session]]


class Supervisor:
    """
    Owns the connection and the state.

    *open_session* connects and returns a session that has not said hello yet.
    ``error`` is what ended the last attempt, None once one has succeeded; *bell* rings
    at every change of state.
    """

    def __init__(
        self,
        open_session: OpenSession,
        tokens: Tokens,
        clock: Clock,
        backoff: Backoff,
        hooks: Hooks,
        bell: Bell,
    ) -> None:
        self.state = State.OFFLINE
        self.error: RealtimeError | None = None
        self.session: Session | None = None
        self._open_session = open_session
        self._tokens = tokens
        self._clock = clock
        self._backoff = backoff
        self._hooks = hooks
        self._bell = bell
        self._hurry = Signal(clock)
        self.welcomed = (
            False  # once at least: the address and the credentials are right
        )
        self._online_since: float | None = None
        self._renewed = False
        self._task: asyncio.Task[None] | None = None

    @property
    def started(self) -> bool:
        """Whether ``start`` was called."""
        return self._task is not None

    def start(self) -> None:
        """Begin to connect, in the background. Starting twice is harmless."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def hurry(self) -> None:
        """Do not wait for the rest of the present back-off."""
        self._hurry.set()

    async def stop(self) -> None:
        """End the connection and make no other. Stopping twice is harmless."""
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            if task is not asyncio.current_task():  # the token function may close, too
                await asyncio.wait([task])
        self._set(StateChange(State.CLOSED))

    # -- the task ----------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._set(StateChange(State.CONNECTING))
            error = await self._attempt()
            if self._is_final(error):
                self._set(StateChange(State.CLOSED, error))
                return
            delay_s = self._delay(error)
            self._hurry.clear()
            self._set(StateChange(State.OFFLINE, error, delay_s))
            await self._hurry.wait(self._clock.monotonic() + delay_s)

    async def _attempt(self) -> RealtimeError:
        """Connect and stay so as long as possible; return why that ended."""
        self._online_since = None
        try:
            token = await self._tokens.current()
            self.session = await self._open_session(token, self._online)
            await self.session.run()
        except RealtimeError as exc:
            return exc
        except Exception as exc:
            log.exception("a defect in the client")
            return RealtimeError(f"a defect in the client: {exc!r}")
        finally:
            self.session = None

    def _online(self, welcome: Welcome) -> None:
        self.welcomed = True
        self._renewed = False
        self._online_since = self._clock.monotonic()
        self._set(StateChange(State.ONLINE))

    def _is_final(self, error: RealtimeError) -> bool:
        if error.retry is Retry.REFRESH:
            return self._is_token_used_up()
        if isinstance(error, HandshakeRefused) and self.welcomed:
            return False  # this address was right before: a proxy may be starting
        return error.retry is Retry.NEVER

    def _is_token_used_up(self) -> bool:
        """Whether a new token cannot help, or did not: one is tried per welcome."""
        if self._renewed or not self._tokens.renewable:
            return True
        self._renewed = True
        self._tokens.forget()
        return False

    def _delay(self, error: RealtimeError) -> float:
        now = self._clock.monotonic()
        if isinstance(error, GoingAway):
            # As planned: no attempt has failed, and the server has spread its clients.
            self._backoff.reset()
            return max(error.back_at - now, 0.0)
        since = self._online_since
        if since is not None and now - since >= STABLE_S:
            self._backoff.reset()
        return self._backoff.next_delay(error.retry_after_s)

    def _set(self, change: StateChange) -> None:
        if self.state is State.CLOSED:
            return  # for good, whatever the task still has to say
        self.state = change.state
        if change.error is not None or change.state is State.ONLINE:
            self.error = change.error
        self._bell.ring()
        self._hooks.state(change)
