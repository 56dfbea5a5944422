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

from hypothesis import example, given, settings
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

    def lost(self) -> int:
        """Return the newest offset that is not kept any more; 0 if none was lost."""
        return min(self.kept, default=self.top + 1) - 1


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
        """
        Push what was published since; *again*, also the one before that.

        What cannot be pushed any more is told to be missing, as the protocol promises.
        """
        log = self._log
        if self._number is None:
            return
        if log.lost() > self._sent:
            self._tell_gap(log.lost())
        for offset in range(self._sent + (0 if again else 1), log.top + 1):
            if offset in log.kept:
                push = Push(self._number, log.kept[offset], offset)
                self._client.push(push, 10)
        self._sent = log.top

    def lose(self) -> None:
        """Lose what was published since on the way, and say so."""
        self._tell_gap(self._log.top)

    def _tell_gap(self, offset: int) -> None:
        """Say that everything is lost that was not sent, up to an offset."""
        if self._number is not None:
            self._sent = offset
            self._client.push(GapPush(self._number, self._log.position(offset)), 10)


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


class Run:
    """One reader of the channel, and what happens to it, step by step."""

    def __init__(self, room: int = 1000) -> None:
        self.log = Log()
        self.items: list[Item] = []
        self._client = Subscriptions(lambda: Backoff(lambda: 0.0))
        self.feed = Subscription(
            NAME,
            self._client.remove,
            lambda _: None,
            max_messages=room,
            on_room=self._client.room,
        )
        self._client.add(self.feed)
        self._server: Server | None = Server(self.log, self._client)

    def do(self, *steps: str) -> None:
        """Take the steps; after each, the server answers what it is asked."""
        for step in steps:
            if step in ("publish", "trim", "read"):
                self._aside(step)
            elif step in ("cut", "connect", "forget"):
                self._turn(step)
            elif self._server is not None:
                self._say(self._server, step)
            self._answer()

    def _aside(self, step: str) -> None:
        """Do what needs no connection."""
        match step:
            case "publish":
                self.log.publish()
            case "trim":
                self.log.trim(2)
            case "read":
                self.items.extend(unread(self.feed))

    def _turn(self, step: str) -> None:
        """Begin or end the connection."""
        if step == "connect":
            self._server = self._server or Server(self.log, self._client)
            return
        # A server that has lost its history has lost its connections, too.
        self._server = None
        self._client.disconnected()
        if step == "forget":
            self.log.forget()

    @staticmethod
    def _say(server: Server, step: str) -> None:
        """Let the server say something by itself."""
        if step == "lose":
            server.lose()
        else:
            server.push(again=step == "push_again")

    def _answer(self) -> None:
        while self._server is not None:
            action = self._client.poll(0.0)
            if action is None:
                return
            self._server.answer(action)

    def finish(self) -> None:
        """Come back once more, and read to the end."""
        self.do("cut", "read", "connect", "push", "read")
        while self.feed.position != self.log.position(self.log.top):
            before = self.feed.position
            self.do("push", "read")
            assert self.feed.position != before, "it does not go on"


def test_what_is_trimmed_before_it_is_pushed_is_told() -> None:
    """The server says so itself: a client cannot know which offsets to expect."""
    run = Run()
    run.do("push", "publish", "publish", "publish", "trim", "push", "read")
    gap, *messages = run.items
    assert isinstance(gap, Gap)
    assert (gap.since, gap.position) == (Position(0, "0"), Position(1, "0"))
    assert [one.data for one in messages if isinstance(one, Message)] == ["0:2", "0:3"]


@settings(deadline=None, max_examples=400)
@given(st.lists(STEPS, max_size=80), st.sampled_from([4, 1000]))
@example(["publish", "publish", "publish", "trim", "push"], 4)
def test_nothing_is_missed_or_doubled_without_a_word(
    steps: list[str], room: int
) -> None:
    """Whatever happens in whatever order, and however slowly it is read."""
    run = Run(room)
    run.do("push", *steps)
    run.finish()
    check(run.items, "0:0")
