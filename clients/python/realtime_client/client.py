"""The client: what an application calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from realtime_client.base_client import BaseClient
from realtime_client.codec import to_json
from realtime_client.commands import LIMIT_EXCEEDED
from realtime_client.errors import (
    ClientClosed,
    CommandError,
    Retry,
)
from realtime_client.events import MAX_EVENT_BYTES, encode_event
from realtime_client.feeds import MAX_MESSAGES, Feed, Subscription, Watch, follow
from realtime_client.naming import LIVE
from realtime_client.values import (
    Json,
    LiveValue,
    MessagesDropped,
    Scalar,
    State,
)


class RealtimeClient(BaseClient):
    """
    One device's connection to a realtime server, kept up in the background.

    Use it as an asynchronous context manager, or call ``connect`` (or ``start``) and
    ``aclose``. All of it belongs to one event loop.

    *url* is the server's address; ``http://host:8080`` stands for
    ``ws://host:8080/v1/ws``.

    *token* is a JWT, or a function (also a coroutine function) that returns one: it is
    called when the first is needed, when one has lived 80 % of its life, and when the
    server finds one expired. Let it raise a ``RealtimeError`` to stop the client for
    good (say, the user has signed out); anything else it raises is tried again.

    *queue* keeps events until they are acknowledged: None keeps them in memory, a path
    in a SQLite file (they outlive the process); or give an ``EventQueue`` of your own.
    *device* and *secret* name and prove the device; they are made up when left out, and
    recorded in the queue's file. *tracking* False makes a client that never tracks.

    *keepalive_s* is the silence after which the connection is checked; the server may
    move it into its bounds. *batch_interval_ms* is how long events wait for others once
    a frame of events was sent; the first after a pause goes at once. At most
    *max_in_flight* frames of events wait for their acknowledgement. *close_flush_s* is
    how long ``aclose`` waits for acknowledgements.

    *headers* and *ssl* are for the handshake. *max_message_bytes* bounds what the
    server may send in one message.

    *on_state*, *on_rejected* and *on_notice* are called on the event loop and should
    return quickly. *clock* and *random* (0 to 1, for jitter) are for tests.

    Raises:
        ValueError: If an argument is wrong.
        QueueError: If the queue's file cannot be used.
    """

    # -- events ------------------------------------------------------------------------

    def track(
        self,
        name: str,
        properties: Mapping[str, Scalar] | None = None,
        at: float | None = None,
    ) -> int:
        """
        Queue an event and return its number. Never waits, works offline.

        *at* is when it happened by the device's clock, in seconds since the epoch; now
        when left out. The server counts the event once, however often it must be sent.

        Raises:
            BadEvent: If it can never be sent, or is larger than the server takes.
            QueueFull: If too many events wait. Drop it, drop others, or try again.
            QueueError: If the queue's file cannot be written.
            ClientClosed: If the client was closed.
        """
        if self._closed:
            raise ClientClosed("track: the client was closed")
        queue = self._tracking()
        when = self._clock.time() if at is None else at
        limits = self.limits
        most = MAX_EVENT_BYTES if limits is None else limits.max_event_bytes
        seq = queue.put(encode_event(name, properties, when, most))
        self._wake()
        return seq

    # -- channels ----------------------------------------------------------------------

    def watch(
        self,
        channel: str,
        callback: Callable[[LiveValue], Awaitable[None] | None] | None = None,
    ) -> Watch:
        """
        Follow a counter: iterate over the watch, or give a *callback*.

        The channel's name comes from ``live``. A reader (or a callback that is a
        coroutine function) that takes its time gets the latest value, never a queue.
        What the server refuses is raised by iterating, and is the watch's ``error``.

        Raises:
            ValueError: If the channel is no live channel.
        """
        if not channel.startswith(LIVE):
            raise ValueError(
                f"channel: watch() is for live channels, and {channel!r} is none; "
                "use subscribe()"
            )
        watch = Watch(channel, self._leave)
        self._join(watch)
        if callback is not None:
            task = asyncio.get_running_loop().create_task(follow(watch, callback))
            self._callbacks.add(task)
            task.add_done_callback(self._callbacks.discard)
        return watch

    async def subscribe(
        self, channel: str, *, max_messages: int = MAX_MESSAGES
    ) -> Subscription:
        """
        Subscribe to a channel and wait for the server's confirmation.

        Iterate over the result: every message in order. At most *max_messages* wait to
        be read (and 4 MiB); beyond that, the oldest are dropped and counted.

        Raises:
            CommandError: If the server refuses: permission, name, limits.
            RealtimeError: If the client is closed.
        """
        subscription = Subscription(
            channel, self._leave, self._dropped, max_messages=max_messages
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

    async def publish(self, channel: str, data: Json) -> None:
        """
        Publish to a channel; returns when the server has passed it on.

        It is sent once: not repeated after a lost connection, not queued while offline.

        Raises:
            ValueError, TypeError: If JSON cannot say *data*.
            NotConnected: If there is no connection now; nothing was sent.
            ConnectionLost: If the connection ended first; it may have been published.
            CommandError: If the server refuses.
        """
        size, limits = len(to_json(data)), self.limits
        if limits is not None and size > limits.max_publication_bytes:
            reason = (
                f"data: {size} bytes, the server takes {limits.max_publication_bytes}"
            )
            raise CommandError(*LIMIT_EXCEEDED, Retry.NEVER, reason, field="data")
        await self._session().commands.request("publish", channel=channel, data=data)

    async def ping(self) -> float:
        """
        Return how long a round trip to the server takes, in seconds.

        Raises:
            NotConnected, ConnectionLost: If there is no connection, or it ends.
        """
        return await self._session().commands.ping()

    # -- readers -----------------------------------------------------------------------

    def _join(self, feed: Feed[Any]) -> None:
        if self._closed or self.state is State.CLOSED:
            feed.fail(self._end())
            return
        self._subscriptions.add(feed)
        self._wake()

    def _leave(self, feed: Feed[Any]) -> None:
        self._subscriptions.remove(feed)
        self._wake()

    def _dropped(self, channel: str) -> None:
        self._hooks.notice(MessagesDropped(channel))
