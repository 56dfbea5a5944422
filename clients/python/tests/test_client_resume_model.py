"""
Random publishing, cutting, trimming and starting anew, against a small model.

The model is the server's side of one channel, written from the protocol's page. However
it goes, the reader gets every message once and in order, or a gap where some are
missing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from realtime_client.backoff import Backoff
from realtime_client.feeds import Subscription
from realtime_client.replies import (
    GapPush,
    Publication,
    Push,
    Recovering,
    Reply,
    Subscribed,
    Unsubscribed,
)
from realtime_client.subscriptions import Action, Subscriptions
from realtime_client.values import Gap, Item, Message, Position

NAME = "chat:1"
PAGE = 3


@dataclass
class Log:
    """What the server keeps of a channel; ``forget`` loses it, and begins anew."""

    epoch: int = 0
    top: int = 0
    kept: dict[int, str] = field(default_factory=dict)

    def publish(self) -> int:
        """Append a message, which says where it is."""
        self.top += 1
        self.kept[self.top] = f"{self.epoch}:{self.top}"
        return self.top

    def trim(self, keep: int) -> None:
        """Keep only the newest."""
        for offset in list(self.kept):
            if offset <= self.top - keep:
                del self.kept[offset]

    def forget(self) -> None:
        """Lose everything."""
        self.epoch, self.top, self.kept = self.epoch + 1, 0, {}

    def position(self, offset: int) -> Position:
        """Return a position in this numbering."""
        return Position(offset, str(self.epoch))

    def after(self, since: Position) -> list[int] | None:
        """Return the offsets after a position; None if some of them are lost."""
        if since.epoch != str(self.epoch):
            return None
        missed = list(range(since.offset + 1, self.top + 1))
        return missed if all(offset in self.kept for offset in missed) else None


class Server:
    """One connection's end of the channel."""

    def __init__(self, log: Log, client: Subscriptions) -> None:
        self._log = log
        self._client = client
        self._number: int | None = None
        self._sent = 0

    def answer(self, action: Action) -> None:
        """Answer one command."""
        reply = self._unsubscribed() if action.verb == "unsubscribe" else None
        self._client.answered(
            action.channel, reply or self._subscribe(action), 10, now=0.0
        )

    def _unsubscribed(self) -> Unsubscribed:
        self._number = None
        return Unsubscribed(1, NAME, None, None)

    def _subscribe(self, action: Action) -> Reply:
        log, since = self._log, action.fields.get("since")
        recovered, missed = None, []
        if since is not None:
            found = log.after(Position(since["offset"], since["epoch"]))
            recovered, missed = found is not None, found or []
        page = tuple(Publication(log.kept[at], at) for at in missed[:PAGE])
        if len(missed) > PAGE:
            return Recovering(1, NAME, log.position(missed[PAGE - 1]), page)
        self._number, self._sent = 7, log.top
        return Subscribed(1, NAME, 7, None, log.position(log.top), recovered, page)

    def push(self, again: bool = False) -> None:
        """Push what was published since; *again*, also the one before that."""
        log = self._log
        if self._number is None:
            return
        for offset in range(self._sent + (0 if again else 1), log.top + 1):
            if offset in log.kept:
                push = Push(self._number, log.kept[offset], offset)
                self._client.push(push, 10)
        self._sent = log.top

    def lose(self) -> None:
        """Lose what was published since on the way, and say so."""
        if self._number is not None:
            self._sent = self._log.top
            self._client.push(GapPush(self._number, self._log.position(self._sent)), 10)


def unread(feed: Subscription) -> list[Item]:
    """Return what could be read now."""
    read: list[Item] = []
    with suppress(asyncio.QueueEmpty):
        while True:
            read.append(feed.next_item_nowait())
    return read


def check(items: list[Item], begin: str) -> None:
    """Fail if a message comes twice, too early, or after a hole that was not told."""
    last = begin
    told = False
    for item in items:
        if isinstance(item, Gap):
            told = True
            continue
        assert isinstance(item, Message)
        epoch, offset = (int(part) for part in item.data.split(":"))
        last_epoch, last_offset = (int(part) for part in last.split(":"))
        assert (epoch, offset) > (last_epoch, last_offset)
        assert told or (epoch, offset) == (last_epoch, last_offset + 1)
        last, told = item.data, False


STEPS = st.sampled_from(
    ["publish"] * 6
    + ["push", "push_again", "cut", "connect", "lose", "read"] * 3
    + ["trim", "forget"]
)


@settings(deadline=None, max_examples=400)
@given(st.lists(STEPS, max_size=80), st.sampled_from([4, 1000]))
def test_nothing_is_missed_or_doubled_without_a_word(
    steps: list[str], room: int
) -> None:
    """Whatever happens in whatever order, and however slowly it is read."""
    client, log = Subscriptions(lambda: Backoff(lambda: 0.0)), Log()
    feed = Subscription(
        NAME, client.remove, lambda _: None, max_messages=room, on_room=client.room
    )
    client.add(feed)
    server: Server | None = Server(log, client)
    items: list[Item] = []

    def run(step: str) -> None:
        nonlocal server
        match step:
            case "publish":
                log.publish()
            case "push" | "push_again" if server is not None:
                server.push(again=step == "push_again")
            case "lose" if server is not None:
                server.lose()
            case "cut":
                server = None
                client.disconnected()
            case "connect" if server is None:
                server = Server(log, client)
            case "read":
                items.extend(unread(feed))
            case "trim":
                log.trim(2)
            case "forget":
                # A server that has lost its history has lost its connections, too.
                server = None
                client.disconnected()
                log.forget()
        while server is not None and (action := client.poll(0.0)) is not None:
            server.answer(action)

    for step in ["push", *steps, "cut", "read", "connect", "push", "read"]:
        run(step)
    while feed.position != log.position(log.top):
        before = feed.position
        for step in ("push", "read"):
            run(step)
        assert feed.position != before, "it does not go on"
    check(items, "0:0")
