"""What waits for a reader of server-sent events."""

from __future__ import annotations

import asyncio

import pytest

from realtime.edges.http.reader import Reader
from realtime.engine.subscriber import Droppable, Part
from realtime.errors import GOING_AWAY, SLOW
from realtime.testing.clock import ManualClock
from realtime.types import Channel, Position

pytestmark = pytest.mark.anyio


def reader(max_bytes: int = 100) -> Reader:
    """A reader with room for so many bytes."""
    return Reader(max_bytes, ManualClock())


async def test_frames_keep_their_order() -> None:
    """What was pushed first is taken first."""
    one = reader()
    one.push(b"a")
    one.push(b"b")
    assert one.take() == b"ab"


async def test_of_a_live_channel_the_latest_value_waits() -> None:
    """A newer value takes the place of one that waits; other channels keep theirs."""
    one = reader()
    one.push_latest(1, b"old")
    one.push_latest(2, b"other")
    one.push_latest(1, b"new")
    assert one.take() == b"newother"


async def test_replacing_makes_room() -> None:
    """Values that were replaced do not count against the bound."""
    one = reader(max_bytes=10)
    for _ in range(100):
        one.push_latest(1, b"0123456789")
    assert one.end is None
    assert one.waiting_bytes == 10


async def test_taking_makes_room() -> None:
    """What was taken does not count any more."""
    one = reader(max_bytes=10)
    for _ in range(100):
        one.push(b"0123456789")
        assert one.take() == b"0123456789"
        one.taken()
    assert one.end is None


async def test_an_overflow_ends_the_reader_as_slow() -> None:
    """Beyond the bound nothing waits any more, and the end is told once."""
    one, ends = reader(max_bytes=10), []
    one.when_finished(lambda: ends.append(one.end))
    for _ in range(20):
        one.push(b"0123")
        one.push_latest(1, b"0123")
    assert ends == [SLOW]
    assert one.waiting_bytes == 0
    assert one.take() == b""


async def test_live_values_are_bounded_too() -> None:
    """Very many live channels overflow like anything else."""
    one = reader(max_bytes=10)
    for number in range(4):
        one.push_latest(number, b"0123")
    assert one.end is SLOW


async def test_the_first_end_counts() -> None:
    """A reader that has ended cannot end again for another reason."""
    one = reader()
    one.finish(GOING_AWAY, retry_ms=5)
    one.finish(SLOW)
    assert (one.end, one.retry_ms) == (GOING_AWAY, 5)


async def test_what_waits_at_the_end_may_be_taken() -> None:
    """A finished reader takes nothing more, but gives what it has."""
    one = reader()
    one.push(b"a")
    one.finish(GOING_AWAY)
    one.push(b"b")
    assert one.take() == b"a"


async def test_ready_wakes_for_frames_and_for_the_end() -> None:
    """The writer sleeps only while there is nothing to do."""
    one = reader()
    waiting = asyncio.create_task(one.ready())
    await asyncio.sleep(0)
    assert not waiting.done()
    one.push(b"a")
    await waiting
    one.take()
    waiting = asyncio.create_task(one.ready())
    await asyncio.sleep(0)
    assert not waiting.done()
    one.finish(SLOW)
    await waiting


async def test_a_late_listener_hears_of_the_end() -> None:
    """An end before anybody listened is told at once."""
    one, ends = reader(), []
    one.finish(SLOW)
    one.when_finished(lambda: ends.append(one.end))
    assert ends == [SLOW]


def droppable(offset: int) -> Droppable:
    """A publication of a channel whose slow readers lose some."""
    return Droppable(Channel("feed:a"), 3, 1, Position(offset, "e1"))


async def test_what_may_be_dropped_is_replaced_by_a_gap() -> None:
    """Told with the next chunk, after what waits; the reader goes on."""
    one = reader(max_bytes=100)
    for offset in range(1, 10):
        one.push_droppable(droppable(offset), b"x" * 40)
    one.push(b"answer")
    assert one.waiting_bytes <= 100
    chunk = one.take()
    one.taken()
    one.push_droppable(droppable(10), b"next")

    gap = b'event: gap\ndata: {"channel":"feed:a","offset":9,"epoch":"e1"}\n'
    gap += b"id: 9,e1,feed:a\n\n"
    assert chunk == b"answer" + gap
    assert one.take() == b"next"
    assert one.end is None


async def test_of_what_may_be_merged_the_latest_waits() -> None:
    """Key by key; what has no key waits in order."""
    one = reader()
    for value in (b"1", b"2"):
        parts = [
            Part(b"[btc %b]" % value, (3, "BTC", 0), False),
            Part(b"[eth %b]" % value, (3, "ETH", 0), False),
            Part(b"[join]", None, False),
        ]
        one.push_merged(parts, b"all of them")

    assert one.take() == b"[btc 2][eth 2][join][join]"


async def test_what_cannot_be_merged_ends_the_reader() -> None:
    """Like anything else for which there is no room."""
    one = reader(max_bytes=30)
    parts = [Part(b"0123456789", (3, str(at), 0), False) for at in range(5)]
    one.push_merged(parts, b"all of them")

    assert one.end is SLOW
    assert one.waiting_bytes == 0
