"""Which channels are asked for when, and who hears what."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from realtime_client.backoff import Backoff
from realtime_client.errors import CommandError, Retry
from realtime_client.feeds import Feed, Subscription, Watch
from realtime_client.replies import ErrorReply, Push, Subscribed, Unsubscribed
from realtime_client.subscriptions import Action, Subscriptions

CHAT, LIKES = "chat:1", "live:likes;post=1"


class Rig:
    """Subscriptions without a connection; what is asked for is looked at by hand."""

    def __init__(self) -> None:
        self.subscriptions = Subscriptions(lambda: Backoff(lambda: 1.0))
        self.dropped: list[str] = []
        self.now = 0.0

    def subscribe(self, channel: str = CHAT, **options: Any) -> Subscription:
        """Add a reader of every message."""
        feed = Subscription(
            channel, self.subscriptions.remove, self.dropped.append, **options
        )
        self.subscriptions.add(feed)
        return feed

    def watch(self, channel: str = LIKES) -> Watch:
        """Add a reader of the latest value."""
        feed = Watch(channel, self.subscriptions.remove)
        self.subscriptions.add(feed)
        return feed

    def asked(self) -> list[tuple[str, str]]:
        """Return the commands that are due."""
        return [(action.verb, action.channel.name) for action in self.actions()]

    def actions(self) -> list[Action]:
        """Return the actions that are due."""
        actions = []
        while (action := self.subscriptions.poll(self.now)) is not None:
            actions.append(action)
        return actions

    def confirm(self, number: int = 7, data: Any = None, name: str = "") -> Action:
        """Confirm the one subscription that is due."""
        (action,) = self.actions()
        reply = Subscribed(1, name or action.channel.name, number, data)
        self.subscriptions.answered(action.channel, reply, 10, self.now)
        return action

    def refuse(self, retry: Retry, **fields: Any) -> None:
        """Refuse the one command that is due."""
        (action,) = self.actions()
        error = ErrorReply(1, CommandError(106, "denied", retry, "no", **fields))
        self.subscriptions.answered(action.channel, error, 10, self.now)


def value(
    value: float, at: float | None = None, rev: int = 0, final: bool = False
) -> dict[str, Any]:
    """Return what the server says of a counter."""
    return {"value": value, "at": at, "rev": rev, "final": final}


def unread(feed: Feed[Any]) -> list[Any]:
    """Return what a reader would read now, without waiting."""
    read: list[Any] = []
    with suppress(asyncio.QueueEmpty):
        while True:
            read.append(feed.next_nowait())
    return read


# -- asking ----------------------------------------------------------------------------


def test_a_channel_is_asked_for_once() -> None:
    """However many readers it has."""
    rig = Rig()
    rig.subscribe()
    rig.subscribe()
    assert rig.asked() == [("subscribe", CHAT)]
    assert rig.asked() == []


def test_the_order_of_dimensions_makes_no_other_channel() -> None:
    """Two spellings of a live channel share one subscription."""
    rig = Rig()
    rig.watch("live:sales;shop=1;day=2;window=5m")
    rig.watch("live:sales;day=2;shop=1;window=5m")
    assert len(rig.asked()) == 1


def test_the_last_reader_unsubscribes() -> None:
    """While another reads, nothing is said."""
    rig = Rig()
    one, two = rig.subscribe(), rig.subscribe()
    rig.confirm()
    one.close()
    assert rig.asked() == []
    two.close()
    assert rig.asked() == [("unsubscribe", CHAT)]


def test_a_reader_that_leaves_before_it_was_asked_for_costs_nothing() -> None:
    """No command is sent at all."""
    rig = Rig()
    rig.subscribe().close()
    assert rig.asked() == []
    assert len(rig.subscriptions) == 0


def test_a_reader_that_leaves_while_it_is_asked_for_unsubscribes_afterwards() -> None:
    """The confirmation is waited for, lest the server keep sending."""
    rig = Rig()
    feed = rig.subscribe()
    (action,) = rig.actions()
    feed.close()
    assert rig.asked() == []
    rig.subscriptions.answered(action.channel, Subscribed(1, CHAT, 7, None), 10, 0.0)
    assert rig.asked() == [("unsubscribe", CHAT)]


def test_a_reader_that_comes_while_it_is_being_left_asks_anew() -> None:
    """The reply to unsubscribe comes first, then the new subscription."""
    rig = Rig()
    rig.subscribe().close()
    feed = rig.subscribe()
    rig.confirm()
    feed.close()
    (leaving,) = rig.actions()
    rig.subscribe()
    assert rig.asked() == []
    rig.subscriptions.answered(
        leaving.channel, Unsubscribed(2, CHAT, None, None), 1, 0.0
    )
    assert rig.asked() == [("subscribe", CHAT)]


def test_everything_is_asked_for_again_after_a_reconnect() -> None:
    """In one burst, in the order of the readers; what nobody reads is not."""
    rig = Rig()
    rig.subscribe("chat:1")
    gone = rig.subscribe("chat:2")
    rig.subscribe("chat:3")
    assert len(rig.asked()) == 3
    gone.close()
    rig.subscriptions.disconnected()
    assert rig.asked() == [("subscribe", "chat:1"), ("subscribe", "chat:3")]


def test_numbers_belong_to_one_connection() -> None:
    """A number of the former connection reaches nobody; the new one does."""
    rig = Rig()
    feed = rig.subscribe()
    rig.confirm(number=7)
    rig.subscriptions.disconnected()
    rig.confirm(number=8)
    rig.subscriptions.push(Push(7, "old"), 5)
    rig.subscriptions.push(Push(8, "new"), 5)
    assert unread(feed) == ["new"]


# -- refusals --------------------------------------------------------------------------


def test_a_final_refusal_ends_the_readers() -> None:
    """The error is theirs; the channel is not asked for again."""
    rig = Rig()
    feed = rig.subscribe()
    rig.refuse(Retry.NEVER)
    assert isinstance(feed.error, CommandError)
    rig.subscriptions.disconnected()
    assert rig.asked() == []


def test_a_refusal_for_later_is_asked_again() -> None:
    """Not before the delay that the server names, with jitter on top."""
    rig = Rig()
    feed = rig.subscribe()
    rig.refuse(Retry.LATER, retry_after_s=2.0)
    assert feed.error is None
    assert rig.asked() == []
    assert rig.subscriptions.deadline() == 2.5
    rig.now = 2.5
    assert rig.asked() == [("subscribe", CHAT)]


def test_the_server_may_end_a_subscription() -> None:
    """Its readers are told why, by the canonical name."""
    rig = Rig()
    feed = rig.watch("live:likes;post=1")
    rig.confirm(name="live:likes;post=1;window=total")
    ended = Unsubscribed(None, "live:likes;post=1;window=total", 106, "not granted")
    rig.subscriptions.ended(ended)
    assert isinstance(feed.error, CommandError)
    assert feed.error.code == 106
    assert len(rig.subscriptions) == 0


# -- delivering ------------------------------------------------------------------------


def test_messages_arrive_in_order() -> None:
    """Every reader gets every message."""
    rig = Rig()
    one, two = rig.subscribe(), rig.subscribe()
    rig.confirm()
    rig.subscriptions.push(Push(7, "a"), 5)
    rig.subscriptions.push(Push(7, "b"), 5)
    assert unread(one) == unread(two) == ["a", "b"]


def test_a_full_subscription_drops_the_oldest_and_says_so() -> None:
    """What was dropped is counted; the notice comes once until it was read empty."""
    rig = Rig()
    feed = rig.subscribe(max_messages=2)
    rig.confirm()
    for n in range(5):
        rig.subscriptions.push(Push(7, n), 5)
    assert (feed.dropped, rig.dropped) == (3, [CHAT])
    assert unread(feed) == [3, 4]
    for n in range(3):
        rig.subscriptions.push(Push(7, n), 5)
    assert rig.dropped == [CHAT, CHAT]


def test_a_subscription_is_bounded_in_bytes() -> None:
    """Large messages make room sooner; one that is alone is kept."""
    rig = Rig()
    feed = rig.subscribe(max_bytes=100)
    rig.confirm()
    rig.subscriptions.push(Push(7, "a"), 60)
    rig.subscriptions.push(Push(7, "b"), 60)
    rig.subscriptions.push(Push(7, "c"), 600)
    assert unread(feed) == ["c"]


def test_a_watch_keeps_only_the_latest_value() -> None:
    """A slow reader gets one value, not a queue."""
    rig = Rig()
    watch = rig.watch()
    rig.confirm(data=value(1, rev=1))
    rig.subscriptions.push(Push(7, value(2, rev=2)), 5)
    rig.subscriptions.push(Push(7, value(3, rev=3)), 5)
    assert [one.value for one in unread(watch)] == [3]
    assert watch.latest is not None
    assert watch.latest.value == 3


def test_a_watch_passes_over_older_values() -> None:
    """Newer is what has the greater at, then the greater rev, then what is final."""
    rig = Rig()
    watch = rig.watch()
    rig.confirm(data=value(5, at=600.0, rev=3))
    assert len(unread(watch)) == 1
    rig.subscriptions.push(Push(7, value(4, at=300.0, rev=9)), 5)
    rig.subscriptions.push(Push(7, value(4, at=600.0, rev=3)), 5)
    assert unread(watch) == []
    rig.subscriptions.push(Push(7, value(5, at=600.0, rev=3, final=True)), 5)
    assert [one.final for one in unread(watch)] == [True]
    rig.subscriptions.push(Push(7, value(0, at=900.0, rev=0)), 5)
    assert [one.at for one in unread(watch)] == [900.0]


def test_a_subscription_to_a_live_channel_gets_late_changes_too() -> None:
    """A chart is told of corrections to windows that have ended."""
    rig = Rig()
    feed = rig.subscribe(LIKES)
    rig.confirm(data=value(5, at=600.0, rev=3))
    rig.subscriptions.push(Push(7, value(4, at=300.0, rev=9)), 5)
    assert [data["at"] for data in unread(feed)] == [600.0, 300.0]


def test_an_unchanged_value_after_a_reconnect_is_no_news() -> None:
    """The reader hears nothing of a reconnect that changed nothing."""
    rig = Rig()
    watch = rig.watch()
    rig.confirm(data=value(5, rev=3))
    assert len(unread(watch)) == 1
    rig.subscriptions.disconnected()
    rig.confirm(data=value(5, rev=3))
    assert unread(watch) == []


def test_what_the_server_says_on_subscribing_is_right() -> None:
    """A server that lost its counters starts anew: watches do not stick to the past."""
    rig = Rig()
    watch = rig.watch()
    rig.confirm(data=value(500, rev=300))
    rig.subscriptions.disconnected()
    rig.confirm(data=value(0, rev=0))
    rig.subscriptions.push(Push(7, value(1, rev=1)), 5)
    assert [one.value for one in unread(watch)] == [1]


def test_a_further_watch_has_the_value_at_once() -> None:
    """It need not wait for the next change."""
    rig = Rig()
    rig.watch()
    rig.confirm(data=value(5, rev=3))
    late = rig.watch()
    assert late.active
    assert [one.value for one in unread(late)] == [5]


@pytest.mark.parametrize("data", [None, 3, "text", [], {}, {"rev": 3}])
def test_a_watch_passes_over_what_is_no_value(data: Any) -> None:
    """Whatever a newer server may send, the reader sees values only."""
    rig = Rig()
    watch = rig.watch()
    rig.confirm(data=value(5))
    unread(watch)
    rig.subscriptions.push(Push(7, data), 5)
    assert unread(watch) == []
