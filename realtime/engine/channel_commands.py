"""
What the commands about channels do, once the session allows them: subscribe,
unsubscribe, publish, and reading the history.

As in commands.py, a handler either finishes at once and returns None, or returns a
coroutine that the connection awaits before its next command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from realtime.core.access import Identity
from realtime.core.channels import LIVE, namespace_of
from realtime.core.flow import Flow, flow_of, live_flow_of
from realtime.engine.keeping import Once, author_of
from realtime.engine.subscriptions import Missed, Subscription
from realtime.errors import (
    ENDED_BY_BACKEND,
    INTERNAL,
    LIMIT_EXCEEDED,
    RATE_LIMITED,
    UNAVAILABLE,
    CommandError,
    Disconnect,
    Unavailable,
)
from realtime.hooks import Wants
from realtime.types import Channel, Publication
from realtime.wire.messages import (
    HistoryPage,
    Publish,
    Published,
    ReadHistory,
    Recovering,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)

if TYPE_CHECKING:
    from realtime.engine.connection import Connection

log = structlog.get_logger(__name__)

Pending = Coroutine[Any, Any, None] | None
Handler = Callable[[Any, Any], Pending]

RESUMED_AT_ONCE = 64
"""Subscriptions of one hello that are looked at before others get their turn."""


# -- subscribe -------------------------------------------------------------------------


def subscribe(connection: Connection, command: Subscribe) -> Pending:
    """Check, then join; the reply says where it begins, and what was missed."""
    channel, flow = _check(connection, command, ())
    if _subscribe_at_once(connection, command, channel, flow):
        return None
    _expect(connection, channel)
    return _subscribe(connection, command, channel, flow)


def _subscribe_at_once(
    connection: Connection, command: Subscribe, channel: Channel, flow: Flow
) -> bool:
    """Subscribe if nobody must be waited for; return whether that was so."""
    services, outbox = connection.services, connection.outbox
    if services.hooks.channels.subscribes or services.people.channels.keeps(channel):
        return False
    joined = services.subscriptions.try_subscribe(
        channel, outbox, flow, command.since, connection.room
    )
    if joined is None:
        return False
    _tell(connection, command, channel, flow, joined)
    return True


def _check(
    connection: Connection, command: Subscribe, others: Collection[Channel]
) -> tuple[Channel, Flow]:
    """
    Return the channel and how its publications are to come.

    *others* are being subscribed at the same time.
    """
    session, services = connection.session, connection.services
    assert session.identity is not None
    channel = services.subscriptions.canonical(command.channel)
    if not services.hooks.channels.subscribes:
        services.access.check_subscribe(session.identity, channel)
    session.check_room(channel, others)
    if namespace_of(channel) == LIVE:
        flow = live_flow_of(command)
    else:
        flow = flow_of(services.keeping.definition(channel), command)
    return channel, flow


def _expect(connection: Connection, channel: Channel) -> None:
    """
    Note that a subscription is being made: from here on, a backend may end it,
    although it is not there yet.
    """
    if connection.joining is None:
        connection.joining = {}
    connection.joining[channel] = False


def _ended(connection: Connection, channel: Channel) -> bool:
    """Note that a subscription is made; return whether it has been ended already."""
    joining = connection.joining
    if joining is None:
        return False
    ended = joining.pop(channel, False)
    if not joining:
        connection.joining = None
    return ended


async def _subscribe(
    connection: Connection, command: Subscribe, channel: Channel, flow: Flow
) -> None:
    identity, hooks = connection.session.identity, connection.services.hooks.channels
    try:
        if hooks.subscribes and identity is not None:
            await hooks.check_subscribe(identity, channel, connection.id)
        joined = await _join(connection, command, channel, flow)
    finally:
        ended = _ended(connection, channel)
    # Nothing is awaited between joining and replying: a push would come before.
    if ended or connection.lost:  # as one of several, this is cancelled a turn later
        if isinstance(joined, Subscription):
            connection.session.channels[channel] = joined.number
            connection.leave(channel)
        if ended:
            connection.tell(CommandError(ENDED_BY_BACKEND), command.id)
        return
    _tell(connection, command, channel, flow, joined)


def _tell(
    connection: Connection,
    command: Subscribe,
    channel: Channel,
    flow: Flow,
    joined: Subscription | Missed,
) -> None:
    if isinstance(joined, Missed):
        connection.reply(
            Recovering(channel, joined.position, joined.publications, command.id)
        )
        return
    connection.session.channels[channel] = joined.number
    connection.reply(
        Subscribed(
            channel,
            joined.number,
            command.id,
            joined.data,
            joined.position,
            joined.recovered,
            joined.publications,
            flow.skips,
            joined.tags,
        )
    )


async def _join(
    connection: Connection, command: Subscribe, channel: Channel, flow: Flow
) -> Subscription | Missed:
    """Subscribe, after having become a member where members are known."""
    services, outbox = connection.services, connection.outbox
    present, identity = services.people.channels, connection.session.identity
    if identity is None or not present.keeps(channel):
        subscribe = services.subscriptions.subscribe
        return await subscribe(channel, outbox, flow, command.since, outbox.room)
    await present.arrive(connection, identity, channel)
    try:
        joined = await services.subscriptions.subscribe(
            channel, outbox, flow, command.since, outbox.room
        )
    except BaseException:
        present.depart(connection, channel)
        raise
    if isinstance(joined, Missed):
        present.depart(connection, channel, missed=True)
    return joined


def resume(connection: Connection, wanted: Sequence[Subscribe]) -> Pending:
    """
    Subscribe to everything that hello has named, all at once.

    Each is answered by itself, in any order; those that fail do not count as mistakes
    of the client, which may hold what it could subscribe to yesterday.
    """
    waiting: dict[Channel, Subscribe] = {}
    for command in wanted[:RESUMED_AT_ONCE]:
        try:
            channel, flow = _check(connection, command, waiting)
            if not _subscribe_at_once(connection, command, channel, flow):
                waiting[channel] = command
        except CommandError as exc:
            connection.tell(exc, command.id)
    later = [*waiting.values(), *wanted[RESUMED_AT_ONCE:]]
    return _resume(connection, later) if later else None


async def _resume(connection: Connection, wanted: Sequence[Subscribe]) -> None:
    begun: dict[Channel, None] = {}
    async with asyncio.TaskGroup() as group:
        for number, command in enumerate(wanted, start=1):
            if number % RESUMED_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                channel, flow = _check(connection, command, begun)
            except CommandError as exc:
                connection.tell(exc, command.id)
                continue
            begun[channel] = None
            _expect(connection, channel)
            group.create_task(_resume_one(connection, command, channel, flow, begun))


async def _resume_one(
    connection: Connection,
    command: Subscribe,
    channel: Channel,
    flow: Flow,
    begun: dict[Channel, None],
) -> None:
    try:
        await _subscribe(connection, command, channel, flow)
    except CommandError as exc:
        connection.tell(exc, command.id)
    except Disconnect as exc:
        connection.close(exc.code, exc.reason)
    except Exception:
        log.exception("command_failed", connection=connection.id, type=Subscribe)
        connection.tell(CommandError(INTERNAL), command.id)
    finally:
        del begun[channel]  # if it was subscribed, the session counts it now


def unsubscribe(connection: Connection, command: Unsubscribe) -> Pending:
    """Leave at once; nothing of this channel follows the reply."""
    channel = connection.services.subscriptions.canonical(command.channel)
    connection.leave(channel)
    connection.reply(Unsubscribed(channel, command.id))
    return None


# -- publish ---------------------------------------------------------------------------


def publish(connection: Connection, command: Publish) -> Pending:
    """Check, then hand the publication to the broker."""
    services, identity = connection.services, connection.session.identity
    assert identity is not None
    if not services.hooks.channels.publishes:
        services.access.check_publish(identity, command.channel)
    _check_rate(connection)
    size, limit = len(command.data), services.limits.max_publication_bytes
    if size > limit:
        raise CommandError(
            LIMIT_EXCEEDED,
            f"data: {size} bytes as JSON, at most {limit} are taken",
            field="data",
        )
    once = Once(command.idempotency_key, command.version, author_of(identity))
    services.keeping.check(command.channel, once)
    return _publish(connection, command, identity, once)


def _check_rate(connection: Connection) -> None:
    """
    Count one publication.

    Raises:
        CommandError: RATE_LIMITED if there were too many.
    """
    rate = connection.services.publish_rate
    if rate is None:
        return
    now = connection.services.clock.monotonic()
    wait_s = rate.wait_s(connection.published, now)
    if wait_s > 0:
        raise CommandError(
            RATE_LIMITED,
            f"more than {rate.per_s:g} publications a second",
            retry_after_s=round(wait_s, 3),
        )
    connection.published = rate.take(connection.published, now)


async def _publish(
    connection: Connection, command: Publish, identity: Identity, once: Once
) -> None:
    services, hooks = connection.services, connection.services.hooks.channels
    data, tags = command.data, command.tags
    if hooks.publishes:
        data, tags = await hooks.check_publish(
            identity, command.channel, data, tags, connection.id
        )
    sender = connection.id if command.exclude_self else None
    publication = Publication(command.channel, data, tags=tags, sender=sender)
    try:
        placed = await services.keeping.publish(publication, once, local=True)
    except Unavailable as exc:
        raise _unavailable(exc) from exc
    if command.id is not None:
        told = Published(command.id, placed.position, placed.skipped, placed.local)
        connection.reply(told)


# -- history ---------------------------------------------------------------------------


def history(connection: Connection, command: ReadHistory) -> Pending:
    """Check, then read a page."""
    identity = connection.session.identity
    assert identity is not None
    connection.services.access.check_history(identity, command.channel)
    return _history(connection, command)


async def _history(connection: Connection, command: ReadHistory) -> None:
    session, hooks = connection.session, connection.services.hooks.channels
    await hooks.check_read(
        session.identity, command.channel, Wants.HISTORY, connection.id
    )
    try:
        page = await connection.services.keeping.history(
            command.channel, command.since, command.limit, reverse=command.reverse
        )
    except Unavailable as exc:
        raise _unavailable(exc) from exc
    connection.reply(
        HistoryPage(
            command.channel,
            page.top,
            page.publications,
            page.complete,
            page.more,
            command.id,
        )
    )


def _unavailable(exc: Unavailable) -> CommandError:
    return CommandError(UNAVAILABLE, str(exc), retry_after_s=exc.retry_after_s)


HANDLERS: Mapping[type, Handler] = {
    Subscribe: subscribe,
    Unsubscribe: unsubscribe,
    Publish: publish,
    ReadHistory: history,
}
