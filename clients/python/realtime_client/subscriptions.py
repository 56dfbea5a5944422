"""
Which channels are wanted, which ones the server sends, and who reads them.

Laws: pure but for the readers it wakes. A channel is subscribed once however many
readers it has. Numbers of channels belong to one connection and are forgotten with it;
positions are not. Every wanted channel is asked for again on the next connection.

    WANTED --ask--> ASKED --subscribed--> ACTIVE --last reader leaves--> LEAVING
      ^  ^------------'  recovering; error: later                           |
      '---------------------------------- unsubscribed, but wanted again ---'
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from realtime_client.backoff import Backoff
from realtime_client.channel import Channel, Phase
from realtime_client.errors import ENDINGS, CommandError, RealtimeError, Retry
from realtime_client.feeds import Feed
from realtime_client.naming import same_channel
from realtime_client.replies import (
    ChannelPush,
    ErrorReply,
    Recovering,
    Reply,
    Subscribed,
    Unsubscribed,
)
from realtime_client.values import Gap, Json


@dataclass(frozen=True, slots=True)
class Action:
    """A command to send: *verb* is ``subscribe`` or ``unsubscribe``."""

    verb: str
    channel: Channel
    fields: dict[str, Json]


class Subscriptions:
    """Every channel that the application reads; *on_gap* is told of every loss."""

    def __init__(
        self,
        make_backoff: Callable[[], Backoff],
        on_gap: Callable[[Gap], None] = lambda _: None,
    ) -> None:
        self._make_backoff = make_backoff
        self._on_gap = on_gap
        self._channels: dict[str, Channel] = {}
        self._numbers: dict[int, Channel] = {}
        self._todo: deque[Channel] = deque()
        self._later: list[Channel] = []
        self._parked: list[Channel] = []  # until their readers have room

    def __len__(self) -> int:
        return len(self._channels)

    # -- readers -----------------------------------------------------------------------

    def add(self, feed: Feed[Any]) -> None:
        """
        Add a reader; it is told at once what is known already.

        Raises:
            ValueError: If the channel is read already, and in another way.
        """
        key = same_channel(feed.channel)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(
                feed.channel, feed.options, self._make_backoff(), self._on_gap
            )
            channel.position = feed.since
            self._todo.append(channel)
        elif channel.feeds:
            _check_alike(channel, feed)
        else:
            channel.begin(feed.options, feed.since)
            self._todo.append(channel)
        channel.feeds.append(feed)
        if channel.phase is Phase.ACTIVE and not channel.stale:
            feed.activate(channel.position)
            if channel.value is not None and channel.item is not None:
                feed.deliver(channel.item, channel.value, 0)

    def remove(self, feed: Feed[Any]) -> None:
        """Remove a reader; with the last one, the channel goes."""
        channel = self._channels.get(same_channel(feed.channel))
        if channel is None or feed not in channel.feeds:
            return
        channel.feeds.remove(feed)
        if channel.feeds:
            return
        if channel.phase is Phase.WANTED:
            self._drop(channel)
        elif channel.phase is Phase.ACTIVE:
            self._todo.append(channel)

    def fail_all(self, error: RealtimeError) -> None:
        """There will be no connection any more."""
        for channel in list(self._channels.values()):
            self._fail(channel, error)

    def close(self, name: str) -> None:
        """The application is done with every reader of the channel."""
        channel = self._channels.get(same_channel(name))
        for feed in tuple(channel.feeds) if channel is not None else ():
            feed.close()

    def close_all(self) -> None:
        """The application is done with all of them."""
        for channel in list(self._channels.values()):
            self.close(channel.name)

    # -- the connection's side ---------------------------------------------------------

    def disconnected(self) -> None:
        """Ask for everything anew on the next connection."""
        self._numbers.clear()
        self._later.clear()
        self._todo.clear()
        self._parked.clear()
        for channel in list(self._channels.values()):
            channel.disconnected()
            if channel.feeds:
                self._todo.append(channel)
            else:
                self._drop(channel)

    def poll(self, now: float) -> Action | None:
        """Return the next command that is due; the caller must send it."""
        for channel in [one for one in self._later if one.due <= now]:
            self._later.remove(channel)
            self._todo.append(channel)
        while self._todo:
            channel = self._todo.popleft()
            if channel.phase is Phase.WANTED and channel.feeds:
                if channel.position is not None and channel.full:
                    self._parked.append(channel)
                    continue
                channel.phase = Phase.ASKED
                return Action("subscribe", channel, channel.command())
            if channel.phase is Phase.ACTIVE and (channel.stale or not channel.feeds):
                channel.phase = Phase.LEAVING
                return Action("unsubscribe", channel, {"channel": channel.name})
        return None

    def room(self) -> bool:
        """A reader has room again; whether there is something to ask for now."""
        ready = [one for one in self._parked if not one.full]
        for channel in ready:
            self._parked.remove(channel)
            self._todo.append(channel)
        return bool(ready)

    def not_asked(self) -> None:
        """What was asked for with hello was not taken: ask again."""
        for channel in self._channels.values():
            if channel.phase is Phase.ASKED:
                channel.disconnected()
                self._todo.append(channel)

    def deadline(self) -> float | None:
        """When ``poll`` must be called again if nothing happens; None: not at all."""
        return min((channel.due for channel in self._later), default=None)

    def answered(self, channel: Channel, reply: Reply, size: int, now: float) -> None:
        """Take the reply to an action, of *size* bytes."""
        match reply:
            case Subscribed():
                self._joined(channel, reply, size)
            case Recovering():
                progress = channel.recovering(reply, size)
                self._ask_again(channel, None if progress else now)
            case Unsubscribed():
                self._left(channel)
            case ErrorReply() if channel.phase is Phase.LEAVING:
                self._left(channel)  # the server did not know of it: just as well
            case ErrorReply(error=error) if error.retry is Retry.NEVER:
                self._fail(channel, error)
            case ErrorReply(error=error):
                self._ask_again(channel, now, error.retry_after_s)

    def _joined(self, channel: Channel, reply: Subscribed, size: int) -> None:
        channel.phase = Phase.ACTIVE
        channel.backoff.reset()
        self._numbers[reply.number] = channel
        channel.joined(reply, size)
        if channel.stale or not channel.feeds:
            self._todo.append(channel)  # everybody left while it was asked for

    def _left(self, channel: Channel) -> None:
        self._forget_number(channel)
        channel.value = channel.item = None
        self._ask_again(channel, None)

    def _ask_again(
        self, channel: Channel, now: float | None, after_s: float | None = None
    ) -> None:
        """Subscribe if anybody reads: at once, or with a delay from *now*."""
        channel.phase, channel.stale = Phase.WANTED, False
        if not channel.feeds:
            self._drop(channel)
        elif now is None:
            self._todo.appendleft(channel)
        else:
            channel.due = now + channel.backoff.next_delay(after_s)
            self._later.append(channel)

    def ended(self, reply: Unsubscribed) -> None:
        """The server has ended a subscription by itself."""
        for channel in list(self._numbers.values()):
            if channel.canonical == reply.channel:
                reason = reply.reason or "the server has ended the subscription"
                code = reply.code or 0
                name = ENDINGS.get(code, "unsubscribed")
                self._fail(channel, CommandError(code, name, Retry.NEVER, reason))

    def push(self, push: ChannelPush, size: int) -> None:
        """Hand a push of *size* bytes to the readers; unknown numbers pass."""
        channel = self._numbers.get(push.channel)
        if channel is not None:
            channel.take(push, size)

    # -- the end of a channel ----------------------------------------------------------

    def _fail(self, channel: Channel, error: RealtimeError) -> None:
        self._drop(channel)
        feeds, channel.feeds = channel.feeds, []
        for feed in feeds:
            feed.fail(error)

    def _drop(self, channel: Channel) -> None:
        self._forget_number(channel)
        for waiting in (self._later, self._parked):
            if channel in waiting:
                waiting.remove(channel)
        key = same_channel(channel.name)
        if self._channels.get(key) is channel:  # it may have gone before and come anew
            del self._channels[key]

    def _forget_number(self, channel: Channel) -> None:
        if channel.number is not None:
            self._numbers.pop(channel.number, None)
            channel.number = None


def _check_alike(channel: Channel, feed: Feed[Any]) -> None:
    """A connection is subscribed to a channel once, so all its readers share that."""
    if feed.options != channel.options:
        raise ValueError(
            f"{channel.name} is read already, with {channel.options}; another reader "
            f"cannot have {feed.options}"
        )
    if feed.since is not None:
        raise ValueError(
            f"since: {channel.name} is read already; another reader begins where that "
            "one stands"
        )
