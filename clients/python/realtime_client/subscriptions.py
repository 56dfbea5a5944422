"""
Which channels are wanted, which ones the server sends, and who reads them.

Laws: pure but for the readers it wakes. A channel is subscribed once however many
readers it has. Numbers of channels belong to one connection and are forgotten with it.
Every wanted channel is asked for again on the next connection.

    WANTED --ask--> ASKED --subscribed--> ACTIVE --last reader leaves--> LEAVING
      ^  ^------------'  error: later                                       |
      '---------------------------------- unsubscribed, but wanted again ---'
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from realtime_client.backoff import Backoff
from realtime_client.errors import CommandError, RealtimeError, Retry
from realtime_client.feeds import Feed
from realtime_client.naming import LIVE, same_channel
from realtime_client.replies import ErrorReply, Reply, Subscribed, Unsubscribed
from realtime_client.values import Json, LiveValue


class Phase(Enum):
    """Where a channel stands on the connection."""

    WANTED = "wanted"
    ASKED = "asked"
    ACTIVE = "active"
    LEAVING = "leaving"


class Entry:
    """One channel with readers, or on its way out."""

    __slots__ = (
        "backoff",
        "canonical",
        "channel",
        "data",
        "due",
        "feeds",
        "number",
        "phase",
        "value",
    )

    def __init__(self, channel: str, backoff: Backoff) -> None:
        self.channel = channel
        self.canonical = channel
        self.phase = Phase.WANTED
        self.number: int | None = None
        self.feeds: list[Feed[Any]] = []
        self.backoff = backoff
        self.due = float("-inf")  # monotonic: do not ask sooner
        self.data: Json = None  # of a live channel: what arrived last
        self.value: LiveValue | None = None

    def deliver(self, data: Json, size: int, *, snapshot: bool) -> None:
        """
        Hand a publication to the readers.

        A *snapshot* is what the server says on subscribing: it is right even when it
        seems older, because the server may have started anew. Pushes are only news
        when they are newer than what is there.
        """
        value = None
        if self.channel.startswith(LIVE):
            value = read_value(self.canonical, data)
            if value is not None and self._is_news(value, snapshot):
                self.data, self.value = data, value
            else:
                value = None
        for feed in tuple(self.feeds):  # a reader told of an overflow may leave
            feed.deliver(data, value, size)

    def _is_news(self, value: LiveValue, snapshot: bool) -> bool:
        if self.value is None:
            return True
        return value != self.value if snapshot else value.newer_than(self.value)


def read_value(channel: str, data: Json) -> LiveValue | None:
    """Return what the *data* of a live channel says; None if it is something else."""
    if not isinstance(data, dict) or "value" not in data:
        return None
    return LiveValue(
        channel,
        data["value"],
        data.get("at"),
        data.get("rev") or 0,
        bool(data.get("final")),
    )


@dataclass(frozen=True, slots=True)
class Action:
    """A command to send: *verb* is ``subscribe`` or ``unsubscribe``."""

    verb: str
    entry: Entry


class Subscriptions:
    """Every channel that the application reads."""

    def __init__(self, make_backoff: Callable[[], Backoff]) -> None:
        self._make_backoff = make_backoff
        self._entries: dict[str, Entry] = {}
        self._numbers: dict[int, Entry] = {}
        self._todo: deque[Entry] = deque()
        self._later: list[Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    # -- readers -----------------------------------------------------------------------

    def add(self, feed: Feed[Any]) -> None:
        """Add a reader; it is told at once what is known already."""
        key = same_channel(feed.channel)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(feed.channel, self._make_backoff())
            self._todo.append(entry)
        entry.feeds.append(feed)
        if entry.phase is Phase.ACTIVE:
            feed.activate()
            if entry.value is not None:
                feed.deliver(entry.data, entry.value, 0)

    def remove(self, feed: Feed[Any]) -> None:
        """Remove a reader; with the last one, the channel goes."""
        entry = self._entries.get(same_channel(feed.channel))
        if entry is None or feed not in entry.feeds:
            return
        entry.feeds.remove(feed)
        if entry.feeds:
            return
        if entry.phase is Phase.WANTED:
            self._drop(entry)
        elif entry.phase is Phase.ACTIVE:
            self._todo.append(entry)

    def fail_all(self, error: RealtimeError) -> None:
        """There will be no connection any more."""
        for entry in list(self._entries.values()):
            self._fail(entry, error)

    def close(self, channel: str) -> None:
        """The application is done with every reader of *channel*."""
        entry = self._entries.get(same_channel(channel))
        for feed in tuple(entry.feeds) if entry is not None else ():
            feed.close()

    def close_all(self) -> None:
        """The application is done with all of them."""
        for entry in list(self._entries.values()):
            self.close(entry.channel)

    # -- the connection's side ---------------------------------------------------------

    def disconnected(self) -> None:
        """Ask for everything anew on the next connection."""
        self._numbers.clear()
        self._later.clear()
        self._todo.clear()
        for entry in list(self._entries.values()):
            entry.number, entry.due = None, float("-inf")
            entry.phase = Phase.WANTED
            if entry.feeds:
                self._todo.append(entry)
            else:
                self._drop(entry)

    def poll(self, now: float) -> Action | None:
        """Return the next command that is due; the caller must send it."""
        for entry in [one for one in self._later if one.due <= now]:
            self._later.remove(entry)
            self._todo.append(entry)
        while self._todo:
            entry = self._todo.popleft()
            if entry.phase is Phase.WANTED and entry.feeds:
                entry.phase = Phase.ASKED
                return Action("subscribe", entry)
            if entry.phase is Phase.ACTIVE and not entry.feeds:
                entry.phase = Phase.LEAVING
                return Action("unsubscribe", entry)
        return None

    def deadline(self) -> float | None:
        """When ``poll`` must be called again if nothing happens; None: not at all."""
        return min((entry.due for entry in self._later), default=None)

    def answered(self, entry: Entry, reply: Reply, size: int, now: float) -> None:
        """Take the reply to an action, of *size* bytes."""
        if isinstance(reply, Subscribed):
            self._joined(entry, reply, size)
        elif isinstance(reply, Unsubscribed):
            self._left(entry)
        elif isinstance(reply, ErrorReply):
            if entry.phase is Phase.LEAVING:
                self._left(entry)  # the server did not know of it: just as well
            else:
                self._refused(entry, reply.error, now)

    def _joined(self, entry: Entry, reply: Subscribed, size: int) -> None:
        entry.phase = Phase.ACTIVE
        entry.number, entry.canonical = reply.number, reply.channel
        entry.backoff.reset()
        self._numbers[reply.number] = entry
        if not entry.feeds:
            self._todo.append(entry)  # everybody left while it was asked for
            return
        for feed in entry.feeds:
            feed.activate()
        if reply.data is not None:
            entry.deliver(reply.data, size, snapshot=True)

    def _left(self, entry: Entry) -> None:
        self._forget_number(entry)
        entry.phase = Phase.WANTED
        entry.value = entry.data = None
        if entry.feeds:
            self._todo.append(entry)
        else:
            self._drop(entry)

    def _refused(self, entry: Entry, error: CommandError, now: float) -> None:
        if error.retry is Retry.NEVER:
            self._fail(entry, error)
            return
        entry.phase = Phase.WANTED
        entry.due = now + entry.backoff.next_delay(error.retry_after_s)
        if entry.feeds:
            self._later.append(entry)
        else:
            self._drop(entry)

    def ended(self, reply: Unsubscribed) -> None:
        """The server has ended a subscription by itself."""
        for entry in list(self._numbers.values()):
            if entry.canonical == reply.channel:
                reason = reply.reason or "the server has ended the subscription"
                code = reply.code or 0
                self._fail(
                    entry, CommandError(code, "unsubscribed", Retry.NEVER, reason)
                )

    def push(self, number: int, data: Json, size: int) -> None:
        """Hand a publication of *size* bytes to its readers; unknown numbers pass."""
        entry = self._numbers.get(number)
        if entry is not None:
            entry.deliver(data, size, snapshot=False)

    # -- the end of an entry -----------------------------------------------------------

    def _fail(self, entry: Entry, error: RealtimeError) -> None:
        self._drop(entry)
        feeds, entry.feeds = entry.feeds, []
        for feed in feeds:
            feed.fail(error)

    def _drop(self, entry: Entry) -> None:
        self._forget_number(entry)
        if entry in self._later:
            self._later.remove(entry)
        key = same_channel(entry.channel)
        if self._entries.get(key) is entry:  # it may have gone before and come anew
            del self._entries[key]

    def _forget_number(self, entry: Entry) -> None:
        if entry.number is not None:
            self._numbers.pop(entry.number, None)
            entry.number = None
