"""What waits while a transport is full, and what becomes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.engine.outbox import BATCH_BYTES, Outbox
from realtime.engine.subscriber import FlowTally
from realtime.testing.transport import RecordingSocket
from realtime.wire.frames import FrameKey


class NarrowSocket(RecordingSocket):
    """A socket whose transport is full after every *room* bytes."""

    outbox: Outbox
    room = 0

    def send(self, frame: bytes, /) -> None:
        """Keep the frame, and say that the transport is full when it is."""
        super().send(frame)
        self.room -= len(frame)
        if self.room <= 0:
            self.outbox.paused()


class Box:
    """An outbox, its socket, and how often it has overflowed."""

    def __init__(self, max_bytes: int = 1000) -> None:
        self.socket = RecordingSocket()
        self.overflows = 0
        self.tally = FlowTally()
        self.outbox = Outbox(
            self.socket, max_bytes, FrameKey.JSON, self._overflow, tally=self.tally
        )

    def _overflow(self) -> None:
        self.overflows += 1

    def sent(self) -> bytes:
        """Return what has gone out since the last call."""
        data = b"".join(self.socket.frames)
        self.socket.frames = []
        return data


def test_frames_go_straight_through_while_there_is_room() -> None:
    """The very same bytes are handed to the socket, one by one, at once."""
    box = Box()
    frame = b"shared by all"
    box.outbox.push(frame)
    box.outbox.push_latest(7, frame)
    box.outbox.reply(b"answer")

    assert box.socket.frames == [frame, frame, b"answer"]
    assert all(one is frame for one in box.socket.frames[:2])
    assert box.outbox.waiting_bytes == 0


def test_frames_wait_in_order_while_paused_and_leave_in_one_write() -> None:
    """Publications and answers keep their order; what waited is joined."""
    box = Box()
    box.outbox.paused()
    box.outbox.push(b"a")
    box.outbox.reply(b"b")
    box.outbox.push(b"c")
    assert box.socket.frames == []
    assert box.outbox.waiting_bytes == 3

    box.outbox.resumed()
    assert box.socket.frames == [b"abc"]
    assert box.outbox.waiting_bytes == 0

    box.outbox.push(b"d")
    assert box.socket.frames == [b"abc", b"d"]


def test_a_live_channel_waits_with_its_latest_value_only() -> None:
    """A newer value takes the place of the waiting one and is counted."""
    box = Box()
    box.outbox.paused()
    box.outbox.push_latest(1, b"[1: old]")
    box.outbox.push(b"[p]")
    box.outbox.push_latest(2, b"[2]")
    box.outbox.push_latest(1, b"[1: new]")
    assert box.outbox.waiting_bytes == len(b"[1: new][p][2]")
    assert box.tally.coalesced == 1

    box.outbox.resumed()
    assert box.sent() == b"[1: new][p][2]"


def test_a_slow_reader_gets_round_to_every_live_channel() -> None:
    """Values that keep changing do not push others back for ever."""
    socket = NarrowSocket()
    outbox = socket.outbox = Outbox(socket, 10_000, FrameKey.JSON, socket.abort)
    outbox.paused()
    for _ in range(10):
        for number in range(1, 101):
            outbox.push_latest(number, b"%3d" % number)
        socket.room = 1  # one write's worth, which is at least one value
        outbox.resumed()

    sent = b"".join(socket.frames)
    assert {sent[at : at + 3] for at in range(0, len(sent), 3)} == {
        b"%3d" % number for number in range(1, 101)
    }


def test_resuming_stops_when_the_transport_is_full_again() -> None:
    """What is left waits on, in order, in front of what comes."""
    socket = NarrowSocket()
    outbox = socket.outbox = Outbox(socket, 10**6, FrameKey.JSON, socket.abort)
    outbox.paused()
    big = b"x" * BATCH_BYTES
    outbox.push(big)
    outbox.push(b"next")
    socket.room = 1
    outbox.resumed()
    assert socket.frames == [big]
    assert outbox.waiting_bytes == 4

    outbox.push(b"last")
    socket.room = 1000
    outbox.resumed()
    assert socket.frames == [big, b"nextlast"]


def test_overflow_is_told_once_and_lets_go_of_everything() -> None:
    """Past the bound nothing is kept or sent any more; the owner closes."""
    box = Box(max_bytes=10)
    box.outbox.paused()
    box.outbox.push(b"x" * 10)
    assert not box.outbox.overflowed

    box.outbox.push(b"y")
    box.outbox.push(b"z")
    box.outbox.push_latest(1, b"z" * 20)
    assert (box.outbox.overflowed, box.overflows) == (True, 1)
    assert box.outbox.waiting_bytes == 0

    box.outbox.resumed()
    box.outbox.push(b"late")
    assert box.sent() == b""


def test_values_that_replace_one_another_never_overflow() -> None:
    """A dashboard that is not read keeps one value per counter, for ever."""
    box = Box(max_bytes=100)
    box.outbox.paused()
    for value in range(1000):
        box.outbox.push_latest(1, b"value %4d" % value)
        box.outbox.push_latest(2, b"value %4d" % value)

    assert box.overflows == 0
    assert box.outbox.waiting_bytes == 20


def test_an_unsubscribed_live_channel_is_forgotten() -> None:
    """After subscribing again, its first value comes after the reply."""
    box = Box()
    box.outbox.paused()
    box.outbox.push_latest(1, b"[old]")
    box.outbox.forget(1)
    box.outbox.forget(1)
    box.outbox.reply(b"[unsubscribed][subscribed]")
    box.outbox.push_latest(1, b"[new]")
    box.outbox.resumed()

    assert box.sent() == b"[unsubscribed][subscribed][new]"


def test_forgetting_while_nothing_waits_is_harmless() -> None:
    """Most unsubscriptions happen while the transport has room."""
    box = Box()
    box.outbox.forget(1)
    box.outbox.resumed()

    assert box.sent() == b""


def test_a_full_transport_costs_an_idle_outbox_nothing() -> None:
    """There is no queue before something waits, and none afterwards."""
    box = Box()
    box.outbox.paused()
    assert box.outbox._waiting is None
    box.outbox.push(b"x")
    box.outbox.resumed()
    assert box.outbox._waiting is None
    assert not hasattr(box.outbox, "__dict__")


@pytest.mark.parametrize("max_bytes", [30, 10_000])
@given(st.data())
def test_what_comes_out_is_what_a_simple_model_says(
    max_bytes: int, data: st.DataObject
) -> None:
    """Any sequence of calls: order kept, latest values, the bound never exceeded."""
    box = Box(max_bytes)
    queue: list[tuple[int, bytes]] = []
    expected, paused, gone = b"", False, False
    for step in range(data.draw(st.integers(0, 40))):
        action = data.draw(st.sampled_from(["push", "latest", "pause", "resume"]))
        if action == "pause":
            paused = True
            box.outbox.paused()
        elif action == "resume":
            box.outbox.resumed()
            if not gone:
                paused = False
                expected += b"".join(frame for _, frame in queue)
                queue = []
        else:
            number = data.draw(st.integers(1, 3)) if action == "latest" else -step - 1
            frame = b"<%d:%d>" % (number, step)
            if number > 0:
                box.outbox.push_latest(number, frame)
            else:
                box.outbox.push(frame)
            if gone:
                continue
            if not paused:
                expected += frame
                continue
            at = [index for index, (key, _) in enumerate(queue) if key == number]
            if at:
                queue[at[0]] = (number, frame)
            else:
                queue.append((number, frame))
            if sum(len(frame) for _, frame in queue) > max_bytes:
                queue, gone = [], True
        assert box.outbox.waiting_bytes == sum(len(frame) for _, frame in queue)
        assert box.outbox.waiting_bytes <= max_bytes

    assert b"".join(box.socket.frames) == expected
    assert box.overflows == int(gone)
