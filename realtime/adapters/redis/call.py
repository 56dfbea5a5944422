"""
One call to Redis, from the first attempt to the reply: the policy of client.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from realtime.adapters.redis.address import Address
from realtime.adapters.redis.backoff import Backoff
from realtime.adapters.redis.line import Command, CommandLine, Replies
from realtime.adapters.redis.script import Script
from realtime.adapters.redis.turns import Turns

CONNECTION_ERRORS = (RedisConnectionError, RedisTimeoutError, OSError)

# Answered without having executed anything: worth another attempt within the time.
NOT_NOW = (AskError, ClusterDownError, NoScriptError, ReadOnlyError, TryAgainError)


class Router(Protocol):
    """What a call needs of the link."""

    backoff: Backoff

    async def locate(self, key: bytes) -> Address: ...
    async def line(self, address: Address) -> CommandLine: ...
    def is_known_down(self, key: bytes) -> bool: ...
    async def refresh(self, avoid: Address | None = None) -> None: ...


class Call:
    """
    Commands for one server, sent together until their replies are final.

    *at* fixes the server; otherwise it is the master of *key*. *number* is its place
    among those of this key whose order matters. *hurried*: it does not wait for a
    server that is known to be away. *in_doubt*: it has been sent, and may have been
    executed; otherwise it certainly was not, unless it is repeatable.
    """

    __slots__ = (
        "_address",
        "_asking",
        "_attempts",
        "_line",
        "_router",
        "at",
        "commands",
        "error",
        "hurried",
        "in_doubt",
        "key",
        "number",
        "repeatable",
    )

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
        self.number = 0
        self.hurried = False
        self.in_doubt = False
        self.error: Exception | None = None
        self._attempts = 0
        self._line: CommandLine | None = None
        self._address: Address | None = None
        self._asking: Address | None = None

    def commands_for(self, line: CommandLine) -> Sequence[Command]:
        """Return what is to be sent now on *line*."""
        return self.commands

    def refusal(self, replies: Replies, line: CommandLine) -> Exception | None:
        """Return the reply that says to try again, if there is one."""
        return next((r for r in replies if isinstance(r, NOT_NOW)), None)

    async def run(self, deadline: float, turns: Turns | None = None) -> Replies:
        """
        Return the replies; tries again until *deadline*, in the loop's time.

        With *turns*, it is sent when those before it have been, or have given up: it
        awaits its turn even beyond its deadline, so that calls that were not sent are
        told so in their order. It is not for long: those before it end earlier.

        Raises:
            TimeoutError: If the deadline has passed.
            redis.exceptions.ConnectionError: If it is unknown whether commands that
                must not be repeated were executed, Redis refuses the login, or the
                call is hurried and the server known to be away.
        """
        while True:
            async with self._turn(turns), asyncio.timeout_at(deadline):
                line, sent = await self._send(deadline)
            async with asyncio.timeout_at(deadline):
                try:
                    replies = await sent
                except CONNECTION_ERRORS as error:
                    if not self.repeatable:
                        raise
                    self.error = error
                    continue
            if self._asking is not None:
                replies = replies[1::2]
            self.error = self.refusal(replies, line)
            if self.error is None:
                return replies
            self.in_doubt = False

    def _turn(self, turns: Turns | None) -> AbstractAsyncContextManager[None]:
        return nullcontext() if turns is None else turns.turn(self.key, self.number)

    async def _send(
        self, deadline: float
    ) -> tuple[CommandLine, asyncio.Future[Replies]]:
        """Send it as soon as there is a connection; the future gives the replies."""
        loop = asyncio.get_running_loop()
        while True:
            # Whoever is cancelled at the deadline looks at the clock as well: a library
            # may lose a cancellation (asyncio.wait_for before Python 3.12).
            if loop.time() >= deadline:
                raise TimeoutError
            if self._attempts:
                await self._prepare()
            if self.hurried and self._router.is_known_down(self.key):
                raise RedisConnectionError(f"nobody can be reached ({self.error})")
            self._attempts += 1
            self._address = self._line = None
            try:
                found = self._asking or self.at or await self._router.locate(self.key)
                self._address = found
                line = self._line = await self._router.line(found)
                commands = self.commands_for(line)
                if self._asking is not None:
                    commands = [c for one in commands for c in (("ASKING",), one)]
                sent = line.call(commands)
                self.in_doubt = True
                return line, sent
            except AuthenticationError:
                raise
            except CONNECTION_ERRORS as error:
                self.error = error

    async def _prepare(self) -> None:
        """Wait if need be, and find out where to go."""
        error, self._asking = self.error, None
        if isinstance(error, NoScriptError):
            return
        if isinstance(error, ReadOnlyError) and self._line is not None:
            self._line.drop("the server has become a replica")
        if self._attempts > 1 or not isinstance(error, AskError):
            await asyncio.sleep(self._router.backoff.delay_s(self._attempts))
        if isinstance(error, AskError) and not isinstance(error, MovedError):
            host = error.host or (self._address.host if self._address else "")
            self._asking = Address(host, error.port)
            return
        try:
            avoid = None if isinstance(error, ResponseError) else self._address
            await self._router.refresh(avoid)
        except CONNECTION_ERRORS as failed:
            self.error = failed


class ScriptCall(Call):
    """
    One run of a script, by its digest if the connection has taught it to the server.

    The source goes out once on each connection, before all that need it, so that no run
    is refused and overtaken only because the server has not heard of the script. What
    is left is a server that is told to forget (SCRIPT FLUSH).
    """

    __slots__ = ("_script", "_tail")

    def __init__(
        self,
        router: Router,
        script: Script,
        keys: Sequence[bytes],
        arguments: Sequence[bytes | str],
        repeatable: bool,
    ) -> None:
        self._script = script
        self._tail = (str(len(keys)), *keys, *arguments)
        super().__init__(router, (), keys[0], repeatable)

    def commands_for(self, line: CommandLine) -> Sequence[Command]:
        script = self._script
        if script.sha in line.taught:
            return [("EVALSHA", script.sha, *self._tail)]
        line.taught.add(script.sha)
        return [("EVAL", script.source, *self._tail)]

    def refusal(self, replies: Replies, line: CommandLine) -> Exception | None:
        refusal = super().refusal(replies, line)
        if isinstance(refusal, NoScriptError):
            line.taught.discard(self._script.sha)
        return refusal
