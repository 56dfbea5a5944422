"""What a namespace says of readers that are too slow, and what they then get."""

from __future__ import annotations

from dataclasses import replace

import pytest

from realtime.core.flow import DIRECT, Flow
from realtime.core.namespaces import Overflow
from realtime.types import PublicationKind
from tests.engine.flow_support import COALESCE, DROP, EPOCH, PRICES, World

KEYED = Flow(interval_s=0.001, by="symbol", overflow=Overflow.COALESCE)
TEXT = "x" * 100


def test_a_slow_reader_is_given_up() -> None:
    """By default: it is told to come back, and recovers."""
    world = World()
    slow, quick = world.reader(max_bytes=1000), world.reader()
    slow.outbox.paused()
    for _ in range(10):
        world.publish(TEXT)

    assert slow.lost
    assert slow.outbox.waiting_bytes == 0
    assert len(quick.numbers()) == 10


# -- drop --------------------------------------------------------------------------


def test_what_does_not_fit_is_dropped_and_a_gap_told() -> None:
    """With the position where the reader now stands, as soon as there is room."""
    world = World()
    slow, quick = (world.reader(DROP, max_bytes=200) for _ in range(2))
    slow.outbox.paused()
    for offset in range(1, 51):
        world.place(offset)
        assert slow.outbox.waiting_bytes <= 200
    assert slow.take() == []

    slow.outbox.resumed()
    world.place(51)
    assert slow.take() == [
        {"type": "gap", "channel": 1, "offset": 50, "epoch": EPOCH},
        {"type": "push", "channel": 1, "data": 51, "offset": 51},
    ]
    assert not slow.lost
    assert quick.numbers() == list(range(1, 52))
    assert world.tally.dropped == 50
    assert world.tally.gaps_told == 1


def test_what_fits_waits_and_is_not_dropped() -> None:
    """The policy is for a full outbox, not for a slow moment."""
    world = World()
    slow = world.reader(DROP)
    slow.outbox.paused()
    for offset in range(1, 11):
        world.place(offset)
    slow.outbox.resumed()

    assert slow.numbers() == list(range(1, 11))


def test_without_a_history_a_gap_has_no_position() -> None:
    """There is none to tell."""
    world = World()
    slow = world.reader(DROP, max_bytes=200)
    slow.outbox.paused()
    for at in range(50):
        world.publish(at)
    slow.outbox.resumed()

    assert slow.take() == [{"type": "gap", "channel": 1}]


def test_a_reader_that_stays_slow_is_told_again() -> None:
    """Each gap stands where something is missing."""
    world = World()
    slow = world.reader(DROP, max_bytes=200)
    seen, offset = [], 0
    for _ in range(3):
        slow.outbox.paused()
        for _ in range(20):
            offset += 1
            world.place(offset)
        slow.outbox.resumed()
        offset += 1
        world.place(offset)
        seen += [(one["type"], one["offset"]) for one in slow.take()]

    assert seen == [
        ("gap", 20),
        ("push", 21),
        ("gap", 41),
        ("push", 42),
        ("gap", 62),
        ("push", 63),
    ]


def test_a_gap_that_waits_is_dropped_with_the_rest() -> None:
    """The next gap says all that it did."""
    world = World()
    slow = world.reader(DROP, max_bytes=300)
    slow.outbox.paused()
    for offset in range(1, 21):
        world.place(offset)
    slow.socket.send = lambda frame: slow.outbox.paused()  # full at once
    slow.outbox.push(b"x" * 250)
    slow.outbox.resumed()
    del slow.socket.send
    for offset in range(21, 41):
        world.place(offset)
    slow.outbox.resumed()

    assert [one["offset"] for one in slow.take()] == [40]


def test_a_gap_from_upstream_is_not_lost_with_what_is_dropped() -> None:
    """The gap that the outbox tells stands behind it."""
    world = World()
    slow = world.reader(DROP, max_bytes=200)
    slow.outbox.paused()
    for offset in range(1, 21):
        world.place(offset)
    world.gap(90)
    slow.outbox.resumed()

    assert [(one["type"], one["offset"]) for one in slow.take()] == [("gap", 90)]


def test_notices_that_are_dropped_leave_the_position_alone() -> None:
    """They have none; who reads the gap asks again who is there."""
    world = World()
    slow = world.reader(replace(DROP, join_leave=True), max_bytes=200)
    slow.outbox.paused()
    for _ in range(10):
        world.notice(PublicationKind.JOIN)
    slow.outbox.resumed()
    assert slow.take() == [{"type": "gap", "channel": 1}]

    slow.outbox.paused()
    world.place(7)
    for _ in range(10):
        world.notice(PublicationKind.LEAVE)
    slow.outbox.resumed()
    assert slow.take() == [{"type": "gap", "channel": 1, "offset": 7, "epoch": EPOCH}]


def test_what_may_be_dropped_makes_room_for_what_may_not() -> None:
    """An answer is not refused while publications of such a channel wait."""
    world = World()
    slow = world.reader(DROP, max_bytes=300)
    slow.outbox.paused()
    for offset in range(1, 5):
        world.place(offset)
    slow.outbox.reply(b"\x81\xfa" + b"y" * 250)
    assert not slow.lost
    assert world.tally.dropped == 4

    slow.outbox.reply(b"z" * 100)
    assert slow.lost


def test_a_dropped_batch_counts_all_its_publications() -> None:
    """It is one write, but each of them is missing."""
    world = World()
    slow = world.reader(replace(DROP, batch_s=0.1), max_bytes=200)
    slow.outbox.paused()
    for offset in range(1, 11):
        world.place(offset)
    world.clock.advance(0.1)
    slow.outbox.resumed()

    assert world.tally.dropped == 10
    assert [one["offset"] for one in slow.take()] == [10]


def test_unsubscribing_forgets_what_was_dropped() -> None:
    """No gap comes after the reply."""
    world = World()
    slow = world.reader(DROP, max_bytes=200)
    slow.outbox.paused()
    for offset in range(1, 21):
        world.place(offset)
    slow.outbox.forget(1)
    world.hub.leave(PRICES, slow.outbox)
    slow.outbox.resumed()

    assert slow.take() == []


# -- coalesce ----------------------------------------------------------------------


def test_a_slow_reader_gets_the_latest() -> None:
    """Of the channel; its outbox never grows, and it is never given up."""
    world = World()
    slow, quick = (world.reader(COALESCE, max_bytes=100) for _ in range(2))
    slow.outbox.paused()
    for offset in range(1, 101):
        world.place(offset)
    slow.outbox.resumed()

    assert slow.numbers() == [100]
    assert not slow.lost
    assert quick.numbers() == list(range(1, 101))
    assert world.tally.coalesced == 99


def test_a_slow_reader_gets_the_latest_of_each_key() -> None:
    """In the order of offsets, so that its position has nothing left out before it."""
    world = World()
    slow = world.reader(KEYED)
    slow.outbox.paused()
    for offset, symbol in enumerate(["BTC", "ETH", "BTC", "SOL", "ETH"], 1):
        world.place(offset, symbol)
        world.clock.advance(1)
    slow.outbox.resumed()

    assert slow.numbers() == [3, 4, 5]


def test_without_offsets_a_newer_one_takes_the_place_of_the_older() -> None:
    """So that a slow reader gets round to every key."""
    world = World()
    slow = world.reader(KEYED)
    slow.outbox.paused()
    for at, symbol in enumerate(["BTC", "ETH", "BTC", "SOL", "ETH"], 1):
        world.publish(at, symbol)
        world.clock.advance(1)
    slow.outbox.resumed()

    assert slow.numbers() == [3, 5, 4]


def test_what_leaves_together_waits_apart() -> None:
    """Merged in the outbox key by key, joined for who is quick enough."""
    world = World()
    flow = Flow(interval_s=1.0, by="symbol", overflow=Overflow.COALESCE)
    slow, quick = world.reader(flow), world.reader(flow)
    world.publish(0)
    slow.outbox.paused()
    for start in (0, 10):
        for at, symbol in enumerate(["BTC", "ETH", "SOL"], start):
            world.publish(at, symbol)
        world.clock.advance(1)
    slow.outbox.resumed()

    assert slow.numbers() == [0, 10, 11, 12]
    assert [len(write) for write in quick.writes] == [1, 3, 3]


def test_a_gap_is_neither_merged_nor_overtaken() -> None:
    """What waits before it stays before it."""
    world = World()
    slow = world.reader(COALESCE)
    slow.outbox.paused()
    world.place(1)
    world.gap(9)
    world.place(10)
    world.place(11)
    slow.outbox.resumed()

    assert slow.numbers() == [1, "gap", 11]


def test_notices_are_not_merged_with_publications() -> None:
    """Each of them is news."""
    world = World()
    slow = world.reader(replace(COALESCE, join_leave=True))
    slow.outbox.paused()
    world.publish(1)
    world.notice(PublicationKind.JOIN)
    world.notice(PublicationKind.LEAVE)
    world.publish(2)
    slow.outbox.resumed()

    assert slow.numbers() == [2, "join", "leave"]


def test_too_many_keys_are_too_many() -> None:
    """What cannot be merged fills the outbox like anything else."""
    world = World()
    slow = world.reader(KEYED, max_bytes=1000)
    slow.outbox.paused()
    for at in range(100):
        world.publish(at, f"S{at}")
        world.clock.advance(1)

    assert slow.lost


def test_unsubscribing_forgets_every_key() -> None:
    """The first publication after subscribing again comes after the reply."""
    world = World()
    slow = world.reader(KEYED)
    slow.outbox.paused()
    world.publish(1, "BTC")
    world.publish(2, "ETH")
    slow.outbox.forget(1)

    assert slow.outbox.waiting_bytes == 0


@pytest.mark.parametrize("flow", [DIRECT, DROP, COALESCE, KEYED])
def test_an_outbox_that_is_not_paused_holds_nothing(flow: Flow) -> None:
    """Whatever the policy: there is not even an empty queue."""
    world = World()
    reader = world.reader(flow)
    for offset in range(1, 101):
        world.place(offset, "BTC")
        world.clock.advance(1)

    assert reader.outbox._waiting is None
    assert len(reader.numbers()) == 100
