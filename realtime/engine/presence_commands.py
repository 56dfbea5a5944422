"""
What the commands about members do: ``presence`` and ``presence_stats``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from realtime.engine.channel_commands import Handler, Pending
from realtime.errors import BAD_MESSAGE, UNAVAILABLE, CommandError, Unavailable
from realtime.hooks import Wants
from realtime.wire.messages import (
    PresenceCount,
    PresencePage,
    ReadPresence,
    ReadPresenceStats,
)

if TYPE_CHECKING:
    from realtime.engine.connection import Connection


def presence(connection: Connection, command: ReadPresence) -> Pending:
    """Check, then read a page of members."""
    identity = connection.session.identity
    assert identity is not None
    connection.services.access.check_members(identity, command.channel)
    return _presence(connection, command)


async def _presence(connection: Connection, command: ReadPresence) -> None:
    await _ask_hook(connection, command)
    present = connection.services.people.channels
    try:
        page = await present.members(command.channel, command.limit, command.cursor)
    except ValueError as exc:
        raise CommandError(BAD_MESSAGE, str(exc), field="cursor") from exc
    except Unavailable as exc:
        raise CommandError(UNAVAILABLE, str(exc), retry_after_s=1.0) from exc
    connection.reply(
        PresencePage(command.channel, page.members, command.id, page.cursor or None)
    )


def presence_stats(connection: Connection, command: ReadPresenceStats) -> Pending:
    """Check, then count members."""
    identity = connection.session.identity
    assert identity is not None
    connection.services.access.check_members(identity, command.channel)
    return _presence_stats(connection, command)


async def _presence_stats(connection: Connection, command: ReadPresenceStats) -> None:
    await _ask_hook(connection, command)
    try:
        found = await connection.services.people.channels.stats(command.channel)
    except Unavailable as exc:
        raise CommandError(UNAVAILABLE, str(exc), retry_after_s=1.0) from exc
    connection.reply(
        PresenceCount(command.channel, found.clients, found.users, command.id)
    )


async def _ask_hook(
    connection: Connection, command: ReadPresence | ReadPresenceStats
) -> None:
    session, hooks = connection.session, connection.services.hooks.channels
    await hooks.check_read(
        session.identity, command.channel, Wants.MEMBERS, connection.id
    )


HANDLERS: Mapping[type, Handler] = {
    ReadPresence: presence,
    ReadPresenceStats: presence_stats,
}
