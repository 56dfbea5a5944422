"""
Who is on the channels of namespaces that keep presence.

A connection is a member of each such channel from before its subscription is confirmed
until it ends. Nothing of this is kept by connections: where no namespace has presence,
it costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import orjson

from realtime.adapters.broker.port import Broker
from realtime.adapters.presence.port import Members, Presence, PresenceStats
from realtime.core.access import Identity
from realtime.core.channels import namespace_of
from realtime.core.namespaces import NamespaceDefinition
from realtime.engine.attendance import Attendance
from realtime.errors import UNAVAILABLE, CommandError, Unavailable
from realtime.settings import PresenceSettings
from realtime.types import (
    Channel,
    ConnectionId,
    JSONText,
    Member,
    Publication,
    PublicationKind,
)

INTERNAL = "@"
"""Channels of the server's own begin with it; no namespace does."""

MISSED_S = 5.0
"""Who is sent a page of what it missed stays for so long, to subscribe for good."""


class Present(Protocol):
    """What is asked of a connection."""

    @property
    def id(self) -> ConnectionId:
        """Its name."""


class ChannelPresence:
    """Makes subscribers members, and tells the other subscribers of it."""

    def __init__(
        self,
        presence: Presence,
        attendance: Attendance,
        namespaces: Mapping[str, NamespaceDefinition],
        settings: PresenceSettings,
        broker: Broker,
    ) -> None:
        self._presence = presence
        self._attendance = attendance
        self._kept = {name: one for name, one in namespaces.items() if one.presence}
        self._broker = broker
        self._max_page = settings.max_page

    def keeps(self, channel: Channel) -> bool:
        """Whether members of *channel* are known."""
        return bool(self._kept) and namespace_of(channel) in self._kept

    # -- coming and going ------------------------------------------------------------

    async def arrive(
        self, connection: Present, identity: Identity, channel: Channel
    ) -> None:
        """
        Make a connection a member of *channel*, whose members are known.

        ``depart`` must follow when it does not come to subscribing. Cancelling is safe.

        Raises:
            CommandError: UNAVAILABLE if it cannot be made one now.
        """
        member = Member(connection.id, identity.user, identity.info)
        try:
            await self._attendance.join(channel, member)
        except Unavailable as exc:
            raise CommandError(UNAVAILABLE, str(exc), retry_after_s=1.0) from exc
        except BaseException:
            self.depart(connection, channel)
            raise

    def depart(
        self, connection: Present, channel: Channel, *, missed: bool = False
    ) -> None:
        """
        End its membership in the background; harmless if there is none.

        *missed*: it will come back at once, for the next page of what it missed.
        """
        if self.keeps(channel):
            linger_s = MISSED_S if missed else 0.0
            self._attendance.leave(channel, connection.id, linger_s)

    def closed(
        self, connection: Present, channels: Iterable[Channel], *, lost: bool
    ) -> None:
        """
        End all its memberships; if it was *lost*, it lingers as the namespaces say.
        """
        for channel in channels if self._kept else ():
            definition = self._kept.get(namespace_of(channel))
            if definition is not None:
                linger_s = definition.linger_s if lost else 0.0
                self._attendance.leave(channel, connection.id, linger_s)

    # -- telling -----------------------------------------------------------------------

    def tells(self, channel: Channel) -> bool:
        """Whether subscribers may ask to be told who comes and goes."""
        definition = self._kept.get(namespace_of(channel))
        return definition is not None and definition.join_leave

    async def announce(self, channel: Channel, member: Member, there: bool) -> None:
        """Tell the subscribers; the member itself does not hear that it has come."""
        kind = PublicationKind.JOIN if there else PublicationKind.LEAVE
        sender = member.client if there else None
        data = member_json(member)
        await self._broker.publish(Publication(channel, data, sender=sender, kind=kind))

    # -- reading -----------------------------------------------------------------------

    async def members(
        self, channel: Channel, limit: int | None = None, cursor: str = ""
    ) -> Members:
        """
        Return a page of members; *limit* is bounded by ``presence.max_page``.

        Raises:
            ValueError: If *cursor* is none that was given out.
            Unavailable: If they cannot be read.
        """
        most = self._max_page if limit is None else min(limit, self._max_page)
        return await self._presence.members(channel, most, cursor)

    async def stats(self, channel: Channel) -> PresenceStats:
        """Count connections and users. Raises Unavailable."""
        return await self._presence.stats(channel)


def member_json(member: Member) -> JSONText:
    """Return *member* as subscribers are told of it."""
    return JSONText(orjson.dumps(plain_member(member)))


def plain_member(member: Member) -> dict[str, object]:
    """Return *member* as orjson takes it."""
    plain: dict[str, object] = {"client": member.client}
    if member.user is not None:
        plain["user"] = member.user
    if member.info is not None:
        plain["info"] = orjson.Fragment(member.info)
    return plain
