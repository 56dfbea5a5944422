"""
An open connection that many callers share: commands go out in order, joined per turn of
the event loop, and replies come back in the same order (implicit pipelining).

redis-py's ``Connection`` opens it (TLS, authentication, database); from then on, what
comes is given to hiredis' reader as it comes, which takes 0.5 us per message, where
redis-py's own way through a stream, a parser and a task takes 4 us. Its clients are not
used either: they take a connection out of a pool for every command, so two publications
of one channel could overtake each other.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self, cast

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError

Command = Sequence[bytes | str]
Replies = list[Any]
"""One for each command of a batch; an error reply is an instance of ResponseError."""

MAX_BUFFERED_BYTES = 32 * 1024 * 1024  # commands of one line that await their replies

# Its stub knows tuples of one part only.
_pack = cast("Callable[[Command], bytes]", hiredis.pack_command)
_NOTHING = object()  # what the reader says when a reply is not complete


class Wire(asyncio.Protocol, ABC):
    """
    An open connection, taken over from redis-py.

    When it fails, it is closed, ``lost`` is set, ``reason`` says why and ``_ended`` is
    called once. Nothing reconnects here: the owner opens another one.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._outgoing: list[Command] = []
        self._flushing = False  # soon
        self._held = False  # the other side takes nothing
        self.lost = asyncio.Event()
        self.reason: Exception = RedisConnectionError("the connection has been closed")
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=connection._parser.parse_error,
            notEnoughData=_NOTHING,
        )
        self._cut = self._loop.create_future()  # done when the transport is closed
        self._closing: asyncio.Task[None] | None = None
        self._when_closed: list[Callable[[Any], object]] = []
        writer = connection._writer
        if writer is None:
            raise RedisConnectionError("the connection has been closed")
        self._transport = cast(asyncio.Transport, writer.transport)
        self._transport.set_protocol(self)
        if self._transport.is_closing():
            self.drop("the connection has been lost")

    @abstractmethod
    def _received(self, reply: Any) -> None:
        """Take one reply; an error reply is an instance of ResponseError."""

    @abstractmethod
    def _ended(self, reason: Exception) -> None:
        """Tell those who wait that no more replies will come."""

    def drop(self, reason: str) -> None:
        """Close it now; those who wait are told *reason*."""
        self._end(RedisConnectionError(reason))

    def when_closed(self, callback: Callable[[Self], object]) -> None:
        """Call *callback* when nothing is left of it."""
        self._when_closed.append(callback)

    async def aclose(self) -> None:
        """Close it and wait until it is closed."""
        self.drop("the connection has been closed")
        if self._closing is not None:
            await asyncio.wait([self._closing])

    # -- what the transport tells: see asyncio.Protocol --------------------------------

    def data_received(self, data: bytes) -> None:
        # Hot: the loop once per reply or message.
        reader, received, lost = self._reader, self._received, self.lost
        try:
            reader.feed(data)
            while not lost.is_set():
                reply = reader.gets(False)
                if reply is _NOTHING:
                    return
                if isinstance(reply, RedisConnectionError):
                    self._end(reply)
                    return
                received(reply)
        except RedisError as error:  # not the protocol of Redis
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._cut.done():
            self._cut.set_result(None)
        self._end(RedisConnectionError(f"the connection was lost: {exc or 'closed'}"))

    def pause_writing(self) -> None:
        self._held = True

    def resume_writing(self) -> None:
        self._held = False
        if self._outgoing:
            self._flush()

    def _send(self, commands: Sequence[Command]) -> None:
        self._outgoing.extend(commands)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._held or self.lost.is_set():
            return
        commands, self._outgoing = self._outgoing, []
        self._transport.write(b"".join([_pack(tuple(one)) for one in commands]))

    def _end(self, reason: Exception) -> None:
        if self.lost.is_set():
            return
        self.reason = reason
        self.lost.set()
        self._outgoing.clear()
        self._transport.abort()
        self._closing = self._loop.create_task(self._close())
        self._ended(reason)

    async def _close(self) -> None:
        await self._cut
        with contextlib.suppress(RedisError, OSError):
            await self._connection.disconnect(nowait=True)
        for callback in self._when_closed:
            callback(self)


class _Batch:
    """Commands that were sent together, and their replies so far."""

    __slots__ = ("expected", "future", "overdue_at", "replies", "size")

    def __init__(
        self,
        expected: int,
        size: int,
        overdue_at: float,
        future: asyncio.Future[Replies],
    ) -> None:
        self.expected = expected
        self.size = size
        self.overdue_at = overdue_at
        self.future = future
        self.replies: Replies = []


class CommandLine(Wire):
    """
    A wire for commands, each of which is answered once, and within *timeout_s*: a line
    that lets one wait for longer is lost.
    """

    def __init__(self, connection: AbstractConnection, timeout_s: float) -> None:
        self.taught: set[str] = set()  # digests of scripts that went out here in full
        self._timeout_s = timeout_s
        self._batches: deque[_Batch] = deque()
        self._buffered = 0
        self._watchdog: asyncio.TimerHandle | None = None
        super().__init__(connection)

    def call(self, commands: Sequence[Command]) -> asyncio.Future[Replies]:
        """
        Send *commands* together; the future gives their replies.

        Raises:
            RedisConnectionError: If nothing was sent, because the line is lost or has
                ``MAX_BUFFERED_BYTES`` under way. The same, from the future: if the line
                was lost before all replies came, so that it is unknown what happened.
        """
        if self.lost.is_set():
            raise RedisConnectionError("the connection has been lost")
        size = sum(len(part) for command in commands for part in command)
        if self._buffered and self._buffered + size > MAX_BUFFERED_BYTES:
            raise RedisConnectionError("too many commands await their replies")
        overdue_at = self._loop.time() + self._timeout_s
        future: asyncio.Future[Replies] = self._loop.create_future()
        self._batches.append(_Batch(len(commands), size, overdue_at, future))
        self._buffered += size
        self._send(commands)
        if self._watchdog is None:
            self._watchdog = self._loop.call_at(overdue_at, self._watch)
        return future

    def _received(self, reply: Any) -> None:
        batch = self._batches[0]
        batch.replies.append(reply)
        if len(batch.replies) == batch.expected:
            self._batches.popleft()
            self._buffered -= batch.size
            if not batch.future.done():
                batch.future.set_result(batch.replies)

    def _watch(self) -> None:
        # One timer for the line instead of one for each call, which would cost 10 us.
        self._watchdog = None
        if not self._batches:
            return
        overdue_at = self._batches[0].overdue_at
        if overdue_at <= self._loop.time():
            self.drop(f"no answer within {self._timeout_s:g} s")
        else:
            self._watchdog = self._loop.call_at(overdue_at, self._watch)

    def _ended(self, reason: Exception) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        while self._batches:
            future = self._batches.popleft().future
            if not future.done():
                future.set_exception(reason)


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel *tasks* and wait until they are through."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        # Again if need be: a library on the way may have lost the cancellation.
        _, left = await asyncio.wait(left, timeout=1.0)
