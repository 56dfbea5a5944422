"""Flows: what is filtered, merged, held back and joined, once for all who share it."""

from __future__ import annotations

from dataclasses import replace

from realtime.core.flow import DIRECT, Flow
from realtime.types import ConnectionId, PublicationKind
from tests.engine.flow_support import BY_SYMBOL, PRICES, World, only

BATCH = Flow(batch_s=0.5)
LATEST = Flow(interval_s=1.0)


# -- filters -----------------------------------------------------------------------


def test_a_filter_lets_through_what_it_matches() -> None:
    """Others are counted, and direct subscribers get all."""
    world = World()
    picky, direct = world.reader(only(eq="BTC")), world.reader()
    sent = [world.publish(at, symbol) for at, symbol in enumerate(["BTC", "ETH", None])]

    assert sent == [2, 1, 1]
    assert picky.numbers() == [0]
    assert direct.numbers() == [0, 1, 2]
    assert world.tally.filtered == 2


def test_equal_flows_share_their_frames() -> None:
    """One group, one evaluation, the very same bytes."""
    world = World()
    one, other = world.reader(only(eq="BTC")), world.reader(only(**{"in": ["BTC"]}))
    world.publish(1, "BTC")

    assert one.socket.frames[0] is other.socket.frames[0]


# -- intervals ---------------------------------------------------------------------


def test_after_a_quiet_time_a_publication_leaves_at_once() -> None:
    """Within the interval the latest waits for its end."""
    world = World()
    reader = world.reader(LATEST)
    assert world.publish(1) == 1
    assert [world.publish(at) for at in (2, 3, 4)] == [0, 0, 0]
    assert reader.numbers() == [1]

    world.clock.advance(0.999)
    assert reader.numbers() == []
    world.clock.advance(0.001)
    assert reader.numbers() == [4]
    assert world.late == 1
    assert world.tally.conflated == 2


def test_at_most_one_publication_per_interval() -> None:
    """However many come, however long."""
    world = World()
    reader = world.reader(LATEST)
    for at in range(100):
        world.publish(at)
        world.clock.advance(0.1)

    assert reader.numbers() == [0, *range(9, 100, 10)]


def test_an_interval_in_which_nothing_came_makes_it_quiet() -> None:
    """Then no timer runs, and the next one leaves at once."""
    world = World()
    reader = world.reader(LATEST)
    world.publish(1)
    world.clock.advance(1)
    assert world.clock.pending == 0

    world.publish(2)
    assert reader.numbers() == [1, 2]


def test_the_latest_of_each_key_leaves() -> None:
    """In one write, in the order of publishing; what has no tag is a key, too."""
    world = World()
    reader = world.reader(BY_SYMBOL)
    world.publish(0)
    reader.take()
    for at, symbol in enumerate(["BTC", "ETH", "BTC", None, "SOL", None], 1):
        world.publish(at, symbol)
    world.clock.advance(1)

    assert [one["data"] for one in reader.writes[0]] == [2, 3, 5, 6]
    assert len(reader.writes) == 1


def test_two_intervals_of_one_channel_are_two_groups() -> None:
    """Each subscriber has its own pace."""
    world = World()
    slow, fast = world.reader(Flow(interval_s=5.0)), world.reader(LATEST)
    for at in range(10):
        world.publish(at)
        world.clock.advance(1)

    assert fast.numbers() == list(range(10))
    assert slow.numbers() == [0, 4, 9]


def test_a_filter_comes_before_the_interval() -> None:
    """What does not match takes nobody's place."""
    world = World()
    reader = world.reader(replace(only(eq="BTC"), interval_s=1.0))
    world.publish(1, "BTC")
    world.publish(2, "BTC")
    world.publish(3, "ETH")
    world.clock.advance(1)

    assert reader.numbers() == [1, 2]


def test_very_many_keys_leave_before_their_time() -> None:
    """What is held is bounded in bytes: there, an interval is cut short."""
    world = World()
    world.hub.max_held_bytes = 10_000
    reader = world.reader(BY_SYMBOL)
    for at in range(100):
        world.publish(at, f"S{at}")
    assert len(reader.numbers()) > 60

    world.clock.advance(1)
    assert world.clock.pending == 1


def test_values_of_a_live_channel_may_be_slowed_down() -> None:
    """For one watcher; others get them as they come."""
    world = World()
    slow, fast = world.reader(LATEST), world.reader()
    for at in range(3):
        world.hub.broadcast_latest(PRICES, b"%d" % at)  # type: ignore[arg-type]
    world.clock.advance(1)

    assert fast.numbers() == [0, 1, 2]
    assert slow.numbers() == [0, 2]


# -- batches -----------------------------------------------------------------------


def test_publications_leave_together() -> None:
    """All of them, in one write, when the first has waited for so long."""
    world = World()
    reader = world.reader(BATCH)
    assert [world.publish(1), world.publish(2)] == [0, 0]
    world.clock.advance(0.4)
    world.publish(3)
    assert reader.writes == []

    world.clock.advance(0.1)
    assert [[one["data"] for one in write] for write in reader.writes] == [[1, 2, 3]]
    assert world.late == 3
    assert world.clock.pending == 0


def test_a_large_batch_is_cut_into_writes() -> None:
    """No write is much larger than the transport's high water mark."""
    world = World()
    reader = world.reader(BATCH)
    for _ in range(10):
        world.publish("x" * 30_000)
    world.clock.advance(0.5)

    assert [len(write) for write in reader.writes] == [3, 3, 3, 1]


def test_batching_and_interval_together() -> None:
    """The first one waits for others, then the latest leaves once per interval."""
    world = World()
    reader = world.reader(replace(LATEST, batch_s=0.5))
    for at in range(30):
        world.publish(at)
        world.clock.advance(0.1)

    assert reader.numbers() == [4, 14, 24]


# -- who joins and leaves ----------------------------------------------------------


def test_who_joins_gets_nothing_that_was_published_before() -> None:
    """Of a channel without history; others get it."""
    world = World()
    early = world.reader(BATCH)
    world.publish(1)
    late = world.reader(BATCH)
    world.publish(2)
    world.clock.advance(0.5)

    assert early.numbers() == [1, 2]
    assert late.numbers() == [2]


def test_who_joins_gets_what_comes_after_its_position() -> None:
    """Neither what it has nor a hole, when some of it still waits."""
    world = World()
    early = world.reader(BATCH)
    world.place(7)
    world.place(8)
    both, one, none = (world.reader(BATCH, after=after) for after in (6, 7, 8))
    world.clock.advance(0.5)

    assert early.numbers() == both.numbers() == [7, 8]
    assert one.numbers() == [8]
    assert none.numbers() == []


def test_who_joined_while_something_waited_is_soon_like_the_others() -> None:
    """From the next write on it shares everything."""
    world = World()
    early = world.reader(BATCH)
    world.place(1)
    late = world.reader(BATCH, after=1)
    world.clock.advance(0.5)
    world.place(2)
    world.clock.advance(0.5)

    assert early.numbers() == [1, 2]
    assert late.numbers() == [2]


def test_a_newer_one_in_an_old_ones_place_is_for_the_new_too() -> None:
    """What was published after joining is not lost with what it replaced."""
    world = World()
    world.reader(LATEST)
    world.publish(0)
    world.publish(1)
    late = world.reader(LATEST)
    world.publish(2)
    world.clock.advance(1)

    assert late.numbers() == [2]


def test_the_last_to_leave_calls_off_what_waits() -> None:
    """Nothing is left of the group: no timer, no publication."""
    world = World()
    one, other = world.reader(BATCH), world.reader(BATCH)
    world.publish(1)
    world.hub.leave(PRICES, one.outbox)
    assert world.clock.pending == 1
    world.hub.leave(PRICES, other.outbox)

    assert world.clock.pending == 0
    assert (len(world.hub), world.hub.subscriptions) == (0, 0)
    world.clock.advance(1)
    assert one.numbers() == other.numbers() == []


def test_who_has_left_gets_nothing_that_waited() -> None:
    """The others do."""
    world = World()
    leaver, stayer = world.reader(BATCH), world.reader(BATCH)
    world.publish(1)
    world.hub.leave(PRICES, leaver.outbox)
    world.clock.advance(1)

    assert leaver.numbers() == []
    assert stayer.numbers() == [1]


def test_leaving_and_joining_again_forgets_what_waited() -> None:
    """A new subscription has nothing of the old one."""
    world = World()
    world.reader(BATCH)
    reader = world.reader(BATCH)
    world.publish(1)
    world.hub.leave(PRICES, reader.outbox)
    world.hub.join(PRICES, reader.outbox, BATCH)
    world.clock.advance(1)

    assert reader.numbers() == []


def test_joining_twice_keeps_the_first_flow() -> None:
    """A subscriber is in one group of a channel or in none."""
    world = World()
    reader = world.reader(only(eq="BTC"))
    world.hub.join(PRICES, reader.outbox, DIRECT)
    world.publish(1)
    world.publish(2, "BTC")

    assert world.hub.subscriptions == 1
    assert reader.numbers() == [2]


def test_stopping_calls_off_every_timer() -> None:
    """When the node closes."""
    world = World()
    world.reader(BATCH)
    world.reader(LATEST)
    world.publish(1)
    world.hub.stop()

    assert world.clock.pending == 0


# -- who is not told ---------------------------------------------------------------


def test_the_sender_is_left_out() -> None:
    """Whatever its flow is; all others get it."""
    for flow in (DIRECT, only(exists=True), Flow(join_leave=True)):
        world = World()
        ann, bob = world.reader(flow, name="ann"), world.reader(flow, name="bob")
        assert world.publish(1, "BTC", sender=ConnectionId("ann")) == 1

        assert (ann.numbers(), bob.numbers()) == ([], [1]), flow


def test_the_sender_is_left_out_of_its_part_of_a_batch() -> None:
    """It gets what others have published meanwhile."""
    world = World()
    ann, bob, eve = (world.reader(BATCH, name=name) for name in ("ann", "bob", "eve"))
    world.publish(1, sender=ConnectionId("ann"))
    world.publish(2)
    world.publish(3, sender=ConnectionId("bob"))
    world.clock.advance(1)

    assert (ann.numbers(), bob.numbers()) == ([2, 3], [1, 2])
    assert eve.numbers() == [1, 2, 3]


def test_a_sender_alone_is_written_nothing() -> None:
    """Not even an empty write."""
    world = World()
    ann = world.reader(BATCH, name="ann")
    world.publish(1, sender=ConnectionId("ann"))
    world.clock.advance(1)

    assert ann.socket.frames == []


def test_notices_go_to_those_who_asked() -> None:
    """Who comes and goes is told to nobody else."""
    world = World()
    told, direct = world.reader(Flow(join_leave=True)), world.reader()
    assert world.notice(PublicationKind.JOIN) == 1
    assert world.notice(PublicationKind.LEAVE) == 1
    world.publish(1)

    assert told.numbers() == ["join", "leave", 1]
    assert direct.numbers() == [1]
    assert world.tally.filtered == 0


def test_notices_are_never_merged() -> None:
    """They wait for the interval like everything else, all of them."""
    world = World()
    reader = world.reader(replace(LATEST, join_leave=True))
    world.publish(1)
    for name in ("ann", "bob"):
        world.notice(PublicationKind.JOIN, name)
    world.publish(2)
    world.publish(3)
    world.clock.advance(1)

    assert reader.numbers() == [1, "join", "join", 3]


def test_a_gap_is_told_to_everyone_at_once() -> None:
    """After what waited, and before what follows."""
    world = World()
    flows = [DIRECT, BATCH, LATEST, only(eq="BTC")]
    readers = [world.reader(flow) for flow in flows]
    world.place(1, "BTC")
    world.place(2, "BTC")
    world.gap(9)
    assert [reader.numbers() for reader in readers] == [[1, 2, "gap"]] * 4

    world.place(10, "BTC")
    world.clock.advance(1)
    assert [reader.numbers() for reader in readers] == [[10]] * 4
