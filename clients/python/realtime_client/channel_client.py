"""The client's channels: reading, publishing, and asking what was and who is there."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from realtime_client import replies
from realtime_client.base_client import BaseClient
from realtime_client.codec import to_json
from realtime_client.commands import LIMIT_EXCEEDED
from realtime_client.errors import BadReply, CommandError, Retry
from realtime_client.feeds import MAX_MESSAGES, Feed, Subscription, Watch, follow
from realtime_client.naming import LIVE
from realtime_client.options import make_options
from realtime_client.repeat import repeat
from realtime_client.values import (
    History,
    Json,
    LiveValue,
    Message,
    MessagesDropped,
    Position,
    Presence,
    PresenceStats,
    Published,
    State,
)

RETRY_S = 30.0

R = TypeVar("R")


class ChannelClient(BaseClient):
    """Everything about channels. See ``RealtimeClient``."""

    # -- reading -----------------------------------------------------------------------

    def watch(
        self,
        channel: str,
        callback: Callable[[LiveValue], Awaitable[None] | None] | None = None,
        *,
        interval_s: float | None = None,
    ) -> Watch:
        """
        Follow a counter: iterate over the watch, or give a *callback*.

        The channel's name comes from ``live``. A reader (or a callback that is a
        coroutine function) that takes its time gets the latest value, never a queue.
        With *interval_s*, the server sends at most one value in so many seconds. What
        the server refuses is raised by iterating, and is the watch's ``error``.

        Raises:
            ValueError: If the channel is no live channel, an argument is wrong, or the
                channel is read already with another interval.
        """
        if not channel.startswith(LIVE):
            raise ValueError(
                f"channel: watch() is for live channels, and {channel!r} is none; "
                "use subscribe()"
            )
        watch = Watch(channel, self._leave, make_options(channel, interval_s))
        self._join(watch)
        if callback is not None:
            task = asyncio.get_running_loop().create_task(follow(watch, callback))
            self._callbacks.add(task)
            task.add_done_callback(self._callbacks.discard)
        return watch

    async def subscribe(
        self,
        channel: str,
        *,
        since: Position | None = None,
        filter: Mapping[str, Json] | None = None,
        interval_s: float | None = None,
        join_leave: bool = False,
        max_messages: int = MAX_MESSAGES,
    ) -> Subscription:
        """
        Subscribe to a channel and wait for the server's confirmation.

        Iterate over the result: every message in order; ``items`` tells more. Where the
        channel keeps a history, what is missed while the connection is down is
        delivered afterwards; if the server cannot, a ``Gap`` says so, in the place
        where something is missing and to ``on_notice``. *since* begins with what came
        after a position, say of an earlier run.

        *filter* is a condition on the tags of messages, such as ``{"tag": "symbol",
        "in": ["BTC", "ETH"]}``; *interval_s* asks for at most one message in so many
        seconds, the latest; *join_leave* for ``Joined`` and ``Left``. All readers of a
        channel share one subscription, and so these. At most *max_messages* wait to be
        read (and 4 MiB); beyond that, the oldest are dropped and counted.

        Raises:
            CommandError: If the server refuses: permission, name, filter, limits.
            RealtimeError: If the client is closed.
            ValueError: If an argument is wrong, or the channel is read already, in
                another way.
        """
        options = make_options(channel, interval_s, filter, join_leave)
        subscription = Subscription(
            channel,
            self._leave,
            self._dropped,
            max_messages=max_messages,
            options=options,
            since=since,
            on_room=self._has_room,
        )
        self._join(subscription)
        try:
            await subscription.established()
        except BaseException:
            subscription.close()
            raise
        return subscription

    def unsubscribe(self, channel: str) -> None:
        """Close every reader of a channel, watches too."""
        self._subscriptions.close(channel)

    def _join(self, feed: Feed[Any]) -> None:
        if self._closed or self.state is State.CLOSED:
            feed.fail(self._end())
            return
        self._subscriptions.add(feed)
        self._wake()

    def _leave(self, feed: Feed[Any]) -> None:
        self._subscriptions.remove(feed)
        self._wake()

    def _has_room(self) -> None:
        if self._subscriptions.room():
            self._wake()

    def _dropped(self, channel: str) -> None:
        self._hooks.notice(MessagesDropped(channel))

    # -- publishing --------------------------------------------------------------------

    async def publish(
        self,
        channel: str,
        data: Json,
        *,
        tags: Mapping[str, str] | None = None,
        exclude_self: bool = False,
        version: int | None = None,
        idempotency_key: str | None = None,
        retry_s: float = RETRY_S,
    ) -> Published:
        """
        Publish to a channel; returns when the server has passed it on.

        If the connection is lost before the reply comes, or the server cannot now, it
        is repeated for *retry_s* (0: never; less than the 5 minutes, by default, for
        which the server remembers). It has a key, made up unless *idempotency_key* is
        given, by which the server knows it again: it is published once. Nothing is
        queued while there is no connection.

        *tags* are what filters look at. With *exclude_self*, this client's own readers
        are not sent it. A *version* keeps an older state from replacing a newer one: it
        is skipped unless it is greater than all on this channel before.

        Raises:
            ValueError, TypeError: If JSON cannot say *data*.
            NotConnected: If there is no connection now; nothing was sent.
            ConnectionLost: If it was repeated in vain; it may have been published.
            CommandError: If the server refuses.
        """
        size, limits = len(to_json(data)), self.limits
        if limits is not None and size > limits.max_publication_bytes:
            reason = (
                f"data: {size} bytes, the server takes {limits.max_publication_bytes}"
            )
            raise CommandError(*LIMIT_EXCEEDED, Retry.NEVER, reason, field="data")
        key = idempotency_key
        if key is None and retry_s > 0:
            key = secrets.token_urlsafe(16)
        fields: dict[str, Json] = {"channel": channel, "data": data}
        if key is not None:
            fields["idempotency_key"] = key
        if tags:
            fields["tags"] = dict(tags)
        if exclude_self:
            fields["exclude_self"] = True
        if version is not None:
            fields["version"] = version
        reply = await self._ask("publish", replies.Published, retry_s, fields)
        skipped = reply.skipped
        if skipped == "duplicate" and idempotency_key is None:
            skipped = None  # by an attempt of ours
        return Published(reply.position, skipped, reply.local)

    # -- asking ------------------------------------------------------------------------

    async def history(
        self,
        channel: str,
        *,
        since: Position | None = None,
        limit: int | None = None,
        reverse: bool = False,
        retry_s: float = RETRY_S,
    ) -> History:
        """
        Read what a channel keeps: at most *limit* messages after *since*.

        Without *since*, from the oldest on. With *reverse*, backwards: those before
        *since*, or the newest. The server may return fewer; ``more`` says whether to
        ask again. A *limit* of 0 asks for the position alone. To recover what was
        missed, subscribe instead: the token need not grant the history for that.

        Raises:
            NotConnected, ConnectionLost: If there is no connection, or none that lasts.
            CommandError: If the server refuses.
        """
        fields: dict[str, Json] = {"channel": channel}
        if since is not None:
            fields["since"] = {"offset": since.offset, "epoch": since.epoch}
        if limit is not None:
            fields["limit"] = limit
        if reverse:
            fields["reverse"] = True
        reply = await self._ask("history", replies.HistoryPage, retry_s, fields)
        epoch = reply.position.epoch
        messages = [
            Message(
                one.data,
                None if one.offset is None else Position(one.offset, epoch),
                one.tags,
            )
            for one in reply.publications
        ]
        return History(tuple(messages), reply.position, reply.complete, reply.more)

    async def presence(
        self,
        channel: str,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        retry_s: float = RETRY_S,
    ) -> Presence:
        """
        Ask who is on a channel, a page of at most *limit* at a time.

        *cursor* is that of the page before. Raises like ``history``.
        """
        fields: dict[str, Json] = {"channel": channel}
        if limit is not None:
            fields["limit"] = limit
        if cursor:
            fields["cursor"] = cursor
        reply = await self._ask("presence", replies.PresencePage, retry_s, fields)
        return Presence(reply.members, reply.cursor)

    async def presence_stats(
        self, channel: str, *, retry_s: float = RETRY_S
    ) -> PresenceStats:
        """Ask how many are on a channel. Raises like ``history``."""
        fields = {"channel": channel}
        reply = await self._ask(
            "presence_stats", replies.PresenceCount, retry_s, fields
        )
        return PresenceStats(reply.clients, reply.users)

    async def _ask(
        self, kind: str, answer: type[R], retry_s: float, fields: Mapping[str, Json]
    ) -> R:
        """Send a command that may be sent twice until it is answered."""
        reply = await repeat(
            lambda: self._session().commands.request(kind, **fields),
            retry_s=retry_s,
            clock=self._clock,
            backoff=self._parts.make_backoff(),
            online=self._online_again,
            renewable=self._parts.tokens.renewable,
        )
        if not isinstance(reply, answer):
            raise BadReply(f"{kind} was answered with {type(reply).__name__}")
        return reply

    async def _online_again(self, timeout_s: float) -> bool:
        """Wait for a connection; False if none comes in time, or ever."""
        await self._bell.wait_for(
            lambda: self._welcome() is not None or self.state is State.CLOSED, timeout_s
        )
        return self._welcome() is not None
