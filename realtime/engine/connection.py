"""
One connection: decodes what its socket receives, lets its session decide, does what
follows.

Law: the commands of one connection are handled in order, one at a time, except ping,
which is answered at once, and acknowledgements, which come when the ledger has
committed. While a command waits for something slow, those behind it wait here, and past
a bound the socket is not read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import structlog

from realtime.core.access import Identity
from realtime.core.counting import Sender
from realtime.core.session import Phase, Session
from realtime.engine import commands, straight
from realtime.engine.batches import Batch
from realtime.engine.directory import Facts
from realtime.engine.gate import presents_token
from realtime.engine.outbox import Outbox
from realtime.engine.services import Services
from realtime.engine.socket import Socket
from realtime.errors import (
    BAD_FRAME,
    ENDED_BY_BACKEND,
    EXPIRED_CLOSE,
    GAP,
    HELLO_TIMEOUT,
    INTERNAL,
    INTERNAL_CLOSE,
    INVALID_UTF8,
    SLOW,
    CloseCode,
    CommandError,
    Disconnect,
    Retry,
)
from realtime.types import Channel, ConnectionId
from realtime.wire.codecs import InvalidUtf8, Undecodable
from realtime.wire.dialect import Dialect
from realtime.wire.frames import FrameKey, Opcode
from realtime.wire.messages import (
    Ack,
    Command,
    ErrorReply,
    Goodbye,
    Ping,
    Pong,
    Refreshed,
    Rejection,
    Reply,
    TokenExpired,
    Unsubscribed,
)

log = structlog.get_logger(__name__)

_BINARY = Opcode.BINARY  # an enum's member costs more to look up than this

# Commands behind a slow one, and their bytes, before the socket is no longer read.
MAX_WAITING = 64
MAX_WAITING_BYTES = 64 * 1024


class Connection:
    """The peer of one socket; also the origin of its events."""

    __slots__ = (
        "__weakref__",
        "_busy",
        "_corked",
        "_expiry",
        "_waiting",
        "_waiting_bytes",
        "batch",
        "client",
        "dialect",
        "id",
        "joining",
        "keepalive",
        "last_error",
        "opened_at",
        "outbox",
        "published",
        "remote",
        "sender",
        "services",
        "session",
        "socket",
    )

    socket: Socket
    outbox: Outbox

    def __init__(
        self, services: Services, id: ConnectionId, dialect: Dialect, remote: str
    ) -> None:
        self.services = services
        self.id = id
        self.dialect = dialect
        self.remote = remote
        self.session = Session(services.limits)
        self.batch: Batch | None = None
        self.sender: Sender | None = None  # made for the first events
        self.client: str | None = None  # what the app calls itself
        self.opened_at = 0.0
        self.published = 0.0  # the state of its rate; see core.limits
        self.keepalive: Any = None
        # Subscriptions that are being made, and whether a backend has ended them.
        self.joining: dict[Channel, bool] | None = None
        self.last_error: str | None = None  # of the client's making, for the log
        self._expiry: Any = None
        self._waiting: deque[tuple[Command | CommandError, int]] | None = None
        self._waiting_bytes = 0
        self._busy: asyncio.Task[None] | None = None
        self._corked: list[bytes] | None = None  # replies that leave together

    # -- the socket's side ---------------------------------------------------------

    def opened(self, socket: Socket) -> None:
        """The socket is open; hello must come in time."""
        services = self.services
        self.socket = socket
        self.outbox = Outbox(
            socket,
            services.limits.max_outbox_bytes,
            self.dialect.frame_key,
            self._overflowed,
            self.id,
            services.metrics.tally,
            services.subscriptions.turn,
        )
        self.opened_at = services.clock.monotonic()
        services.connections.add(self)
        services.metrics.connections_opened.inc()
        self._expiry = services.wheel.schedule(
            self._hello_late, services.limits.hello_timeout_s
        )

    def received(self, data: bytes, binary: bool) -> None:
        """One message came in: decode it, and handle it or let it wait its turn."""
        try:
            dialect = self.dialect
            if binary is not (dialect.opcode is _BINARY):
                kind = "a text" if binary else "a binary"
                raise Disconnect(BAD_FRAME, f"{dialect.name} wants {kind} frame")
            value = dialect.load(data)
            if self._busy is None and straight.track(self, value, data):
                return
            command = dialect.command(value, data)
            if type(command) is Ping:
                self._pong(command)
            elif self._busy is None:
                self._handle(command)
            else:
                self._wait(command, len(data))
        except CommandError as exc:
            if self._busy is None:
                self.fail(exc, exc.request)
            else:  # told in its turn, as every answer
                self._wait(exc, len(data))
        except Disconnect as exc:
            self.close(exc.code, exc.reason)
        except InvalidUtf8 as exc:
            self.close(INVALID_UTF8, str(exc))
        except Undecodable as exc:
            self.close(BAD_FRAME, str(exc))

    def paused(self) -> None:
        """The transport is full."""
        self.outbox.paused()

    def resumed(self) -> None:
        """The transport has room again."""
        self.outbox.resumed()

    def closed(self, code: int, reason: str) -> None:
        """Let go of everything, in an order in which nothing slow comes first."""
        services = self.services
        channels, self.session.channels = self.session.channels, {}
        for channel in channels:
            services.subscriptions.unsubscribe(channel, self.outbox)
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self.keepalive is not None:
            self.keepalive.stop()
        if self._busy is not None:
            self._busy.cancel()
        self._waiting = None
        self.outbox.close()
        services.connections.discard(self)
        services.directory.discard(self)
        services.metrics.connections_closed.labels(services.code_label(code)).inc()
        services.people.closed(self, self.session.identity, channels, code)
        services.hooks.connections.closed(self, code, reason)
        log.info(
            "connection_closed",
            connection=self.id,
            remote=self.remote,
            code=code,
            reason=reason,
            seconds=round(services.clock.monotonic() - self.opened_at, 3),
            **self._mistakes(),
        )

    def _mistakes(self) -> dict[str, object]:
        """What the log says of a client that erred; nothing of the others."""
        errors = self.session.errors
        return {"errors": errors, "last_error": self.last_error} if errors else {}

    # -- commands --------------------------------------------------------------------

    def _handle(self, command: Command) -> None:
        """Run one command; what it leaves to be awaited goes on in a task."""
        try:
            self.session.check(command)
            pending = commands.HANDLERS[type(command)](self, command)
        except CommandError as exc:
            self.fail(exc, command.id)
            return
        if pending is not None:
            task = self.services.tasks.spawn(self._finish(command, pending))
            # The connection may be lost before the task has made its first step.
            task.add_done_callback(lambda _: pending.close())
            self._busy = task

    async def _finish(
        self, command: Command, pending: Coroutine[Any, Any, None]
    ) -> None:
        try:
            await pending
        except CommandError as exc:
            self.fail(exc, command.id)
        except Disconnect as exc:
            self.close(exc.code, exc.reason)
        except Exception:
            log.exception("command_failed", connection=self.id, type=type(command))
            self.fail(CommandError(INTERNAL), command.id)
        finally:
            self._busy = None
            self._go_on()

    def _wait(self, command: Command | CommandError, size: int) -> None:
        if self._waiting is None:
            self._waiting = deque()
        was_full = self._full
        self._waiting.append((command, size))
        self._waiting_bytes += size
        if self._full and not was_full:
            self.socket.pause_reading()

    @property
    def _full(self) -> bool:
        """Whether so much waits that the socket is not read."""
        commands = len(self._waiting or ())
        return commands >= MAX_WAITING or self._waiting_bytes >= MAX_WAITING_BYTES

    def _go_on(self) -> None:
        """Handle what has waited, until one of them takes its time again."""
        waiting = self._waiting
        if waiting is None:
            return
        was_full = self._full
        while waiting and self._busy is None:
            command, size = waiting.popleft()
            self._waiting_bytes -= size
            try:
                if isinstance(command, CommandError):
                    self.fail(command, command.request)
                else:
                    self._handle(command)
            except Disconnect as exc:
                self.close(exc.code, exc.reason)
            except Exception:
                log.exception("command_failed", connection=self.id, type=type(command))
                self.close(INTERNAL_CLOSE)
        if was_full and not self._full:
            self.socket.resume_reading()
        if not waiting:
            self._waiting = None

    def _pong(self, ping: Ping) -> None:
        now = self.services.clock.time()
        if ping.sent_at is not None and self.session.offset is not None:
            self.session.offset.sample(ping.sent_at, now)
        self.reply(Pong(now, now, ping.id))

    # -- what goes out ---------------------------------------------------------------

    def reply(self, message: Reply) -> None:
        """Encode and send one message, if the dialect has a word for it."""
        frame = self.dialect.frame(message)
        if self._corked is not None:
            self._corked.append(frame)
        elif frame:
            self.outbox.reply(frame)

    @contextmanager
    def joined(self) -> Iterator[None]:
        """
        Let all replies that are made meanwhile leave as one write, at the end.

        Nothing may be awaited meanwhile. A write costs more than most replies do.
        """
        self._corked = []
        try:
            yield
        finally:
            frames, self._corked = b"".join(self._corked), None
            if frames:
                self.outbox.reply(frames)

    def room(self) -> int:
        """Bytes that one answer may have, beside those that leave with it."""
        return self.outbox.room() - sum(map(len, self._corked or ()))

    def goodbye(self, after_s: float, reason: str) -> None:
        """Ask the client to come back, not before *after_s* seconds have passed."""
        self.reply(Goodbye(after_s, reason))

    @property
    def lost(self) -> bool:
        """Whether its socket has ended; then nothing may be begun for it."""
        return self not in self.services.connections

    @property
    def quiet(self) -> bool:
        """Whether nothing that the client has sent waits for an answer."""
        if self.lost:
            return True
        return self._busy is None and self.session.settled

    def fail(self, exc: CommandError, request: int | None) -> None:
        """
        Answer with an error; close after too many of the client's own making.
        """
        self.tell(exc, request)
        if exc.code.retry is Retry.NEVER:
            # The field, but never its value: payloads are not for the log.
            name = exc.code.name
            self.last_error = name if exc.field is None else f"{name}: {exc.field}"
            try:
                self.session.failed()
            except Disconnect as end:
                self.close(end.code, end.reason)

    def tell(self, exc: CommandError, request: int | None) -> None:
        """Answer with an error."""
        self.services.metrics.errors.labels(exc.code.name).inc()
        self.reply(ErrorReply.of(exc, request))

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Begin the closing handshake; what waits is not handled any more."""
        if self._waiting is not None:
            self._waiting.clear()
            self._waiting_bytes = 0
        self.outbox.flush()
        self.socket.close(code.code, reason or code.meaning)

    def _overflowed(self) -> None:
        self.close(SLOW)

    def _hello_late(self) -> None:
        if self.session.phase is not Phase.READY:
            self.close(HELLO_TIMEOUT)

    @property
    def frame_key(self) -> FrameKey:
        """What the bytes of a push depend on."""
        return self.dialect.frame_key

    # -- the token's end ---------------------------------------------------------------

    def expect_expiry(self, identity: Identity) -> None:
        """Set the timer for the end of the token, if it has one."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if identity.expires_at is not None:
            left_s = max(identity.expires_at - self.services.clock.time(), 0.0)
            self._expiry = self.services.wheel.schedule(self._token_ended, left_s)

    def _token_ended(self) -> None:
        grace_s = self.services.auth.grace_s
        self.session.expire()
        self.reply(TokenExpired(grace_s))
        self._expiry = self.services.wheel.schedule(self._grace_ended, grace_s)

    def _grace_ended(self) -> None:
        self.close(EXPIRED_CLOSE)

    # -- what a backend may order; see engine.directory --------------------------------

    @property
    def identity(self) -> Identity | None:
        """For whom it acts; None before hello was accepted."""
        return self.session.identity

    def facts(self) -> Facts:
        """Say what may be told of this connection."""
        clock = self.services.clock
        return Facts(
            self.id,
            round(clock.time() - clock.monotonic() + self.opened_at, 3),
            self.remote,
            self.dialect.name,
            len(self.session.channels),
            self.client,
        )

    def turn_out(
        self, code: CloseCode, reason: str = "", error: CommandError | None = None
    ) -> None:
        """Close it; *error* is told before."""
        if error is not None:
            self.tell(error, None)
        self.close(code, reason)

    def end_subscription(self, channel: Channel) -> bool:
        """
        End a subscription and say so; return whether there was one.

        One that is being made is ended before it is there.
        """
        joining = self.joining
        if joining is not None and joining.get(channel) is False:
            joining[channel] = True
            return True
        if channel not in self.session.channels:
            return False
        self.leave(channel)
        code = ENDED_BY_BACKEND
        self.reply(Unsubscribed(channel, None, code.code, code.meaning))
        return True

    def renew(self, expires_at: float | None) -> bool:
        """Set when the token expires, None: now; return whether there is a token."""
        identity = self.session.identity
        if identity is None or not presents_token(identity):
            return False
        now = self.services.clock.time()
        if expires_at is not None and expires_at > now:
            renewed = replace(identity, expires_at=expires_at)
            self.session.refresh(renewed)
            self.expect_expiry(renewed)
            self.reply(Refreshed(None, expires_at))
        elif self.session.phase is not Phase.EXPIRED:  # its grace is not made longer
            self.expect_expiry(replace(identity, expires_at=None))
            self._token_ended()
        return True

    # -- the ingest's side -------------------------------------------------------------

    def counted(self, mark: int, rejected: Sequence[Rejection]) -> None:
        """Events up to *mark* are committed: acknowledge them."""
        # Hot: once per device and tick; mostly all that was sent is counted.
        session = self.session
        if mark + 1 == session.next_seq:
            session.acked = mark
        else:
            session.counted(mark)
        acks = self.services.acks
        if rejected:
            acks.flush()  # order is kept
            self.reply(Ack(mark, rejected))
        else:
            frame = self.dialect.ack(mark)
            if frame:
                acks.outboxes.append(self.outbox)
                acks.frames.append(frame)

    def refused(self, expected: int) -> None:
        """The ledger waits for another number than this session thought."""
        self.services.acks.flush()  # order is kept
        self.session.resend(expected)
        reason = f"the ledger has counted up to {expected - 1}"
        self.fail(CommandError(GAP, reason, expected=expected), None)

    def leave(self, channel: Channel) -> None:
        """Stop one subscription; raises CommandError NOT_SUBSCRIBED."""
        number = self.session.leave(channel)
        self.outbox.forget(number)
        self.services.subscriptions.unsubscribe(channel, self.outbox)
        self.services.people.channels.depart(self, channel)
