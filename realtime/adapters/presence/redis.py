"""
Presence in Redis: every call is one Lua script on the slot of its channel.

lua/room.lua says what is kept. Scripts remove those whose time is over before they do
anything else, a bounded number at a time, so that no member is there in one answer and
gone in another. Time is Redis' own: the clocks of the nodes do not matter.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Sequence
from itertools import count
from typing import Any, TypeVar

from realtime.adapters.presence.cursor import read_cursor, write_cursor
from realtime.adapters.presence.entries import (
    after,
    key_parts,
    member_of,
    parts_of,
    range_of,
    tag_of,
)
from realtime.adapters.presence.port import (
    Arrival,
    Departure,
    Members,
    Presence,
    PresenceStats,
)
from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.keys import check_prefix
from realtime.adapters.redis.line import Command
from realtime.adapters.redis.script import Script
from realtime.types import Channel, ConnectionId, Member, NodeId, UserId

T = TypeVar("T")

RESTORED = 500  # members that one script restores: it bounds how long Redis is busy


def _script(name: str) -> Script:
    return Script.load(__package__, name, begin="room")


JOIN = _script("join")
LEAVE = _script("leave")
TOUCH = _script("touch")
RESTORE = _script("restore")
MEMBERS = _script("members")
CONNECTIONS = _script("connections")
STATS = _script("stats")


class RedisPresence(Presence):
    """See ``Presence``. The link is shared and closed by its owner."""

    def __init__(self, link: RedisLink, prefix: str, node: NodeId) -> None:
        self._link = link
        self._prefix = check_prefix(prefix)
        self._node = node
        self._calls = count(1)

    async def join(self, channel: Channel, member: Member, lease_s: float) -> Arrival:
        parts = parts_of(member)
        _, gone, first, connections = await self._run(
            JOIN,
            channel,
            self._call_id(),
            self._node,
            parts.user,
            parts.client,
            parts.mark,
            parts.info,
            _ms(lease_s),
        )
        return Arrival(bool(first), connections, _members(gone))

    async def leave(
        self,
        channel: Channel,
        client: ConnectionId,
        user: UserId | None,
        linger_s: float = 0.0,
    ) -> Departure:
        linger_ms = _ms(linger_s) if linger_s > 0 else "0"
        _, gone, known = await self._run(
            LEAVE,
            channel,
            self._call_id(),
            self._node,
            *key_parts(user, client),
            linger_ms,
        )
        return Departure(bool(known), _members(gone))

    async def touch(
        self, sums: Sequence[tuple[Channel, int]], lease_s: float
    ) -> tuple[Sequence[Channel], Sequence[tuple[Channel, Member]]]:
        differing: list[Channel] = []
        gone: list[tuple[Channel, Member]] = []
        answers = await self._touch_all(sums, lease_s)
        for (channel, sum), (more, found, right) in zip(sums, answers, strict=True):
            while more:
                more, further, right = await self._run(
                    TOUCH, channel, *self._touch_arguments(sum, lease_s)
                )
                found += further
            if not right:
                differing.append(channel)
            gone += [(channel, member) for member in _members(found)]
        return differing, gone

    async def _touch_all(
        self, sums: Sequence[tuple[Channel, int]], lease_s: float
    ) -> Sequence[Any]:
        if len(sums) == 1 or self._link.is_cluster:
            return await _all(
                [
                    self._run(TOUCH, channel, *self._touch_arguments(sum, lease_s))
                    for channel, sum in sums
                ]
            )
        # One batch, which is sent at once: see ``Presence`` on the order of calls.
        commands: list[Command] = [("SCRIPT", "LOAD", TOUCH.source)]
        for channel, sum in sums:
            tag = tag_of(self._prefix, channel)
            arguments = self._touch_arguments(sum, lease_s)
            commands.append(("EVALSHA", TOUCH.sha, "1", tag, *arguments))
        _, *answers = await self._link.call_many(commands)
        return answers

    def _touch_arguments(self, sum: int, lease_s: float) -> tuple[str, ...]:
        return self._call_id(), self._node, str(sum), _ms(lease_s)

    async def restore(
        self, channel: Channel, members: Sequence[Member], lease_s: float
    ) -> Sequence[Member]:
        tag = tag_of(self._prefix, channel)
        entries = sorted(bytes(parts_of(member)) for member in members)
        chunks = [entries[i : i + RESTORED] for i in range(0, len(entries), RESTORED)]
        begins = [b"-", *(b"[" + chunk[0] for chunk in chunks[1:])]
        ends = [*(b"(" + chunk[0] for chunk in chunks[1:]), b"+"]
        head = ("EVAL", RESTORE.source, "1", tag)
        # One batch, which is sent at once: see ``Presence`` on the order of calls.
        found = await self._link.call_many(
            [
                (
                    *head,
                    self._call_id(),
                    self._node,
                    _ms(lease_s),
                    begin,
                    end,
                    "1" if end == b"+" else "0",
                    *chunk,
                )
                for begin, end, chunk in zip(begins, ends, chunks or [[]], strict=True)
            ],
            key=tag,
        )
        return [member_of(entry) for part in found for entry in part]

    async def members(self, channel: Channel, limit: int, cursor: str = "") -> Members:
        begin = after(read_cursor(cursor))
        found = await self._read(MEMBERS, channel, begin, str(limit + 1))
        page = _members(sorted(found)[:limit])
        if len(found) <= limit or not page:
            return Members(page)
        return Members(page, write_cursor(page[-1].user, page[-1].client))

    async def connections(self, channel: Channel, user: UserId) -> Sequence[Member]:
        found = await self._read(CONNECTIONS, channel, *range_of(user))
        return _members(sorted(found))

    async def stats(self, channel: Channel) -> PresenceStats:
        more, clients, users = 1, 0, 0
        while more:
            more, clients, users = await self._run(STATS, channel)
        return PresenceStats(clients, users)

    async def aclose(self) -> None:
        """Nothing of its own to let go of."""

    async def _read(
        self, script: Script, channel: Channel, *arguments: bytes | str
    ) -> list[bytes]:
        while True:
            more, found = await self._run(script, channel, *arguments)
            if not more:
                return list(found)

    async def _run(
        self, script: Script, channel: Channel, *arguments: bytes | str
    ) -> Any:
        tag = tag_of(self._prefix, channel)
        return await self._link.run_script(script, [tag], *arguments)

    def _call_id(self) -> str:
        """Name a call, as no other call of any node is named."""
        return f"{self._node}.{next(self._calls):x}"


def _members(entries: Sequence[bytes]) -> list[Member]:
    return [member_of(entry) for entry in entries]


def _ms(seconds: float) -> str:
    return str(max(1, math.ceil(seconds * 1000)))


async def _all(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run *works* together; when one fails, the others are through before it raises."""
    if len(works) == 1:
        return [await works[0]]
    results = await asyncio.gather(*works, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
