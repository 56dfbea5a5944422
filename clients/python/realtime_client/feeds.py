"""What the application reads from: messages one by one, or a counter's latest value."""

from __future__ import annotations

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from realtime_client.errors import ClientClosed, RealtimeError
from realtime_client.hooks import log
from realtime_client.options import PLAIN, Options
from realtime_client.values import Gap, Item, Json, LiveValue, Message, Position

T = TypeVar("T")
R = TypeVar("R")

MAX_MESSAGES = 1_000
MAX_BYTES = 4 * 1024 * 1024


class Feed(ABC, Generic[T]):
    """
    One reader of one channel; the same channel may have several.

    Iterating ends when it or the client is closed, and raises when the server refuses
    or ends the subscription or the client has met a final error. Reconnecting does not
    show here.

    ``close`` it (or leave its ``async with``) when it is not read any more: until then
    the channel stays subscribed.
    """

    def __init__(
        self,
        channel: str,
        leave: Callable[[Feed[Any]], None],
        options: Options = PLAIN,
    ) -> None:
        self.channel = channel
        self.options = options
        self.since: Position | None = None
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
        return await self._next(self.next_nowait)

    async def _next(self, take: Callable[[], R]) -> R:
        """Return what *take* does as soon as it does not raise asyncio.QueueEmpty."""
        while True:
            with suppress(asyncio.QueueEmpty):
                return take()
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

    @property
    def full(self) -> bool:
        """Whether so much waits to be read that nothing old should be asked for."""
        return False

    def activate(self, position: Position | None = None) -> None:
        """The server has confirmed; what comes begins after *position*."""
        self._active = True
        self._changed.set()

    def fail(self, error: RealtimeError) -> None:
        """There will be nothing more."""
        if self.error is None and not self._closed:
            self.error = error
            self._changed.set()

    @abstractmethod
    def deliver(self, item: Item, value: LiveValue | None, size: int) -> None:
        """
        Take what happened on the channel, in *size* bytes.

        *value* is what a message says of a live channel, if that is news.
        """


class Subscription(Feed[Json]):
    """
    Every message of a channel, in order: ``async for data in subscription``.

    Where the channel keeps a history, what was published while there was no connection
    comes too, once and in its place. ``items`` tells of more than the data.

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
        options: Options = PLAIN,
        since: Position | None = None,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(channel, leave, options)
        self.dropped = 0
        #: Up to where the application has read; None on channels without a history.
        self.position = since
        self.since = since
        self._on_drop = on_drop
        self._on_room = on_room
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._items: deque[tuple[Item, int]] = deque()
        self._bytes = 0
        self._overflowing = False  # the application has been told
        self._lost = False  # and is to be told in the place of what was dropped

    def items(self) -> AsyncIterator[Item]:
        """
        Iterate over everything that happens on the channel, in order.

        A ``Message`` has data, position and tags; a ``Gap`` says that messages are
        lost; ``Joined`` and ``Left`` come where they were asked for. Iterate over this
        or over the subscription itself: both take from the same queue.
        """
        return _Items(self)

    @property
    def full(self) -> bool:
        """Whether at least half of the room is taken."""
        return (
            len(self._items) * 2 > self._max_messages
            or self._bytes * 2 > self._max_bytes
        )

    def activate(self, position: Position | None = None) -> None:
        """The server has confirmed; what comes begins after *position*."""
        if self.position is None:
            self.position = position
        super().activate()

    def deliver(self, item: Item, value: LiveValue | None, size: int) -> None:
        """Append one item, at the cost of the oldest."""
        self._items.append((item, size))
        self._bytes += size
        while len(self._items) > 1 and (
            len(self._items) > self._max_messages or self._bytes > self._max_bytes
        ):
            self._drop_oldest()
        self._changed.set()

    def _drop_oldest(self) -> None:
        item, size = self._items.popleft()
        self._bytes -= size
        if isinstance(item, Message):
            self.dropped += 1
        self._lost = True
        if not self._overflowing:
            self._overflowing = True
            self._on_drop(self.channel)

    def next_nowait(self) -> Json:
        """
        Return the next message's data, without waiting.

        Raises:
            asyncio.QueueEmpty: If none is there to be read.
        """
        while True:
            item = self.next_item_nowait()
            if isinstance(item, Message):
                return item.data

    def next_item_nowait(self) -> Item:
        """Return the next item, without waiting. Raises asyncio.QueueEmpty."""
        if self._lost:  # before all that is left
            self._lost = False
            return Gap(self.channel, self.position, None, "the reader is too slow")
        if not self._items:
            self._overflowing = False
            raise asyncio.QueueEmpty
        was_full = self.full
        item, size = self._items.popleft()
        self._bytes -= size
        if isinstance(item, Message | Gap) and item.position is not None:
            self.position = item.position
        if was_full and not self.full:
            self._on_room()
        return item


class _Items:
    """Iterates over the items of a subscription."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        subscription = self._subscription
        return await subscription._next(subscription.next_item_nowait)


class Watch(Feed[LiveValue]):
    """
    A counter's value: ``async for value in watch``.

    A reader that takes its time gets the latest value and never a queue. ``latest`` is
    the last one that arrived, also without iterating. Late changes of windows that have
    ended are passed over: a chart that wants them subscribes to the channel instead.
    """

    def __init__(
        self,
        channel: str,
        leave: Callable[[Feed[Any]], None],
        options: Options = PLAIN,
    ) -> None:
        super().__init__(channel, leave, options)
        self.latest: LiveValue | None = None
        self._unread: LiveValue | None = None

    def deliver(self, item: Item, value: LiveValue | None, size: int) -> None:
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
