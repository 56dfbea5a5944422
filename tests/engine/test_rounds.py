"""What one turn of the loop brings, joined for each connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.flow import DIRECT, Flow
from realtime.engine import rounds
from realtime.engine.hub import Hub
from realtime.engine.outbox import Outbox
from realtime.engine.subscriber import FlowTally
from realtime.testing.clock import ManualClock
from realtime.testing.transport import RecordingSocket
from realtime.types import Channel, ConnectionId, JSONText, Publication
from realtime.wire.frames import FrameKey
from tests.engine.flow_support import COALESCE, DROP, messages_of

CHANNELS = [Channel(f"news:{name}") for name in "abc"]
A, B, C = CHANNELS


class Desk:
    """A hub whose turns end when a test says so, and outboxes that share its turn."""

    def __init__(self, *, joins: bool = True, max_bytes: int = 1 << 20) -> None:
        self.clock = ManualClock()
        self.ends: list[Callable[[], None]] = []
        self.hub = Hub(self.clock, soon=self._soon if joins else None)
        self.sockets: list[RecordingSocket] = []
        self.outboxes: list[Outbox] = []
        self.tally = FlowTally()
        self.max_bytes = max_bytes
        self.lost: list[int] = []

    def _soon(self, callback: Callable[[], None]) -> Any:
        self.ends.append(callback)
        return self.clock.call_later(1e9, callback)

    def open(self, *channels: Channel, flow: Flow = DIRECT) -> RecordingSocket:
        """Make a connection that is subscribed to *channels*."""
        socket, number = RecordingSocket(), len(self.outboxes)
        outbox = Outbox(
            socket,
            self.max_bytes,
            FrameKey.JSON,
            lambda: self.lost.append(number),
            ConnectionId(str(number)),
            self.tally,
            self.hub.fanout,
        )
        self.sockets.append(socket)
        self.outboxes.append(outbox)
        for channel in channels:
            self.hub.join(channel, outbox, flow)
        return socket

    def publish(self, channel: Channel, data: object, sender: int | None = None) -> int:
        """Broadcast one publication, perhaps by one who does not get it."""
        own = None if sender is None else ConnectionId(str(sender))
        text = JSONText(str(data).encode())
        return self.hub.broadcast(Publication(channel, text, sender=own))

    def end_turn(self) -> None:
        """Do what is to be done at the end of the turn."""
        ends, self.ends = self.ends, []
        for end in ends:
            end()


def data_of(socket: RecordingSocket) -> list[list[Any]]:
    """Return the data of every write so far."""
    writes = [messages_of(frame) for frame in socket.frames]
    return [[message["data"] for message in write] for write in writes]


def test_what_one_turn_brings_leaves_in_one_write() -> None:
    """From one channel and from several; the bytes are the same object for all."""
    desk = Desk()
    first, second = desk.open(A, B), desk.open(A, B)
    only_a = desk.open(A)
    for number in range(3):
        desk.publish(A, number)
        desk.publish(B, 10 + number)
    assert first.frames == []
    desk.end_turn()

    assert data_of(first) == [[0, 10, 1, 11, 2, 12]]
    assert second.frames[0] is first.frames[0]
    assert data_of(only_a) == [[0, 1, 2]]


def test_the_values_of_one_tick_leave_in_one_write() -> None:
    """Who watches ten counters is written to once; who is slow keeps the latest."""
    desk = Desk()
    watcher, slow = desk.open(*CHANNELS), desk.open(*CHANNELS)
    desk.outboxes[1].paused()
    for value in (1, 2):
        for channel in CHANNELS:
            desk.hub.broadcast_latest(channel, JSONText(b"%d" % value))
    desk.end_turn()
    desk.outboxes[1].resumed()

    assert data_of(watcher) == [[1, 1, 1, 2, 2, 2]]
    assert data_of(slow) == [[2, 2, 2]]


def test_an_answer_keeps_its_place() -> None:
    """Behind what came before it, in front of what comes after; in the same write."""
    desk = Desk()
    socket = desk.open(A)
    desk.publish(A, 1)
    desk.outboxes[0].reply(b'\x81\x0a{"data":2}')
    desk.publish(A, 3)
    assert socket.frames == []
    desk.end_turn()

    assert data_of(socket) == [[1, 2, 3]]


def test_an_answer_leaves_at_once_when_nothing_waits() -> None:
    """The end of the turn is not awaited for it alone."""
    desk = Desk()
    socket = desk.open(A)
    desk.outboxes[0].reply(b"answer")

    assert (socket.frames, desk.ends) == ([b"answer"], [])


def test_answers_are_not_held_up_by_a_crowd() -> None:
    """They leave with the first part of the round, in which all were served first."""
    desk = Desk()
    desk.hub.fanout.turn = 2
    sockets = [desk.open(A) for _ in range(20)]
    desk.publish(A, 1)
    for outbox in desk.outboxes[10:]:
        outbox.reply(b'\x81\x0a{"data":2}')
    desk.end_turn()

    assert [data_of(socket) for socket in sockets[10:]] == [[[1, 2]]] * 10
    assert any(socket.frames == [] for socket in sockets[:10])


def test_who_publishes_does_not_get_its_own() -> None:
    """Of many in one turn, only the others'."""
    desk = Desk()
    sockets = [desk.open(A) for _ in range(3)]
    for number in range(3):
        desk.publish(A, number, sender=number)
    desk.end_turn()

    assert [data_of(socket) for socket in sockets] == [[[1, 2]], [[0, 2]], [[0, 1]]]


def test_who_joins_or_leaves_within_a_turn_gets_what_came_while_it_was_there() -> None:
    """As if everything had been written at once."""
    desk = Desk()
    early, late = desk.open(A), desk.open()
    desk.publish(A, 1)
    desk.hub.join(A, desk.outboxes[1])
    desk.publish(A, 2)
    desk.hub.leave(A, desk.outboxes[0])
    desk.publish(A, 3)
    desk.end_turn()

    assert data_of(early) == [[1, 2]]
    assert [one for write in data_of(late) for one in write] == [2, 3]


def test_flushing_does_not_wait_for_the_end_of_the_turn() -> None:
    """A socket that is closed gets what was published before."""
    desk = Desk()
    socket = desk.open(A)
    desk.publish(A, 1)
    desk.outboxes[0].flush()
    assert data_of(socket) == [[1]]

    desk.end_turn()
    assert data_of(socket) == [[1]]


def test_what_is_large_does_not_wait() -> None:
    """What is collected in a turn is bounded, and so is what is joined."""
    desk = Desk()
    socket = desk.open(A)
    big = "1" * rounds.JOIN_BYTES
    for _ in range(3):
        desk.publish(A, big)

    assert len(socket.frames) == 3


def test_small_channels_do_not_wait_for_large_ones() -> None:
    """Although both changed in the same turn; the next one is served at once, too."""
    desk = Desk()
    desk.hub.fanout.turn = 10
    crowd = [desk.open(A) for _ in range(50)]
    few = desk.open(B)
    desk.publish(A, 1)
    desk.publish(B, 1)
    desk.end_turn()
    assert data_of(few) == [[1]]

    desk.publish(B, 2)
    desk.end_turn()
    assert data_of(few) == [[1], [2]]
    assert any(socket.frames == [] for socket in crowd)


def test_who_leaves_a_channel_keeps_the_others() -> None:
    """What was joined for it is taken apart again."""
    desk = Desk()
    desk.hub.fanout.turn = 2
    sockets = [desk.open(A, B) for _ in range(10)]
    desk.publish(A, 1)
    desk.publish(B, 2)
    desk.end_turn()
    desk.hub.leave(A, desk.outboxes[9])
    desk.clock.advance(0)

    assert data_of(sockets[8]) == [[1, 2]]
    assert data_of(sockets[9]) == [[2]]


STEPS = st.one_of(
    st.tuples(st.just("publish"), st.integers(0, 2), st.none() | st.integers(0, 3)),
    st.tuples(st.just("value"), st.integers(0, 2), st.just(None)),
    st.tuples(st.sampled_from(["join", "leave"]), st.integers(0, 2), st.integers(0, 3)),
    st.tuples(st.just("reply"), st.integers(0, 3), st.just(None)),
    st.tuples(st.just("end"), st.just(0), st.just(None)),
    st.tuples(st.sampled_from(["pause", "resume"]), st.integers(0, 3), st.just(None)),
)


class Play:
    """Does the same to any desk."""

    def __init__(self, flow: Flow, *, joins: bool) -> None:
        self.flow = flow
        self.desk = Desk(joins=joins, max_bytes=200)
        for _ in range(4):
            self.desk.open()
        for channel in CHANNELS:
            for outbox in self.desk.outboxes[:3]:
                self.desk.hub.join(channel, outbox, flow)

    def do(self, number: int, step: str, one: int, other: int | None) -> None:
        """Take one step; sockets get full and drain between turns only."""
        desk = self.desk
        if step == "publish":
            desk.publish(CHANNELS[one], number, other)
        elif step == "value":
            desk.hub.broadcast_latest(CHANNELS[one], JSONText(b"%d" % number))
        elif step == "join":
            assert other is not None
            desk.hub.join(CHANNELS[one], desk.outboxes[other], self.flow)
        elif step == "leave":
            assert other is not None
            desk.hub.leave(CHANNELS[one], desk.outboxes[other])
        elif step == "reply":
            desk.outboxes[one].reply(b'\x81\x0f{"data":"%05d"}' % number)
        else:
            desk.end_turn()
            if step == "pause":
                desk.outboxes[one].paused()
            elif step == "resume":
                desk.outboxes[one].resumed()


@pytest.mark.parametrize("flow", [DIRECT, DROP, COALESCE], ids=["all", "drop", "merge"])
@given(steps=st.lists(STEPS, max_size=50))
def test_joined_writes_carry_what_single_ones_would(
    flow: Flow, steps: list[tuple[str, int, int | None]]
) -> None:
    """To each connection the same bytes in the same order, and the same is lost."""
    joined, single = Play(flow, joins=True), Play(flow, joins=False)
    for number, step in enumerate([*steps, ("end", 0, None)]):
        joined.do(number, *step)
        single.do(number, *step)
    for one, other in zip(joined.desk.sockets, single.desk.sockets, strict=True):
        assert b"".join(one.frames) == b"".join(other.frames)
    assert sorted(joined.desk.lost) == sorted(single.desk.lost)
    assert joined.desk.tally == single.desk.tally


@given(steps=st.lists(STEPS, max_size=50))
def test_no_connection_is_written_to_twice_in_a_turn(
    steps: list[tuple[str, int, int | None]],
) -> None:
    """Unless somebody leaves: then what came before is written before that."""
    play = Play(DIRECT, joins=True)
    for number, (step, one, other) in enumerate(steps):
        if step in ("leave", "pause"):
            continue
        before = [len(socket.frames) for socket in play.desk.sockets]
        play.do(number, step, one, other)
        after = [len(socket.frames) for socket in play.desk.sockets]
        assert all(b - a <= 1 for a, b in zip(before, after, strict=True))
