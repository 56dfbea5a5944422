"""The client's life: how it is made, connects, reports where it stands, and ends."""

from __future__ import annotations

import asyncio
import os
import random as random_module
import ssl as ssl_module
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from realtime_client.backoff import Backoff
from realtime_client.clock import Bell, Clock, SystemClock
from realtime_client.codec import CodecName, make_codec
from realtime_client.errors import (
    ClientClosed,
    ConnectTimeout,
    FlushTimeout,
    NotConnected,
    RealtimeError,
)
from realtime_client.hooks import Hooks, log
from realtime_client.parts import Parts
from realtime_client.queue import EventQueue, MemoryQueue
from realtime_client.replies import Welcome
from realtime_client.sender import MAX_IN_FLIGHT, Sender
from realtime_client.server_clock import ServerClock
from realtime_client.session import Session
from realtime_client.sqlite_queue import open_queue
from realtime_client.subscriptions import Subscriptions
from realtime_client.supervisor import Supervisor
from realtime_client.tokens import Tokens, TokenSource
from realtime_client.transport import (
    MAX_MESSAGE_BYTES,
    Endpoint,
    open_socket,
    websocket_url,
)
from realtime_client.values import (
    Limits,
    Notice,
    Rejection,
    State,
    StateChange,
)

CLOSE_FLUSH_S = 5.0


class BaseClient:
    """
    Everything but what flows: construction, the state, connecting, flushing, closing.

    See ``RealtimeClient`` for the arguments.
    """

    def __init__(
        self,
        url: str,
        *,
        token: TokenSource = None,
        device: str | None = None,
        secret: str | None = None,
        queue: EventQueue | str | os.PathLike[str] | None = None,
        tracking: bool = True,
        codec: CodecName = "json",
        keepalive_s: float = 25.0,
        batch_interval_ms: float = 50.0,
        max_in_flight: int = MAX_IN_FLIGHT,
        close_flush_s: float = CLOSE_FLUSH_S,
        headers: Mapping[str, str] | None = None,
        ssl: ssl_module.SSLContext | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        compression: bool = True,
        on_state: Callable[[StateChange], object] | None = None,
        on_rejected: Callable[[Rejection], object] | None = None,
        on_notice: Callable[[Notice], object] | None = None,
        clock: Clock | None = None,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self._endpoint = Endpoint(
            websocket_url(url),
            dict(headers or {}),
            ssl,
            max_message_bytes,
            compression,
        )
        self._clock = clock or SystemClock()
        self._close_flush_s = close_flush_s
        self._hooks = Hooks(on_state, on_rejected, on_notice)
        self._bell = Bell(self._clock)
        self._callbacks: set[asyncio.Task[Any]] = set()
        self._closed = False
        codec_made = make_codec(codec)
        self._queue = open_queue(queue, device, secret) if tracking else None
        self._sender = self._make_sender(batch_interval_ms / 1000, max_in_flight)
        self._subscriptions = Subscriptions(lambda: Backoff(random), self._hooks.notice)
        self._server_clock = ServerClock()
        self._parts = Parts(
            codec=codec_made,
            clock=self._clock,
            sender=self._sender,
            subscriptions=self._subscriptions,
            tokens=Tokens(token),
            server_clock=self._server_clock,
            hooks=self._hooks,
            make_backoff=lambda: Backoff(random),
            keepalive_s=keepalive_s,
            on_progress=self._bell.ring,
        )
        self._supervisor = Supervisor(
            self._open_session,
            self._parts.tokens,
            self._clock,
            Backoff(random),
            Hooks(self._state_changed),
            self._bell,
        )

    def _make_sender(self, interval_s: float, max_in_flight: int) -> Sender | None:
        if self._queue is None:
            return None
        return Sender(
            self._queue,
            batch_interval_s=interval_s,
            max_in_flight=max_in_flight,
            on_rejected=self._hooks.rejected,
            on_notice=self._hooks.notice,
        )

    async def _open_session(
        self, token: str | None, on_welcome: Callable[[Welcome], None]
    ) -> Session:
        socket = await open_socket(self._endpoint, self._parts.codec.subprotocol)
        return Session(socket, self._parts, token, on_welcome)

    # -- where it stands ---------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where the client stands."""
        return self._supervisor.state

    @property
    def error(self) -> RealtimeError | None:
        """What ended the last attempt to connect; None once one has succeeded."""
        return self._supervisor.error

    @property
    def device(self) -> str | None:
        """The name under which the events are numbered; None if not tracking."""
        return None if self._queue is None else self._queue.device

    @property
    def acked(self) -> int:
        """The highest number that the server has acknowledged."""
        return 0 if self._queue is None else self._queue.acked

    @property
    def pending(self) -> int:
        """How many events are not acknowledged yet."""
        return 0 if self._queue is None else self._queue.count

    @property
    def user(self) -> str | None:
        """The user that the token names; None without a connection or a user."""
        welcome = self._welcome()
        return None if welcome is None else welcome.user

    @property
    def limits(self) -> Limits | None:
        """What the server allows; None without a connection."""
        welcome = self._welcome()
        return None if welcome is None else welcome.limits

    def server_time(self) -> float:
        """
        Return the server's clock now, in seconds since the epoch.

        It is measured at every connection and ping, by the fastest round trip.

        Raises:
            NotConnected: If there never was a connection.
        """
        now = self._server_clock.now(self._clock.monotonic())
        if now is None:
            raise NotConnected("the server's clock is known after the first connection")
        return now

    def _welcome(self) -> Welcome | None:
        session = self._supervisor.session
        return None if session is None else session.welcome

    # -- connecting --------------------------------------------------------------------

    def start(self) -> None:
        """
        Begin to connect in the background, and stay connected. Raises ClientClosed.

        For applications that must work without a network: do not wait for ``connect``.
        """
        if self._closed:
            raise ClientClosed("the client was closed; make a new one")
        self._supervisor.start()

    async def connect(self, timeout_s: float | None = None) -> None:
        """
        Start, and wait until the server has said welcome for the first time.

        An unreachable server is tried again and again.

        Raises:
            ConnectTimeout: If there was no welcome in *timeout_s*; trying goes on.
            RealtimeError: If trying again is pointless: the server refuses the token
                or the device, is no realtime server, or the client was closed.
        """
        self.start()
        supervisor = self._supervisor
        await self._bell.wait_for(
            lambda: supervisor.welcomed or supervisor.state is State.CLOSED, timeout_s
        )
        if supervisor.state is State.CLOSED:
            raise self._end()
        if not supervisor.welcomed:
            raise ConnectTimeout(
                f"no welcome within {timeout_s:g} s; last: {supervisor.error}"
            ) from supervisor.error

    def retry_now(self) -> None:
        """Cut the present back-off short: the network is back, the app is in front."""
        self._supervisor.hurry()

    async def aclose(self) -> int:
        """
        Wait a moment for acknowledgements, then close for good.

        Returns how many events are left without acknowledgement. In a file they are
        sent the next time; in memory they are lost, which is logged. Closing twice is
        harmless.
        """
        if not self._closed:
            self._closed = True
            try:
                await self._flush_at_end()
            finally:
                await self._close()
        return self.pending

    async def _flush_at_end(self) -> None:
        if self.state is not State.ONLINE or self._close_flush_s <= 0:
            return
        try:
            await self.flush(self._close_flush_s)
        except RealtimeError as exc:
            log.debug("flush at the end: %s", exc)

    async def _close(self) -> None:
        await self._supervisor.stop()
        self._subscriptions.close_all()
        # A callback may itself have called aclose().
        callbacks = self._callbacks - {asyncio.current_task()}
        for task in callbacks:
            task.cancel()
        await asyncio.gather(*callbacks, return_exceptions=True)
        if self._queue is None:
            return
        self._queue.close()
        if self.pending and isinstance(self._queue, MemoryQueue):
            log.warning("%d events were never acknowledged and are lost", self.pending)

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _end(self) -> RealtimeError:
        """Return why the client is closed."""
        return self.error or ClientClosed("the client was closed")

    def _state_changed(self, change: StateChange) -> None:
        if change.state is State.CLOSED and change.error is not None:
            self._subscriptions.fail_all(change.error)
        self._hooks.state(change)

    # -- waiting for acknowledgements --------------------------------------------------

    async def flush(self, timeout_s: float | None = None) -> None:
        """
        Wait until every event tracked so far is acknowledged.

        Raises:
            FlushTimeout: If some are not within *timeout_s*; they stay queued.
            NotConnected: If the client was not started.
            RealtimeError: If it is hopeless: the client is closed, or the server
                refuses this device's events as a whole.
        """
        queue = self._tracking()
        if not queue.count:
            return
        if not self._supervisor.started:
            raise NotConnected("flush: call connect() or start() first")
        target = queue.removed + queue.count
        await self._bell.wait_for(
            lambda: queue.removed >= target or self._hopeless() is not None, timeout_s
        )
        if queue.removed >= target:
            return
        hopeless = self._hopeless()
        if hopeless is not None:
            raise hopeless
        left = target - queue.removed
        raise FlushTimeout(f"{left} events are not acknowledged after {timeout_s:g} s")

    def _hopeless(self) -> RealtimeError | None:
        """Return why no acknowledgement is to be expected, if that is so."""
        if self.state is State.CLOSED:
            return self._end()
        return None if self._sender is None else self._sender.refusal

    def _tracking(self) -> EventQueue:
        if self._queue is None:
            raise RealtimeError("this client was made with tracking=False")
        return self._queue

    # -- the connection of the moment --------------------------------------------------

    def _session(self) -> Session:
        session = self._supervisor.session
        if session is not None:
            return session
        if self.state is State.CLOSED:
            raise self._end()
        raise NotConnected("there is no connection now")

    def _wake(self) -> None:
        session = self._supervisor.session
        if session is not None:
            session.wake()
