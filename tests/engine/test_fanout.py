"""A channel with very many subscribers: served in turns, exactly, in order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from realtime.core.flow import DIRECT, Flow
from realtime.engine import fanout
from realtime.engine.outbox import Outbox
from realtime.types import Channel, JSONText, Publication
from tests.engine.flow_support import PRICES, Reader, World

OTHER = Channel("prices:others")


def crowd(world: World, count: int, flow: Flow = DIRECT) -> list[Reader]:
    """So many readers, with a turn of ten."""
    world.hub.fanout.turn = 10
    return [world.reader(flow) for _ in range(count)]


def test_few_are_served_at_once() -> None:
    """Without any timer."""
    world = World()
    readers = crowd(world, 10)
    world.publish(1)

    assert [reader.numbers() for reader in readers] == [[1]] * 10
    assert world.clock.pending == 0


def test_many_are_served_in_turns() -> None:
    """The first at once, the others turn by turn; then there is no line any more."""
    world = World()
    readers = crowd(world, 25)
    assert world.publish(1) == 25
    served = []
    while world.clock.pending:
        served.append(sum(len(reader.socket.frames) for reader in readers))
        world.turn()

    assert served == [10, 20]
    assert [reader.numbers() for reader in readers] == [[1]] * 25


def test_what_follows_stands_in_line() -> None:
    """Nobody gets the second before the first, nor misses one."""
    world = World()
    readers = crowd(world, 25)
    for at in range(4):
        world.publish(at)
    world.clock.advance(0)

    assert [reader.numbers() for reader in readers] == [[0, 1, 2, 3]] * 25
    assert world.clock.pending == 0


def test_who_leaves_is_served_no_more() -> None:
    """Although it was there when the publication came."""
    world = World()
    readers = crowd(world, 25)
    world.publish(1)
    world.hub.leave(PRICES, readers[24].outbox)
    world.clock.advance(0)

    assert readers[24].numbers() == []
    assert readers[23].numbers() == [1]


def test_who_joins_gets_what_follows_only() -> None:
    """Also one who was there before, and has come back."""
    world = World()
    readers = crowd(world, 25)
    world.publish(1)
    back = readers[24].outbox
    world.hub.leave(PRICES, back)
    world.hub.join(PRICES, back)
    new = world.reader()
    world.publish(2)
    world.clock.advance(0)

    assert readers[24].numbers() == [2]
    assert new.numbers() == [2]
    assert readers[0].numbers() == [1, 2]


def test_channels_take_turns() -> None:
    """A line of one channel does not hold up that of another, nor a small channel."""
    world = World()
    crowd(world, 35)
    others = [Reader() for _ in range(15)]
    for reader in others:
        world.hub.join(OTHER, reader.outbox)
    world.publish(1)
    world.hub.broadcast(Publication(OTHER, JSONText(b"2")))
    order = []
    while world.clock.pending:
        world.turn()
        order.append(sum(len(reader.socket.frames) for reader in others))

    assert order[-1] == 15
    assert order.index(10) < len(order) - 1


def test_a_line_is_bounded(monkeypatch) -> None:
    """Where publications come too fast, each makes room for itself: nothing is lost."""
    monkeypatch.setattr(fanout, "LINE_BYTES", 400)
    world = World()
    readers = crowd(world, 25)
    got = []
    for at in range(100):
        world.publish(at)
        got += readers[24].numbers()
    assert got == list(range(len(got)))
    assert len(got) > 70

    world.clock.advance(0)
    assert got + readers[24].numbers() == list(range(100))
    assert [reader.numbers() for reader in readers[:24]] == [list(range(100))] * 24


def test_a_defect_of_one_is_not_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is logged; the line goes on, as do the lines behind it."""
    world = World()
    readers = crowd(world, 25)
    push = Outbox.push

    def fails(outbox: Outbox, *arguments: Any) -> None:
        if outbox in (readers[3].outbox, readers[14].outbox):
            raise ValueError("a defect")
        push(outbox, *arguments)

    monkeypatch.setattr(Outbox, "push", fails)
    with capture_logs() as logs:
        world.publish(1)
        world.publish(2)
        world.clock.advance(0)

    got = [reader.numbers() for reader in readers]
    assert got == [[] if at in (3, 14) else [1, 2] for at in range(25)]
    assert [one["event"] for one in logs] == ["delivery_failed"] * 4
    assert world.clock.pending == 0


def test_stopping_forgets_what_is_under_way() -> None:
    """When the node closes."""
    world = World()
    crowd(world, 25)
    world.publish(1)
    world.hub.stop()

    assert world.clock.pending == 0


@given(
    st.lists(
        st.one_of(
            st.just(("publish", 0)),
            st.just(("turn", 0)),
            st.tuples(st.sampled_from(["join", "leave"]), st.integers(0, 11)),
        ),
        max_size=40,
    )
)
def test_everyone_gets_what_came_while_it_was_there(
    steps: list[tuple[str, int]],
) -> None:
    """In order, once: whatever happens while it is under way."""
    world = World()
    world.hub.fanout.turn = 2
    readers = [Reader() for _ in range(12)]
    there: dict[int, list[int]] = {}
    count = 0
    for step, who in steps:
        if step == "publish":
            world.publish(count)
            for one in there.values():
                one.append(count)
            count += 1
        elif step == "turn":
            world.turn()
        elif step == "join" and who not in there:
            world.hub.join(PRICES, readers[who].outbox)
            there[who] = []
        elif step == "leave" and who in there:
            world.hub.leave(PRICES, readers[who].outbox)
            wanted = there.pop(who)
            got = readers[who].numbers()
            assert got == wanted[: len(got)], "not a beginning of what it was to get"
    world.clock.advance(0)
    for who, wanted in there.items():
        assert readers[who].numbers() == wanted
    assert all(
        reader.numbers() == [] for who, reader in enumerate(readers) if who not in there
    )
