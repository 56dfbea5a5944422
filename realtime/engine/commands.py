"""
What each command does, once the session allows it.

A handler either finishes at once and returns None, or returns a coroutine that the
connection awaits before its next command. Errors are raised as CommandError.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from realtime import __version__
from realtime.adapters.ledger.port import DeviceTaken
from realtime.core.access import Identity
from realtime.core.counting import Sender
from realtime.core.event_time import ClockOffset
from realtime.core.session import Numbered, proofs_of
from realtime.engine import channel_commands, presence_commands
from realtime.engine.batches import Submission, judge_all
from realtime.engine.channel_commands import Handler, Pending
from realtime.engine.ingest import Busy
from realtime.errors import (
    BLOCKED,
    BLOCKED_CLOSE,
    DEVICE_TAKEN,
    EXPIRED_CLOSE,
    PERMISSION_DENIED,
    REVOKED_CLOSE,
    TOKEN_EXPIRED,
    TOKEN_REVOKED,
    UNAUTHORIZED_CLOSE,
    UNAVAILABLE,
    CommandError,
    Disconnect,
    Unavailable,
)
from realtime.types import Channel
from realtime.wire.messages import (
    Ack,
    Hello,
    Limits,
    Refresh,
    Refreshed,
    SlowDown,
    Track,
    Unsubscribed,
    Welcome,
)

if TYPE_CHECKING:
    from realtime.engine.connection import Connection

log = structlog.get_logger(__name__)


ASKED_AT_ONCE = 32  # subscriptions that a hook is asked about after a refresh

#: How a connection is closed after an error that is not plainly "unauthorized".
_REFUSED = {
    BLOCKED: BLOCKED_CLOSE,
    TOKEN_EXPIRED: EXPIRED_CLOSE,
    TOKEN_REVOKED: REVOKED_CLOSE,
}

# -- hello -----------------------------------------------------------------------------


def hello(connection: Connection, command: Hello) -> Pending:
    """Check the token and claim the device, then say welcome."""
    connection.session.greet()
    received_at = connection.services.clock.time()
    try:
        identity = _known_at_once(connection, command)
    except CommandError as exc:
        raise _turned_away(connection, command, exc) from exc
    if identity is None:
        return _greet(connection, command, received_at)
    return _enter(connection, command, identity, None, received_at)


def _known_at_once(connection: Connection, command: Hello) -> Identity | None:
    """
    Return who it is that says hello; None if anybody must be asked for anything.

    Raises:
        CommandError: If he may not be here.
    """
    services = connection.services
    identity = services.hooks.sessions.try_hello(command)
    if identity is None:
        return None
    services.gate.check(identity)
    at_once = command.device is None and services.people.users.admits(identity.user)
    return identity if at_once else None


async def _greet(connection: Connection, command: Hello, received_at: float) -> None:
    try:
        services = connection.services
        identity = await services.hooks.sessions.hello(connection, command)
        services.gate.check(identity)
        mark = await _claim(connection, command, identity)
        async with services.people.users.admitted(connection.id, identity.user):
            services.gate.check(identity)  # an order may have come in the meantime
    except Unavailable as exc:
        connection.session.greet_again()
        raise _unavailable(exc) from exc
    except CommandError as exc:
        raise _turned_away(connection, command, exc) from exc
    pending = _enter(connection, command, identity, mark, received_at)
    if pending is not None:
        await pending


def _turned_away(
    connection: Connection, command: Hello, exc: CommandError
) -> Disconnect:
    """Tell why, and return what ends the connection."""
    connection.tell(exc, command.id)
    code = _REFUSED.get(exc.code, UNAUTHORIZED_CLOSE)
    return Disconnect(code, exc.reason)


def _unavailable(exc: Unavailable) -> CommandError:
    return CommandError(UNAVAILABLE, str(exc), retry_after_s=exc.retry_after_s)


async def _claim(
    connection: Connection, command: Hello, identity: Identity
) -> int | None:
    """Return what is counted of the device; None if there is none to send events."""
    if command.device is None:
        return None
    services = connection.services
    proofs = proofs_of(command, identity.user)
    if not services.access.may_track_any(identity):
        return None  # strangers without a grant would fill the ledger with marks
    try:
        return await services.ledger.claim(
            command.device, proofs, command.acked, services.marks_ttl_s
        )
    except DeviceTaken as exc:
        raise CommandError(
            DEVICE_TAKEN,
            f"device: {command.device} was first used by another user or secret",
            field="device",
        ) from exc


def _enter(
    connection: Connection,
    command: Hello,
    identity: Identity,
    mark: int | None,
    received_at: float,
) -> Pending:
    """Say welcome, and subscribe to what hello has named."""
    if not command.subscriptions:
        _begin(connection, command, identity, mark, received_at)
        return None
    with connection.joined():
        _begin(connection, command, identity, mark, received_at)
        return channel_commands.resume(connection, command.subscriptions)


def _begin(
    connection: Connection,
    command: Hello,
    identity: Identity,
    mark: int | None,
    received_at: float,
) -> None:
    services = connection.services
    device = None if mark is None else command.device
    connection.session.welcome(identity, device, mark)
    connection.client = command.client and sys.intern(command.client)
    services.directory.add(connection)
    if device is not None:
        connection.session.offset = ClockOffset()
        if command.sent_at is not None:
            connection.session.offset.sample(command.sent_at, received_at)
    connection.expect_expiry(identity)
    keepalive_s = services.keepalive.start(connection, command.keepalive_s)
    connection.reply(
        Welcome(
            connection=connection.id,
            node=services.node,
            version=__version__,
            received_at=received_at,
            sent_at=services.clock.time(),
            keepalive_s=keepalive_s,
            limits=_limits(connection),
            id=command.id,
            user=identity.user,
            acked=mark,
            expires_at=identity.expires_at,
        )
    )
    services.hooks.connections.opened(connection, command.client)
    log.info(
        "connection_opened",
        connection=connection.id,
        remote=connection.remote,
        dialect=connection.dialect.name,
        client=command.client,
    )


def _limits(connection: Connection) -> Limits:
    limits = connection.services.limits
    return Limits(
        limits.max_frame_bytes,
        limits.max_event_bytes,
        limits.max_batch_events,
        limits.max_publication_bytes,
        limits.max_subscriptions,
    )


# -- events ----------------------------------------------------------------------------


def track(connection: Connection, command: Track) -> Pending:
    """Judge the events and hand them to the ingest; the acknowledgement comes later."""
    session = connection.session
    numbered = session.take(command)
    if numbered is None:
        _acknowledge_again(connection)
        return None
    services = connection.services
    now = services.clock.time()
    offset = session.offset
    assert session.device is not None
    assert offset is not None
    if command.sent_at is not None:
        offset.sample(command.sent_at, now)
    if services.hooks.events.used:
        return _ask(connection, command, numbered, now)
    sender = connection.sender = connection.sender or _sender(connection)
    _submit(connection, Submission(sender, numbered, now, offset.seconds))
    return None


async def _ask(
    connection: Connection, command: Track, numbered: Numbered, now: float
) -> None:
    """Judge the events, let the hook have its word, and hand them to the ingest."""
    session, services = connection.session, connection.services
    while True:
        assert session.offset is not None
        sender, offset_s = _sender(connection), session.offset.seconds
        judged = judge_all(services.counting, sender, numbered, now, offset_s)
        device, user = sender.device, sender.user
        try:
            hooks = services.hooks.events
            judged = await hooks.ask(judged, device, user, connection.id)
        except CommandError as exc:
            _slow_down(connection, numbered, exc.retry_after_s or 1.0, exc.reason)
            return
        # What was sent before may meanwhile have been counted, or refused for a gap.
        again = session.take(command)
        if again is None:
            _acknowledge_again(connection)
            return
        if (again.first, again.lost) == (numbered.first, numbered.lost):
            break
        numbered = again
    _submit(connection, Submission(sender, replace(numbered, events=judged), now))


def _submit(connection: Connection, submission: Submission) -> None:
    try:
        connection.services.ingest.submit(connection, submission)
    except Busy as exc:
        numbered = submission.numbered
        _slow_down(connection, numbered, exc.retry_after_s, exc.reason)
    else:
        connection.session.took(submission.numbered)


def _slow_down(
    connection: Connection, numbered: Numbered, retry_after_s: float, reason: str
) -> None:
    first = numbered.first - numbered.lost
    connection.reply(SlowDown(first, round(retry_after_s, 3), reason))


def _acknowledge_again(connection: Connection) -> None:
    """Everything was sent before: if nothing of it is under way, the ack was lost."""
    if connection.session.settled:
        connection.reply(Ack(connection.session.acked))


def _sender(connection: Connection) -> Sender:
    """Say whose events these are; true until the token changes."""
    services, session = connection.services, connection.session
    identity, device = session.identity, session.device
    assert identity is not None
    assert device is not None
    may_track = services.access.tracker(identity)
    return services.counting.sender(device, identity.user, may_track)


# -- the token -------------------------------------------------------------------------


def refresh(connection: Connection, command: Refresh) -> Pending:
    """Check the new token; what it no longer grants is unsubscribed."""
    return _refresh(connection, command)


async def _refresh(connection: Connection, command: Refresh) -> None:
    services = connection.services
    try:
        identity = await services.hooks.sessions.refresh(connection, command)
    except Unavailable as exc:
        raise _unavailable(exc) from exc
    try:
        services.gate.check(identity)
    except CommandError as exc:
        connection.tell(exc, command.id)
        raise Disconnect(_REFUSED[exc.code], exc.reason) from exc
    connection.session.refresh(identity)
    connection.sender = None
    connection.expect_expiry(identity)
    connection.reply(Refreshed(command.id, identity.expires_at))
    await _check_channels(connection, identity)


async def _check_channels(connection: Connection, identity: Identity) -> None:
    """Unsubscribe what *identity* may not, or no longer, subscribe to."""
    channels = list(connection.session.channels)
    at_once = ASKED_AT_ONCE if connection.services.hooks.channels.subscribes else 1
    for begin in range(0, len(channels), at_once):
        some = channels[begin : begin + at_once]
        await asyncio.gather(*(_check(connection, identity, one) for one in some))


async def _check(connection: Connection, identity: Identity, channel: Channel) -> None:
    hooks = connection.services.hooks.channels
    try:
        await hooks.check_subscribe(identity, channel, connection.id)
    except CommandError as exc:
        # A hook that does not answer has allowed it before; it is asked again.
        gone = channel not in connection.session.channels
        if exc.code is not UNAVAILABLE and not gone:
            connection.leave(channel)
            connection.reply(
                Unsubscribed(channel, None, PERMISSION_DENIED.code, exc.reason)
            )


HANDLERS: Mapping[type, Handler] = {
    Hello: hello,
    Track: track,
    Refresh: refresh,
    **channel_commands.HANDLERS,
    **presence_commands.HANDLERS,
}

__all__: Sequence[str] = ("HANDLERS",)
