"""What the application reads from: messages one by one, or a counter's latest value."""

from __future__ import annotations

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from realtime_client.errors import ClientClosed, RealtimeError
from realtime_client.hooks import log
from realtime_client.values import Json, LiveValue

T = TypeVar("T")

MAX_MESSAGES = 1_000
MAX_BYTES = 4 * 1024 * 1024


class Feed(ABC, Generic[T]):
    """
    One reader of one channel; the same channel may have several.

    Iterating ends when it or the client is closed, and raises when the server refuses
    or ends the subscription or the client has met a final error. Reconnecting does not
    show here, except that messages published in the meantime are missing.

    ``close`` it (or leave its ``async with``) when it is not read any more: until then
    the channel stays subscribed.
    """

    def __init__(self, channel: str, leave: Callable[[Feed[Any]], None]) -> None:
        self.channel = channel
        self.error: RealtimeError | None = None
        self._leave = leave
        self._closed = False
        self._active = False
        self._changed = asyncio.Event()

    @property
    def active(self) -> bool:
        """Whether the server has confirmed the subscription, once at least."""
        return self._active

    async def established(self) -> None:
        """
        Wait until the server has confirmed the subscription.

        Raises:
            RealtimeError: Why it never will.
        """
        while not self._active:
            if self._ended():
                raise ClientClosed(f"the reader of {self.channel} was closed")
            await self._change()

    def close(self) -> None:
        """Read no more; the last reader unsubscribes. Closing twice is harmless."""
        if not self._closed:
            self._closed = True
            self._leave(self)
            self._changed.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def next_nowait(self) -> T:
        """Return what is there to be read. Raises asyncio.QueueEmpty if nothing is."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            with suppress(asyncio.QueueEmpty):
                return self.next_nowait()
            if self._ended():
                raise StopAsyncIteration
            await self._change()

    def _ended(self) -> bool:
        """Whether the application has closed it. Raises what else has ended it."""
        if self.error is not None:
            raise self.error
        return self._closed

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    # -- the client's side -------------------------------------------------------------

    def activate(self) -> None:
        """The server has confirmed."""
        self._active = True
        self._changed.set()

    def fail(self, error: RealtimeError) -> None:
        """There will be nothing more."""
        if self.error is None and not self._closed:
            self.error = error
            self._changed.set()

    @abstractmethod
    def deliver(self, data: Json, value: LiveValue | None, size: int) -> None:
        """
        Take one publication of *size* bytes.

        *value* is what it says of a live channel, if that is news.
        """


class Subscription(Feed[Json]):
    """
    Every message of a channel, in order: ``async for data in subscription``.

    What the reader has not taken yet is bounded (*max_messages*, *max_bytes*). When it
    is full, the oldest messages make room for the newest: ``dropped`` counts them and
    a ``MessagesDropped`` notice tells when it begins.
    """

    def __init__(
        self,
        channel: str,
        leave: Callable[[Feed[Any]], None],
        on_drop: Callable[[str], None],
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        super().__init__(channel, leave)
        self.dropped = 0
        self._on_drop = on_drop
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: deque[tuple[Json, int]] = deque()
        self._bytes = 0
        self._overflowing = False

    def deliver(self, data: Json, value: LiveValue | None, size: int) -> None:
        """Append one message, at the cost of the oldest."""
        self._messages.append((data, size))
        self._bytes += size
        while len(self._messages) > 1 and (
            len(self._messages) > self._max_messages or self._bytes > self._max_bytes
        ):
            self._bytes -= self._messages.popleft()[1]
            self.dropped += 1
            if not self._overflowing:
                self._overflowing = True
                self._on_drop(self.channel)
        self._changed.set()

    def next_nowait(self) -> Json:
        """Return the next message, without waiting. Raises asyncio.QueueEmpty."""
        if not self._messages:
            raise asyncio.QueueEmpty
        data, size = self._messages.popleft()
        self._bytes -= size
        if not self._messages:
            self._overflowing = False
        return data


class Watch(Feed[LiveValue]):
    """
    A counter's value: ``async for value in watch``.

    A reader that takes its time gets the latest value and never a queue. ``latest`` is
    the last one that arrived, also without iterating. Late changes of windows that have
    ended are passed over: a chart that wants them subscribes to the channel instead.
    """

    def __init__(self, channel: str, leave: Callable[[Feed[Any]], None]) -> None:
        super().__init__(channel, leave)
        self.latest: LiveValue | None = None
        self._unread: LiveValue | None = None

    def deliver(self, data: Json, value: LiveValue | None, size: int) -> None:
        """Replace the value."""
        if value is not None:
            self.latest = self._unread = value
            self._changed.set()

    def next_nowait(self) -> LiveValue:
        """Return a value not read yet, without waiting. Raises asyncio.QueueEmpty."""
        if self._unread is None:
            raise asyncio.QueueEmpty
        value, self._unread = self._unread, None
        return value


async def follow(
    watch: Watch, callback: Callable[[LiveValue], Awaitable[None] | None]
) -> None:
    """Give every value of *watch* to *callback*, one after the other, until it ends."""
    try:
        async for value in watch:
            try:
                result = callback(value)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                log.exception("the callback of %s raised", watch.channel)
    except RealtimeError as exc:
        log.warning("watching %s has ended: %s", watch.channel, exc)
