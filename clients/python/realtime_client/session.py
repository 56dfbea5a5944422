"""
One connection, from hello to its end: the only place that reads from a socket.

Four tasks share it: one reads, one sends what has become due, one watches for silence
and one keeps the token fresh. The first of them to fail ends the connection and says
why. What must outlive the connection (events, wanted channels) is kept elsewhere and
told of the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Never

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from realtime_client.clock import Signal
from realtime_client.codec import to_json
from realtime_client.commands import Commands
from realtime_client.errors import (
    BadReply,
    CommandError,
    Disconnected,
    GoingAway,
    QueueError,
    Retry,
)
from realtime_client.hooks import log
from realtime_client.keepalive import Check, Keepalive
from realtime_client.parsing import parse
from realtime_client.parts import Parts
from realtime_client.replies import (
    Ack,
    ErrorReply,
    GapPush,
    Goodbye,
    JoinPush,
    LeavePush,
    Push,
    Refreshed,
    Reply,
    SlowDown,
    TokenExpired,
    Unsubscribed,
    Welcome,
)
from realtime_client.subscriptions import Action
from realtime_client.tasks import first_of
from realtime_client.token_keeper import TokenKeeper
from realtime_client.transport import disconnected
from realtime_client.values import Json, ServerError
from realtime_client.version import USER_AGENT

UNAVAILABLE = 114  # the one error of hello after which the socket stays open
SAME_SOCKET_S = 5.0  # a hello that may pass this soon is repeated on the same socket


class Session:
    """What is said over one socket."""

    def __init__(
        self,
        socket: ClientConnection,
        parts: Parts,
        token: str | None,
        on_welcome: Callable[[Welcome], None],
    ) -> None:
        clock = parts.clock
        self.welcome: Welcome | None = None
        self._socket = socket
        self._parts = parts
        self._clock = clock
        self._token = token
        self._on_welcome = on_welcome
        self.commands = Commands(socket, parts.codec, clock, parts.server_clock)
        self._wake = Signal(clock)
        self._look = Signal(clock)
        self._keepalive = Keepalive(clock.monotonic())
        self._ping_due = False
        self._hello_due: float | None = clock.monotonic()
        self._resume = True  # subscribe with hello
        self._backoff = parts.make_backoff()
        self._keeper = TokenKeeper(
            parts.tokens,
            clock,
            parts.make_backoff(),
            parts.hooks,
            lambda token: self.commands.request("refresh", token=token),
            self._refreshed,
        )

    async def run(self) -> Never:
        """
        Speak until the connection ends.

        Raises:
            RealtimeError: Why it ended. Always.
        """
        try:
            await first_of(
                self._watch(), self._read(), self._pump(), self._keeper.run()
            )
        finally:
            self.welcome = None
            if self._parts.sender is not None:
                self._parts.sender.disconnected()
            self._parts.subscriptions.disconnected()
            self.commands.lose_all()
            await self._socket.close()
        raise AssertionError("each of the tasks runs until it fails")

    def wake(self) -> None:
        """Look at once for something to send."""
        self._wake.set()

    # -- sending what is due -----------------------------------------------------------

    async def _pump(self) -> None:
        while True:
            self._wake.clear()
            while (payload := self._due(self._clock.monotonic())) is not None:
                await self.commands.send(payload)
            await self._wake.wait(self._deadline())

    def _due(self, now: float) -> bytes | None:
        """Return the next payload that must go now."""
        if self._hello_due is not None:
            return self._hello(now) if now >= self._hello_due else None
        if self.welcome is None:
            return None
        if self._ping_due:
            self._ping_due = False
            return self.commands.encode_ping()
        if self._keeper.expired:
            return None
        return self._subscription(now) or self._events(now)

    def _deadline(self) -> float | None:
        if self._hello_due is not None:
            return self._hello_due
        if self.welcome is None or self._keeper.expired:
            return None
        sender = self._parts.sender
        times = (
            self._parts.subscriptions.deadline(),
            None if sender is None else sender.deadline(),
        )
        return min((one for one in times if one is not None), default=None)

    def _hello(self, now: float) -> bytes:
        self._hello_due = None
        self._keepalive.asked(now)
        self._look.set()
        fields: dict[str, Json] = {
            "sent_at": self._clock.time(),
            "keepalive_s": self._parts.keepalive_s,
            "client": USER_AGENT,
        }
        if self._token is not None:
            fields["token"] = self._token
        if self._parts.sender is not None:
            queue = self._parts.sender.queue
            fields.update(device=queue.device, secret=queue.secret, acked=queue.acked)
        if self._resume and (resumed := self._resumed(now)):
            fields["subscriptions"] = resumed
        return self.commands.encode("hello", partial(self._greeted, now), **fields)

    def _resumed(self, now: float) -> list[Json]:
        """Return the subscriptions that go with hello: what is wanted and fits."""
        room, resumed = self._parts.hello_room(), []
        while room > 0:
            action = self._parts.subscriptions.poll(now)
            if action is None:
                break
            id = self.commands.expect(partial(self._answered, action))
            resumed.append({"id": id, **action.fields})
            room -= len(to_json(resumed[-1]))
        return resumed

    def _subscription(self, now: float) -> bytes | None:
        action = self._parts.subscriptions.poll(now)
        if action is None:
            return None
        answered = partial(self._answered, action)
        return self.commands.encode(action.verb, answered, **action.fields)

    def _answered(self, action: Action, reply: Reply, size: int) -> None:
        now = self._clock.monotonic()
        self._parts.subscriptions.answered(action.channel, reply, size, now)
        self._wake.set()

    def _events(self, now: float) -> bytes | None:
        if self._parts.sender is None:
            return None
        frame = self._parts.sender.poll(now, self.commands.requests.ids)
        self._parts.on_progress()
        if frame is None:
            return None
        head: dict[str, Json] = {
            "type": "track",
            "id": frame.id,
            "first": frame.first,
            # Of this transmission, not of the batch: with it the server corrects `at`.
            "sent_at": self._clock.time(),
        }
        if frame.lost:
            head["lost"] = frame.lost
        return self._parts.codec.encode_events(head, frame.events)

    # -- silence -----------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await self._look.wait(self._keepalive.deadline())
            self._look.clear()
            check = self._keepalive.check(self._clock.monotonic())
            if check is Check.PING:
                self._ping_due = True
                self._wake.set()
            elif check is Check.GONE:
                self._socket.transport.abort()
                raise Disconnected(None, "nothing was heard from the server in time")

    # -- what comes in -----------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while True:
                frame = await self._socket.recv(decode=False)
                self._keepalive.heard(self._clock.monotonic())
                reply = parse(self._parts.codec.decode(frame))
                if reply is not None:
                    self._take(reply, len(frame))
        except ConnectionClosed as exc:
            raise disconnected(exc) from exc

    def _take(self, reply: Reply, size: int) -> None:
        if isinstance(reply, Push | GapPush | JoinPush | LeavePush):
            self._parts.subscriptions.push(reply, size)
        elif isinstance(reply, Ack | SlowDown):
            self._settle(reply)
        elif isinstance(reply, TokenExpired):
            self._keeper.expire()
        elif isinstance(reply, Goodbye):
            back_at = self._clock.monotonic() + max(reply.after_s, 0.0)
            raise GoingAway(reply.reason, back_at)
        elif self.commands.requests.answer(reply.id, reply, size):
            return
        elif isinstance(reply, ErrorReply):
            self._unasked(reply)
        elif isinstance(reply, Unsubscribed):
            self._parts.subscriptions.ended(reply)
        elif isinstance(reply, Refreshed):  # the backend has moved the token's end
            self._keeper.expired = False
            self._refreshed(reply.expires_at)

    def _settle(self, reply: Ack | SlowDown) -> None:
        sender = self._parts.sender
        if sender is None:
            return
        if isinstance(reply, SlowDown):
            sender.slow_down(reply.first, reply.retry_after_s, self._clock.monotonic())
        else:
            try:
                sender.acknowledged(reply.acked, reply.rejected)
            except QueueError:
                # Say, a full disk. The next acknowledgement covers this one.
                log.exception("an acknowledgement could not be recorded")
        self._parts.on_progress()
        self._wake.set()

    def _unasked(self, reply: ErrorReply) -> None:
        """An error that no request waits for: it is about events, or about nothing."""
        sender = self._parts.sender
        about_events = reply.id is not None or reply.error.retry is Retry.RESEND
        if sender is not None and about_events:
            if reply.error.retry is Retry.REFRESH:
                self._keeper.expire()
            sender.refused(reply.id, reply.error, self._clock.monotonic())
            self._parts.on_progress()
            self._wake.set()
        else:
            self._parts.hooks.notice(ServerError(reply.error))

    def _greeted(self, sent: float, reply: Reply, _size: int) -> None:
        now = self._clock.monotonic()
        if isinstance(reply, ErrorReply):
            self._hello_refused(reply.error, now)
            return
        if not isinstance(reply, Welcome):
            raise BadReply(f"hello was answered with {type(reply).__name__}")
        parts = self._parts
        parts.server_clock.forget()
        parts.server_clock.sample(sent, reply.received_at, reply.sent_at, now)
        if parts.sender is not None:
            room = parts.codec.event_room(reply.limits.max_frame_bytes)
            # Without a mark, this session may send no events: the first try is refused,
            # and they are kept.
            acked = parts.sender.queue.acked if reply.acked is None else reply.acked
            parts.sender.welcomed(acked, reply.limits, room)
            parts.on_progress()
        self.welcome = reply
        parts.limits = reply.limits
        self.commands.limits = reply.limits
        self._keepalive.start(reply.keepalive_s)
        self._look.set()
        self._expires(reply.expires_at)
        self._wake.set()
        self._on_welcome(reply)

    def _hello_refused(self, error: CommandError, now: float) -> None:
        """Say hello again if that may help soon, without a new connection."""
        self._parts.subscriptions.not_asked()
        delay_s = 0.0
        if self._resume and (error.field or "").startswith("subscriptions"):
            self._resume = False  # one by one, so that only what is wrong is refused
        elif error.code == UNAVAILABLE:
            delay_s = self._backoff.next_delay(error.retry_after_s)
        else:
            raise error
        if delay_s > SAME_SOCKET_S:
            raise error
        self._hello_due = now + delay_s
        self._wake.set()

    def _expires(self, expires_at: float | None) -> None:
        server_now = self._parts.server_clock.now(self._clock.monotonic())
        if expires_at is None or server_now is None:
            self._keeper.expires_in(None)
        else:
            self._keeper.expires_in(expires_at - server_now)

    def _refreshed(self, expires_at: float | None) -> None:
        """Go on with what had to wait for the new token."""
        self._expires(expires_at)
        self._wake.set()
