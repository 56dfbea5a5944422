"""
The link to Redis that all Redis forms share: one connection per server, one policy.

*Policy*: every call has ``timeout_s`` in all. Until then, what was certainly not
executed is tried again with jittered back-off, and so is what may be repeated
(``repeatable``); anything else is told to the caller at once. A connection that lets a
call time out is replaced. *Cluster*: a call goes to the master of its key; a
redirection means that nothing was executed, so it is followed within the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from realtime.adapters.redis.address import Address, Kind, parse_target
from realtime.adapters.redis.backoff import Backoff
from realtime.adapters.redis.call import CONNECTION_ERRORS, NOT_NOW, Call
from realtime.adapters.redis.line import Command, CommandLine, Replies
from realtime.adapters.redis.opener import Opener
from realtime.adapters.redis.script import Script
from realtime.adapters.redis.slots import SlotMap, slot_of
from realtime.errors import ConfigError, Unavailable
from realtime.settings import RedisSettings


class RedisLink:
    """
    Commands to Redis: one server, the master of the hour, or a cluster.

    *name* is what CLIENT LIST shows of its connections.
    """

    def __init__(
        self,
        settings: RedisSettings,
        *,
        name: str = "realtime",
        backoff: Backoff | None = None,
    ) -> None:
        if settings.url is None:
            raise ConfigError("redis.url", "is not given")
        self.timeout_s = settings.timeout_s
        self.backoff = backoff or Backoff()
        self._target = parse_target(settings.url, name)
        self._opener = Opener(self._target, settings.timeout_s)
        self._lines: dict[Address, CommandLine] = {}
        self._locks: dict[Address, asyncio.Lock] = {}
        self._open: set[CommandLine] = set()  # also those that are closing
        self._map: SlotMap | None = None
        self._refreshing = asyncio.Lock()
        self._in_order = asyncio.Lock()  # of publications that wait
        self._waiting = 0  # such publications
        self._closed = False

    @property
    def is_cluster(self) -> bool:
        """Whether keys are spread over several masters."""
        return self._target.kind is Kind.CLUSTER

    @property
    def masters(self) -> tuple[Address, ...]:
        """The servers that are written to, as far as known."""
        if self.is_cluster:
            return self._map.masters if self._map else ()
        return self._target.addresses[:1]

    def master_of(self, key: bytes) -> Address | None:
        """Return the master that serves *key*; None while that is unknown."""
        if self.is_cluster:
            return self._map.owner(slot_of(key)) if self._map else None
        return self._target.addresses[0]

    async def start(self) -> None:
        """Connect and learn the cluster's slots. Raises Unavailable."""
        await self.call("PING")

    async def call(
        self,
        *command: bytes | str,
        key: bytes = b"",
        at: Address | None = None,
        repeatable: bool = True,
    ) -> Any:
        """
        Run one command on the master of *key*, or on the server *at*.

        *repeatable* says that running it twice does no harm.

        Raises:
            Unavailable: If Redis did not answer in time, or answered with an error.
        """
        (reply,) = await self._ask([command], key, repeatable, at)
        return _checked(reply)

    async def call_many(
        self, commands: Sequence[Command], *, key: bytes = b""
    ) -> list[Any]:
        """Run repeatable commands, all on the slot of *key*. Raises Unavailable."""
        if not commands:
            return []
        return [_checked(reply) for reply in await self._ask(commands, key, True)]

    async def run_script(
        self, script: Script, keys: Sequence[bytes], *arguments: bytes | str
    ) -> Any:
        """
        Run a repeatable *script*; all *keys* are in the slot of the first.

        Raises:
            Unavailable: If it is unknown whether it ran, or it failed.
        """
        tail = (str(len(keys)), *keys, *arguments)
        (reply,) = await self._ask([("EVALSHA", script.sha, *tail)], keys[0], True)
        if isinstance(reply, NoScriptError):
            # The server has restarted, or has never seen it: this also teaches it.
            (reply,) = await self._ask([("EVAL", script.source, *tail)], keys[0], True)
        return _checked(reply)

    async def run_script_in_order(
        self,
        script: Script,
        keys: Sequence[bytes],
        *arguments: bytes | str,
        repeatable: bool,
    ) -> Any:
        """
        Run *script* in the order of the calls, as ``publish`` does.

        Raises:
            Unavailable: If it is unknown whether it ran, or it failed.
        """
        tail = (str(len(keys)), *keys, *arguments)
        command = ("EVALSHA", script.sha, *tail)
        (reply,) = await self._ask([command], keys[0], repeatable)
        if isinstance(reply, NoScriptError):
            command = ("EVAL", script.source, *tail)
            (reply,) = await self._ask([command], keys[0], repeatable)
        return _checked(reply)

    async def publish(self, channel: bytes, data: bytes) -> None:
        """
        Publish once; on one channel, in the order of the calls.

        Raises:
            Unavailable: If it may not have been published.
        """
        deadline = asyncio.get_running_loop().time() + self.timeout_s
        verb = "SPUBLISH" if self.is_cluster else "PUBLISH"
        call = Call(self, [(verb, channel, data)], channel, False)
        # Whoever comes while others wait for a connection comes after them.
        replies = None if self._waiting else await self._ask_once(call)
        if replies is None:
            replies = await self._ask_in_turn(call, deadline)
        _checked(replies[0])

    async def durability(self) -> str:
        """
        Return what the servers really do: the weakest of their settings.

        ``appendfsync always``, ``appendfsync everysec``, ``appendfsync no``,
        ``appendonly no``; ``maxmemory-policy allkeys-lru`` and the like, which forget
        counters; or ``unknown`` where CONFIG is not permitted.
        Raises Unavailable if a server does not answer.
        """
        return max([await self._durability(at) for at in self.masters], key=_weakness)

    async def open(self, address: Address) -> AbstractConnection:
        """Open a connection for the caller alone. Raises redis-py's errors."""
        return await self._opener.open(address)

    async def aclose(self) -> None:
        """Close all connections. Closing twice is harmless."""
        self._closed = True
        self._lines.clear()
        for line in tuple(self._open):
            await line.aclose()

    async def locate(self, key: bytes) -> Address:
        """Return the master of *key*. Raises redis-py's errors if there is none."""
        if self.is_cluster and self._map is None:
            await self.refresh()
        address = self.master_of(key)
        if address is None:
            raise RedisConnectionError(f"no master serves slot {slot_of(key)}")
        return address

    async def line(self, address: Address) -> CommandLine:
        """Return the open line to *address*; opens it. Raises redis-py's errors."""
        line = self._lines.get(address)
        if line is not None and not line.lost.is_set():
            return line
        async with self._locks.setdefault(address, asyncio.Lock()):
            line = self._lines.get(address)
            if line is None or line.lost.is_set():
                if self._closed:
                    raise RedisConnectionError("the link has been closed")
                connection = await self._opener.open(address)
                line = CommandLine(connection, self.timeout_s)
                line.when_closed(self._open.discard)
                self._open.add(line)
                self._lines[address] = line
            return line

    async def refresh(self, avoid: Address | None = None) -> None:
        """
        Ask the cluster's nodes for its slots, *avoid* last; nothing if no cluster.

        Raises:
            redis.exceptions.ConnectionError: If none of them answers.
        """
        if not self.is_cluster:
            return
        before = self._map
        async with self._refreshing:
            if self._map is before:  # else somebody has done it meanwhile
                self._map = await self._fetch_map(avoid)
        for gone in self._lines.keys() - set(self.masters):
            self._lines.pop(gone).drop("it is no master now")

    async def _ask(
        self,
        commands: Sequence[Command],
        key: bytes,
        repeatable: bool,
        at: Address | None = None,
    ) -> Replies:
        deadline = asyncio.get_running_loop().time() + self.timeout_s
        call = Call(self, commands, key, repeatable, at)
        replies = await self._ask_once(call)
        if replies is None:
            replies = await self._ask_patiently(call, deadline)
        return replies

    async def _ask_patiently(self, call: Call, deadline: float) -> Replies:
        with self._explained(call):
            async with asyncio.timeout_at(deadline):
                return await call.run(deadline)

    async def _ask_in_turn(self, call: Call, deadline: float) -> Replies:
        """Send it when those that came before have been sent."""
        self._waiting += 1
        with self._explained(call):
            try:
                async with asyncio.timeout_at(deadline), self._in_order:
                    sent = await call.send(deadline)
            finally:
                self._waiting -= 1
            replies = await sent
        if any(isinstance(reply, NOT_NOW) for reply in replies):
            return await self._ask_patiently(call, deadline)
        return replies

    @contextlib.contextmanager
    def _explained(self, call: Call) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            reason = f" ({call.error})" if call.error else ""
            raise Unavailable(
                f"Redis did not answer within {self.timeout_s:g} s{reason}"
            ) from call.error
        except CONNECTION_ERRORS as error:
            raise Unavailable(f"Redis failed: {error}") from error

    async def _ask_once(self, call: Call) -> Replies | None:
        """Hot: ask on a line that is open; return None to ask patiently."""
        address = call.at or self.master_of(call.key)
        line = self._lines.get(address) if address else None
        if line is None:
            return None
        try:
            future = line.call(call.commands)
        except RedisConnectionError:
            return None  # nothing has been sent
        try:
            replies = await future
        except CONNECTION_ERRORS as error:
            if not call.repeatable:
                raise Unavailable(f"Redis failed: {error}") from error
            return None
        if any(isinstance(reply, NOT_NOW) for reply in replies):
            return None
        return replies

    async def _fetch_map(self, avoid: Address | None) -> SlotMap:
        known = [*self.masters, *self._target.addresses]
        candidates = sorted(dict.fromkeys(known), key=lambda address: address == avoid)
        error: Exception | None = None
        for address in candidates:
            try:
                # A part of the time for each: one that hangs must not use up all of it.
                async with asyncio.timeout(self.timeout_s / 4):
                    line = await self.line(address)
                    (reply,) = await line.call([("CLUSTER", "SLOTS")])
            except (*CONNECTION_ERRORS, TimeoutError) as failed:
                error = failed
                continue
            if not isinstance(reply, ResponseError):
                return SlotMap.parse(reply, address)
            error = reply
        raise RedisConnectionError(f"no node tells the cluster's slots: {error}")

    async def _durability(self, at: Address) -> str:
        found: dict[str, str] = {}
        for name in ("maxmemory-policy", "appendonly", "appendfsync"):
            (reply,) = await self._ask([("CONFIG", "GET", name)], b"", True, at)
            if isinstance(reply, ResponseError) or len(reply) != 2:
                return "unknown"
            found[name] = reply[1].decode()
        if found["maxmemory-policy"] != "noeviction":
            return f"maxmemory-policy {found['maxmemory-policy']}"
        if found["appendonly"] != "yes":
            return "appendonly no"
        return f"appendfsync {found['appendfsync']}"


@contextlib.contextmanager
def told_as(kind: type[Unavailable]) -> Iterator[None]:
    """Raise what the link raises as *kind*, which the port promises."""
    try:
        yield
    except Unavailable as error:
        raise kind(str(error)) from error


def _checked(reply: Any) -> Any:
    if isinstance(reply, ResponseError):
        raise Unavailable(f"Redis refused: {reply}") from reply
    return reply


_STRENGTHS = (
    "appendfsync always",
    "appendfsync everysec",
    "appendfsync no",
    "appendonly no",
)


def _weakness(durability: str) -> int:
    known = durability in _STRENGTHS
    return _STRENGTHS.index(durability) if known else len(_STRENGTHS)
