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
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, cast

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from realtime.adapters.redis.address import Address, Kind, parse_target
from realtime.adapters.redis.backoff import Backoff
from realtime.adapters.redis.call import CONNECTION_ERRORS, Call, ScriptCall
from realtime.adapters.redis.line import Command, CommandLine, Replies
from realtime.adapters.redis.opener import Opener
from realtime.adapters.redis.outage import Outages
from realtime.adapters.redis.script import Script
from realtime.adapters.redis.slots import SlotMap, slot_of
from realtime.adapters.redis.turns import Turns
from realtime.errors import ConfigError, Unavailable
from realtime.settings import RedisSettings

T = TypeVar("T")

CALLS_AT_ONCE = 500  # of call_each: bounds how long a server is busy with them


class NotSent(Unavailable):
    """It is certain that Redis has not executed what must not be repeated."""


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
        self._turns = Turns()  # of those whose order matters, when they have to wait
        self._number = 0  # of the last of them
        self._outages = Outages(settings.timeout_s, self.backoff, self._reach)
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
        (reply,) = await self._ask(Call(self, [command], key, repeatable, at))
        return _checked(reply)

    async def call_many(
        self, commands: Sequence[Command], *, key: bytes = b""
    ) -> list[Any]:
        """Run repeatable commands, all on the slot of *key*. Raises Unavailable."""
        if not commands:
            return []
        replies = await self._ask(Call(self, commands, key, True))
        return [_checked(reply) for reply in replies]

    async def call_each(
        self, keys: Sequence[bytes], commands: Sequence[Command]
    ) -> list[Any]:
        """
        Run repeatable commands, each on the master of its key; those of one master go
        together, ``CALLS_AT_ONCE`` at a time. Raises Unavailable.
        """
        places: dict[Address | None, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(self.master_of(key), []).append(place)
        replies: list[Any] = [None] * len(commands)

        async def ask(master: Address | None, some: list[int]) -> None:
            for at in range(0, len(some), CALLS_AT_ONCE):
                chunk = some[at : at + CALLS_AT_ONCE]
                asked = [(keys[place], commands[place]) for place in chunk]
                found = await self._ask_together(master, asked)
                for place, reply in zip(chunk, found, strict=True):
                    replies[place] = reply

        await all_of(ask(*group) for group in places.items())
        return replies

    async def run_script(
        self, script: Script, keys: Sequence[bytes], *arguments: bytes | str
    ) -> Any:
        """
        Run a repeatable *script*; all *keys* are in the slot of the first.

        Raises:
            Unavailable: If it is unknown whether it ran, or it failed.
        """
        (reply,) = await self._ask(ScriptCall(self, script, keys, arguments, True))
        return _checked(reply)

    async def run_script_in_order(
        self,
        script: Script,
        keys: Sequence[bytes],
        *arguments: bytes | str,
        channel: bytes,
        repeatable: bool,
    ) -> Any:
        """
        Run a *script* that publishes on *channel*, in order with other publications.

        *channel* is in the slot of the keys. *repeatable* says that running it twice
        does no harm. Raises Unavailable as ``run_script`` does.
        """
        call = ScriptCall(self, script, keys, arguments, repeatable)
        call.key = channel
        (reply,) = await self._ask_in_order(call)
        return _checked(reply)

    async def publish(
        self, channel: bytes, data: bytes, *, hurried: bool = False
    ) -> None:
        """
        Publish once; on one channel, in the order of the calls.

        Who is *hurried* is told at once while the server is known to be away: while it
        could not be connected to for ``timeout_s``.

        Raises:
            NotSent: If it certainly has not been published. Those of one channel are
                told so in the order of their calls.
            Unavailable: If it may not have been published.
        """
        verb = "SPUBLISH" if self.is_cluster else "PUBLISH"
        call = Call(self, [(verb, channel, data)], channel, False)
        call.hurried = hurried
        (reply,) = await self._ask_in_order(call)
        _checked(reply)

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
        await self._outages.aclose()
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
                # Until the contrary is shown, also by who is cancelled in his attempt.
                self._outages.began(address)
                connection = await self._opener.open(address)
                self._outages.ended(address)
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

    def is_known_down(self, key: bytes) -> bool:
        """Whether the master of *key* could not be reached for ``timeout_s``."""
        address = self.master_of(key)
        return address is not None and self._outages.is_known(address)

    async def _reach(self, address: Address) -> bool:
        """Connect to a server that is away; return whether it is still needed."""
        try:
            await self.line(address)
        except (RedisError, OSError):
            with contextlib.suppress(RedisError, OSError):
                await self.refresh(address)
        needed = address in self.masters
        if not needed:
            self._outages.ended(address)
        return needed

    async def _ask(self, call: Call) -> Replies:
        deadline = asyncio.get_running_loop().time() + self.timeout_s
        replies = await self._ask_once(call)
        if replies is None:
            replies = await self._ask_patiently(call, deadline)
        return replies

    async def _ask_together(
        self, master: Address | None, asked: Sequence[tuple[bytes, Command]]
    ) -> list[Any]:
        """Ask on the open line to *master*; one by one if that does not do."""
        if master is not None:
            together = [command for _, command in asked]
            replies = await self._ask_once(Call(self, together, b"", True, master))
            if replies is not None:
                return [_checked(reply) for reply in replies]
        return await all_of(self.call(*command, key=key) for key, command in asked)

    async def _ask_in_order(self, call: Call) -> Replies:
        deadline = asyncio.get_running_loop().time() + self.timeout_s
        self._number = call.number = self._number + 1
        # Whoever comes while others of this key wait comes after them.
        taken = self._turns.are_taken(call.key)
        replies = None if taken else await self._ask_once(call)
        if replies is None:
            replies = await self._ask_patiently(call, deadline, self._turns)
        return replies

    async def _ask_patiently(
        self, call: Call, deadline: float, turns: Turns | None = None
    ) -> Replies:
        with self._explained(call):
            return await call.run(deadline, turns)

    @contextlib.contextmanager
    def _explained(self, call: Call) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            reason = f" ({call.error})" if call.error else ""
            raise _kind_of(call)(
                f"Redis did not answer within {self.timeout_s:g} s{reason}"
            ) from call.error
        except CONNECTION_ERRORS as error:
            raise _kind_of(call)(f"Redis failed: {error}") from error

    async def _ask_once(self, call: Call) -> Replies | None:
        """Hot: ask on a line that is open; return None to ask patiently."""
        address = call.at or self.master_of(call.key)
        line = self._lines.get(address) if address else None
        if line is None:
            return None
        try:
            future = line.call(call.commands_for(line))
        except RedisConnectionError:
            return None  # nothing has been sent
        try:
            replies = await future
        except CONNECTION_ERRORS as error:
            if not call.repeatable:
                raise Unavailable(f"Redis failed: {error}") from error
            return None
        return None if call.refusal(replies, line) else replies

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
            asking = Call(self, [("CONFIG", "GET", name)], b"", True, at)
            (reply,) = await self._ask(asking)
            if isinstance(reply, ResponseError) or len(reply) != 2:
                return "unknown"
            found[name] = reply[1].decode()
        if found["maxmemory-policy"] != "noeviction":
            return f"maxmemory-policy {found['maxmemory-policy']}"
        if found["appendonly"] != "yes":
            return "appendonly no"
        return f"appendfsync {found['appendfsync']}"


async def all_of(awaitables: Iterable[Awaitable[T]]) -> list[T]:
    """Await all of them to their ends; raises the first error."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast(list[T], results)


@contextlib.contextmanager
def told_as(kind: type[Unavailable]) -> Iterator[None]:
    """Raise what the link raises as *kind*, which the port promises."""
    try:
        yield
    except Unavailable as error:
        raise kind(str(error)) from error


def _kind_of(call: Call) -> type[Unavailable]:
    return Unavailable if call.in_doubt or call.repeatable else NotSent


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
