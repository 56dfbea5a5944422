"""
An open connection that many callers share: commands go out in order, joined per turn of
the event loop, and replies come back in the same order (implicit pipelining).

redis-py's ``Connection`` opens it (TLS, authentication, database) and packs and parses.
Its clients are not used: they take a connection out of a pool for every command, so two
publications of one channel could overtake each other, and cost several times as much.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

Command = Sequence[bytes | str]
Replies = list[Any]
"""One for each command of a batch; an error reply is an instance of ResponseError."""

MAX_BUFFERED_BYTES = 32 * 1024 * 1024  # commands of one line that await their replies


class Wire(ABC):
    """
    An open connection with a task that reads and one that writes.

    When either fails, the connection is closed, ``lost`` is set, ``reason`` says why
    and ``_ended`` is called once. Nothing reconnects here: the owner opens another one.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._outgoing: list[Command] = []
        self._wake = asyncio.Event()
        self.lost = asyncio.Event()
        self.reason: Exception = RedisConnectionError("the connection has been closed")
        self._task = asyncio.create_task(self._run())

    @abstractmethod
    def _received(self, reply: Any) -> None:
        """Take one reply; an error reply is an instance of ResponseError."""

    @abstractmethod
    def _ended(self, reason: Exception) -> None:
        """Tell those who wait that no more replies will come."""

    def drop(self, reason: str) -> None:
        """Close it now; those who wait are told *reason*."""
        self._end(RedisConnectionError(reason))
        self._task.cancel()

    def when_closed(self, callback: Callable[[Self], object]) -> None:
        """Call *callback* when nothing is left of it."""
        self._task.add_done_callback(lambda task: callback(self))

    async def aclose(self) -> None:
        """Close it and wait until it is closed."""
        self.drop("the connection has been closed")
        await end([self._task])

    def _send(self, commands: Sequence[Command]) -> None:
        self._outgoing.extend(commands)
        self._wake.set()

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read_forever())
                tasks.create_task(self._write_forever())
        except* (RedisError, OSError) as group:
            self._end(next(_leaves(group)))
        finally:
            self._end(self.reason)
            with contextlib.suppress(RedisError, OSError):
                await self._connection.disconnect(nowait=True)

    def _end(self, reason: Exception) -> None:
        if not self.lost.is_set():
            self.reason = reason
            self.lost.set()
            self._ended(reason)

    async def _read_forever(self) -> None:
        read, received = self._connection.read_response, self._received
        while True:
            # Hot: once per reply or message; 2 to 3 us with hiredis.
            try:
                reply = await read(disable_decoding=True, timeout=math.inf)
            except ResponseError as error:
                reply = error
            received(reply)

    async def _write_forever(self) -> None:
        connection = self._connection
        while True:
            await self._wake.wait()
            self._wake.clear()
            commands, self._outgoing = self._outgoing, []
            packed = connection.pack_commands(commands)
            await connection.send_packed_command(packed, check_health=False)


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
        self._loop = asyncio.get_running_loop()
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


def _leaves(group: BaseExceptionGroup[Exception]) -> Any:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
