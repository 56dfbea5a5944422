"""
Which users are online, on any node, and how many connections each has.

A user's connections are members of one of a few internal channels, chosen by the user's
name. Every node looks at all of these channels, so that whoever was on a node that died
is told as offline by another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote
from zlib import crc32

import orjson
import structlog

from realtime.adapters.presence.port import Presence
from realtime.clock import Clock
from realtime.core.channels import MAX_CHANNEL_CHARS
from realtime.engine.attendance import Attendance
from realtime.engine.keeping import Keeping
from realtime.engine.notify import Notify
from realtime.engine.presence import INTERNAL
from realtime.errors import TOO_MANY_CONNECTIONS, Disconnect, Unavailable
from realtime.settings import UserSettings
from realtime.types import (
    Channel,
    ConnectionId,
    JSONText,
    Member,
    Publication,
    UserId,
)

log = structlog.get_logger(__name__)

SHARDS = tuple(Channel(f"{INTERNAL}users:{number}") for number in range(64))
ASKED_AT_ONCE = 100  # users, when it is asked of many whether they are online

#: What is not encoded in the name of a channel: as encodeURIComponent in browsers.
_PLAIN = "!'()*"


def shard_of(user: UserId) -> Channel:
    """Return the internal channel that *user*'s connections are members of."""
    return SHARDS[crc32(user.encode()) % len(SHARDS)]


def status_channel(pattern: str, user: UserId) -> Channel | None:
    """
    Return ``status:anna`` of ``status:{user}``; None if that were too long a name.

    The user is percent-encoded, for it may have characters that channels have not.
    """
    name = pattern.replace("{user}", quote(user, safe=_PLAIN))
    return Channel(name) if len(name) <= MAX_CHANNEL_CHARS else None


class Users:
    """Admits users' connections, and tells who is online."""

    def __init__(
        self,
        presence: Presence,
        attendance: Attendance,
        settings: UserSettings,
        max_connections: int,
        keeping: Keeping,
        notify: Notify,
        clock: Clock,
    ) -> None:
        self._presence = presence
        self._attendance = attendance
        self._settings = settings
        self._max_connections = max_connections
        self._keeping = keeping
        self._notify = notify
        self._clock = clock
        self.active = settings.online or max_connections > 0
        if settings.online:  # somebody must tell of the users of a node that died
            attendance.always(SHARDS)

    @property
    def online(self) -> bool:
        """Whether it is known who is online, and told."""
        return self._settings.online

    def admits(self, user: UserId | None) -> bool:
        """Whether nothing is to be noted or asked when *user* connects."""
        return user is None or not self.active

    # -- coming and going ------------------------------------------------------------

    @asynccontextmanager
    async def admitted(
        self, client: ConnectionId, user: UserId | None
    ) -> AsyncIterator[None]:
        """As ``admit``; if the block raises, the connection has left again."""
        await self.admit(client, user)
        try:
            yield
        except BaseException:
            self.left(client, user)
            raise

    async def admit(self, client: ConnectionId, user: UserId | None) -> None:
        """
        Note a connection of *user*, unless there are too many; cancelling is safe.

        While the store does not answer, everybody is admitted: the limit protects from
        a careless client, and is not worth locking everybody out.

        Raises:
            Disconnect: TOO_MANY_CONNECTIONS.
        """
        if user is None or self.admits(user):
            return
        channel, member = shard_of(user), Member(client, user)
        if not self._max_connections:
            self._attendance.join_later(channel, member)
            return
        try:
            arrival = await self._attendance.join(channel, member)
        except Unavailable as exc:
            log.info("user_limit_unchecked", connection=client, error=str(exc))
            self._attendance.join_later(channel, member)
            return
        except BaseException:
            self._attendance.leave(channel, client)
            raise
        if arrival.connections > self._max_connections:
            self._attendance.leave(channel, client)
            raise Disconnect(TOO_MANY_CONNECTIONS)

    def left(self, client: ConnectionId, user: UserId | None) -> None:
        """A connection has ended, in whatever way; harmless if it was not admitted."""
        if user is None or not self.active:
            return
        linger_s = self._settings.linger_s if self._settings.online else 0.0
        self._attendance.leave(shard_of(user), client, linger_s)

    # -- telling -----------------------------------------------------------------------

    async def announce(self, shard: Channel, member: Member, there: bool) -> None:
        """Tell the channel of the user's status, and the webhook."""
        user = member.user
        if user is None:
            return
        body: Mapping[str, object] = {
            "user": user,
            "online": there,
            "at": round(self._clock.time(), 3),
        }
        pattern = self._settings.channel
        channel = None if pattern is None else status_channel(pattern, user)
        if channel is not None:
            data = JSONText(orjson.dumps(body))
            await self._keeping.publish(Publication(channel, data))
        self._notify("user_online" if there else "user_offline", body)

    # -- reading -----------------------------------------------------------------------

    async def is_online(self, user: UserId) -> bool:
        """Whether *user* has a connection, or had one until just now. Unavailable."""
        return bool(await self._presence.connections(shard_of(user), user))

    async def who_is_online(self, users: Sequence[UserId]) -> Mapping[UserId, bool]:
        """
        Say of each of *users* whether it is online.

        Raises:
            Unavailable: If that cannot be read.
        """
        found: dict[UserId, bool] = {}
        for start in range(0, len(users), ASKED_AT_ONCE):
            part = users[start : start + ASKED_AT_ONCE]
            answers = await asyncio.gather(*map(self.is_online, part))
            found.update(zip(part, answers, strict=True))
        return found
