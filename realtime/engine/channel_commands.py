"""
What the commands about channels do, once the session allows them: subscribe,
unsubscribe, publish, and reading the history.

As in commands.py, a handler either finishes at once and returns None, or returns a
coroutine that the connection awaits before its next command.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from realtime.errors import LIMIT_EXCEEDED, UNAVAILABLE, CommandError, Unavailable
from realtime.types import Channel, Publication
from realtime.wire.messages import (
    Publish,
    Published,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)

if TYPE_CHECKING:
    from realtime.engine.connection import Connection

Pending = Coroutine[Any, Any, None] | None
Handler = Callable[[Any, Any], Pending]


def subscribe(connection: Connection, command: Subscribe) -> Pending:
    """Check, then join; the reply carries a live channel's current value."""
    session, services = connection.session, connection.services
    assert session.identity is not None
    channel = services.subscriptions.canonical(command.channel)
    services.access.check_subscribe(session.identity, channel)
    session.check_room(channel)
    return _subscribe(connection, command, channel)


async def _subscribe(
    connection: Connection, command: Subscribe, channel: Channel
) -> None:
    subscriptions = connection.services.subscriptions
    joined = await subscriptions.subscribe(channel, connection.outbox)
    connection.session.channels[channel] = joined.number
    connection.reply(Subscribed(channel, joined.number, command.id, joined.data))


def unsubscribe(connection: Connection, command: Unsubscribe) -> Pending:
    """Leave at once; nothing of this channel follows the reply."""
    channel = connection.services.subscriptions.canonical(command.channel)
    connection.leave(channel)
    connection.reply(Unsubscribed(channel, command.id))
    return None


def publish(connection: Connection, command: Publish) -> Pending:
    """Check, then hand the publication to the broker."""
    services = connection.services
    assert connection.session.identity is not None
    services.access.check_publish(connection.session.identity, command.channel)
    connection.check_publish_rate()
    size, limit = len(command.data), services.limits.max_publication_bytes
    if size > limit:
        raise CommandError(
            LIMIT_EXCEEDED,
            f"data: {size} bytes as JSON, at most {limit} are taken",
            field="data",
        )
    return _publish(connection, command)


async def _publish(connection: Connection, command: Publish) -> None:
    publication = Publication(command.channel, command.data)
    try:
        await connection.services.broker.publish(publication)
    except Unavailable as exc:
        raise CommandError(UNAVAILABLE, str(exc), retry_after_s=1.0) from exc
    if command.id is not None:
        connection.reply(Published(command.id))


HANDLERS: Mapping[type, Handler] = {
    Subscribe: subscribe,
    Unsubscribe: unsubscribe,
    Publish: publish,
}
