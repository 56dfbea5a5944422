"""
One channel with readers: where it stands on the connection, and up to where we have it.

Laws: pure but for the readers it wakes. The position outlives connections. It grows
with every publication that is delivered, and only then; nothing is delivered that lies
before it. What is lost is told in the place where it is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from realtime_client.backoff import Backoff
from realtime_client.feeds import Feed
from realtime_client.naming import LIVE
from realtime_client.options import Options
from realtime_client.replies import (
    ChannelPush,
    GapPush,
    JoinPush,
    LeavePush,
    Publication,
    Push,
    Recovering,
    Subscribed,
)
from realtime_client.values import (
    Gap,
    Item,
    Joined,
    Json,
    Left,
    LiveValue,
    Message,
    Position,
)

NOT_RECOVERED = "the history does not reach back to where we were"
NOT_FILLED = "the server lost messages on the way, or we were too slow"


class Phase(Enum):
    """Where a channel stands on the connection."""

    WANTED = "wanted"
    ASKED = "asked"
    ACTIVE = "active"
    LEAVING = "leaving"


class Channel:
    """
    A channel that is read, or on its way out.

    *on_gap* is told of every loss, beside the readers.
    """

    __slots__ = (
        "asked_since",
        "backoff",
        "canonical",
        "due",
        "feeds",
        "item",
        "name",
        "number",
        "on_gap",
        "options",
        "phase",
        "position",
        "stale",
        "value",
    )

    def __init__(
        self,
        name: str,
        options: Options,
        backoff: Backoff,
        on_gap: Callable[[Gap], None],
    ) -> None:
        self.name = name
        self.canonical = name
        self.options = options
        self.phase = Phase.WANTED
        self.number: int | None = None
        self.feeds: list[Feed[Any]] = []
        self.backoff = backoff
        self.on_gap = on_gap
        self.due = float("-inf")  # monotonic: do not ask sooner
        self.position: Position | None = None
        self.asked_since: Position | None = None
        self.stale = False  # subscribed, but not as the present readers want it
        self.item: Message | None = None  # of a live channel: what arrived last
        self.value: LiveValue | None = None

    @property
    def full(self) -> bool:
        """Whether a reader has so much to read that nothing old is to be asked for."""
        return any(feed.full for feed in self.feeds)

    def begin(self, options: Options, since: Position | None) -> None:
        """Nobody reads any more, and a new reader wants it in this way."""
        going = self.phase in (Phase.ASKED, Phase.ACTIVE)
        if going and options == self.options and since is self.asked_since is None:
            return
        self.options, self.position = options, since
        self.stale = going

    def disconnected(self) -> None:
        """Nothing is known of it to the next connection, but the position is to us."""
        self.phase = Phase.WANTED
        self.number, self.asked_since, self.due = None, None, float("-inf")
        self.stale = False

    def command(self) -> dict[str, Json]:
        """Return the fields of the command that subscribes, from the position on."""
        self.asked_since = self.position
        fields: dict[str, Json] = {"channel": self.name}
        if self.position is not None:
            offset, epoch = self.position.offset, self.position.epoch
            fields["since"] = {"offset": offset, "epoch": epoch}
        if self.options.interval_s is not None:
            fields["interval_s"] = self.options.interval_s
        if self.options.filter is not None:
            fields["filter"] = json.loads(self.options.filter)
        if self.options.join_leave:
            fields["join_leave"] = True
        return fields

    # -- what the server says ----------------------------------------------------------

    def joined(self, reply: Subscribed, size: int) -> None:
        """Take the confirmation: what was missed, or what there is now."""
        self.number, self.canonical = reply.number, reply.channel
        if self.stale:
            return
        asked, self.asked_since = self.asked_since, None
        for feed in tuple(self.feeds):
            feed.activate(asked or reply.position)
        if asked is not None and not reply.recovered:
            self._lose(reply.position, NOT_RECOVERED)
        self._catch_up(reply.publications, size)
        self.position = reply.position
        if reply.data is not None and self.name.startswith(LIVE):
            self._show(Message(reply.data), size, snapshot=True)
        elif reply.data is not None:  # the last message of all
            last = Message(reply.data, reply.position, reply.tags)
            self._hand_out(last, size)

    def recovering(self, reply: Recovering, size: int) -> bool:
        """Take a part of what was missed; whether that was any progress."""
        if self.stale:
            return True  # asked for by readers who have left
        before = self.position
        self._catch_up(reply.publications, size)
        self.position = reply.position
        return self.position != before

    def take(self, push: ChannelPush, size: int) -> None:
        """Take what happened on the channel."""
        if self.stale or self.phase is Phase.LEAVING:
            return  # whoever reads now begins anew, afterwards
        match push:
            case Push():
                self._push(push, size)
            case GapPush():
                self._lose(push.position, NOT_FILLED)
            case JoinPush():
                self._hand_out(Joined(push.member), size)
            case LeavePush():
                self._hand_out(Left(push.member), size)

    def _push(self, push: Push, size: int) -> None:
        if self.name.startswith(LIVE):
            self._show(Message(push.data), size, snapshot=False)
        else:
            self._publication(push, size)

    def _catch_up(self, missed: Sequence[Publication], size: int) -> None:
        for one in missed:
            self._publication(one, size // len(missed))  # together they had a frame

    def _publication(self, one: Push | Publication, size: int) -> None:
        known, position = self.position, None
        if one.offset is not None and known is not None:
            if one.offset <= known.offset:
                return  # it came before
            position = self.position = Position(one.offset, known.epoch)
        self._hand_out(Message(one.data, position, one.tags), size)

    def _lose(self, position: Position | None, reason: str) -> None:
        gap = Gap(self.name, self.position, position, reason)
        if position is not None:
            self.position = position
        self._hand_out(gap, 0)
        self.on_gap(gap)

    # -- readers -----------------------------------------------------------------------

    def _hand_out(self, item: Item, size: int, value: LiveValue | None = None) -> None:
        for feed in tuple(self.feeds):  # a reader told of an overflow may leave
            feed.deliver(item, value, size)

    def _show(self, message: Message, size: int, *, snapshot: bool) -> None:
        """
        Hand out what a live channel says.

        A *snapshot* is what the server says on subscribing: it is right even when it
        seems older, because the server may have started anew. Pushes are only news
        when they are newer than what is there.
        """
        value = read_value(self.canonical, message.data)
        if value is not None and self._is_news(value, snapshot):
            self.item, self.value = message, value
        else:
            value = None
        self._hand_out(message, size, value)

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
