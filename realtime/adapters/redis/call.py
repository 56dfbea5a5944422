"""
One call to Redis, from the first attempt to the reply: the policy of client.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import count, takewhile
from typing import Protocol

from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from realtime.adapters.redis.address import Address
from realtime.adapters.redis.backoff import Backoff
from realtime.adapters.redis.line import Command, CommandLine, Replies

CONNECTION_ERRORS = (RedisConnectionError, RedisTimeoutError, OSError)

# Answered without having executed anything: worth another attempt within the time.
NOT_NOW = (AskError, ClusterDownError, ReadOnlyError, TryAgainError)


class Router(Protocol):
    """What a call needs of the link."""

    backoff: Backoff

    async def locate(self, key: bytes) -> Address: ...
    async def line(self, address: Address) -> CommandLine: ...
    async def refresh(self, avoid: Address | None = None) -> None: ...


class Call:
    """
    Commands for one server, sent together until their replies are final.

    *at* fixes the server; otherwise it is the master of *key*.
    """

    __slots__ = ("_line", "_router", "at", "commands", "error", "key", "repeatable")

    def __init__(
        self,
        router: Router,
        commands: Sequence[Command],
        key: bytes,
        repeatable: bool,
        at: Address | None = None,
    ) -> None:
        self._router = router
        self.commands = commands
        self.key = key
        self.repeatable = repeatable
        self.at = at
        self._line: CommandLine | None = None
        self.error: Exception | None = None

    async def run(self, deadline: float) -> Replies:
        """
        Return the replies; tries again until *deadline*, in the loop's time.

        The caller cancels it then.

        Raises:
            TimeoutError: If the deadline has passed between two attempts.
            redis.exceptions.ConnectionError: If it is unknown whether commands that
                must not be repeated were executed, or Redis refuses the login.
        """
        asking: Address | None = None
        for failures in _until(deadline):
            address: Address | None = None
            try:
                address = asking or self.at or await self._router.locate(self.key)
                replies = await self._attempt(address, asking is not None)
            except AuthenticationError:
                raise
            except CONNECTION_ERRORS as error:
                if self._line is not None and not self.repeatable:
                    raise
                self.error = error
            else:
                refusal = next((r for r in replies if isinstance(r, NOT_NOW)), None)
                if refusal is None:
                    return replies
                self.error = refusal
            asking = await self._prepare(failures, address)
        raise TimeoutError

    async def send(self, deadline: float) -> asyncio.Future[Replies]:
        """
        Send once, as soon as there is a connection; the future gives the replies.

        The caller cancels it at *deadline*. Raises TimeoutError as ``run`` does.
        """
        for failures in _until(deadline):
            address: Address | None = None
            try:
                address = self.at or await self._router.locate(self.key)
                return (await self._router.line(address)).call(self.commands)
            except AuthenticationError:
                raise
            except CONNECTION_ERRORS as error:
                self.error = error
            await self._prepare(failures, address)
        raise TimeoutError

    async def _attempt(self, address: Address, asking: bool) -> Replies:
        self._line = None
        line = await self._router.line(address)
        commands = self.commands
        if asking:
            commands = [part for one in commands for part in (("ASKING",), one)]
        replies = line.call(commands)
        self._line = line  # from here on, something may have been executed
        return (await replies)[1::2] if asking else await replies

    async def _prepare(self, failures: int, address: Address | None) -> Address | None:
        """Wait if need be; return the address of an ASK redirection."""
        error = self.error
        if isinstance(error, ReadOnlyError) and self._line is not None:
            self._line.drop("the server has become a replica")
        if failures > 1 or not isinstance(error, AskError):
            await asyncio.sleep(self._router.backoff.delay_s(failures))
        if isinstance(error, AskError) and not isinstance(error, MovedError):
            host = error.host or (address.host if address else "")
            return Address(host, error.port)
        try:
            avoid = None if isinstance(error, ResponseError) else address
            await self._router.refresh(avoid)
        except CONNECTION_ERRORS as failed:
            self.error = failed
        return None


def _until(deadline: float) -> Iterator[int]:
    """
    Count 1, 2, 3 ... until *deadline*, but at least to 1.

    Whoever is cancelled at the deadline looks at the clock as well, because a library
    may lose a cancellation (asyncio.wait_for before Python 3.12 does).
    """
    loop = asyncio.get_running_loop()
    return takewhile(lambda n: n == 1 or loop.time() < deadline, count(1))
