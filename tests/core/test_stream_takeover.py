"""A stream whose store was taken over, so that offsets were left out."""

from __future__ import annotations

import pytest

from realtime.core.stream import Stream
from realtime.core.stream_values import Bounds, Found, Reason, Want
from realtime.types import Channel, JSONText, Position, Publication, PublicationKind

CHAT = Channel("chat:42")


def made(*offsets: int) -> list[Publication]:
    """Make publications with these offsets."""
    return [
        Publication(CHAT, JSONText(b"%d" % one), Position(one, "e")) for one in offsets
    ]


@pytest.fixture
def stream() -> Stream:
    """A stream that stands at 100."""
    stream = Stream(CHAT, Bounds())
    read = stream.next_read([Want()])
    assert read is not None
    stream.merge(read, Found([], Position(100, "e")))
    return stream


def test_nothing_is_missing_over_what_was_left_out(stream: Stream) -> None:
    """What follows is read, passed on without a gap, and known to who comes later."""
    (next_one,) = made(1_000_101)
    assert list(stream.receive(next_one)) == []
    read = stream.next_read([])
    assert read is not None
    assert (read.reason, read.since) == (Reason.HEAL, Position(100, "e"))
    told = stream.merge(read, Found([next_one], Position(1_000_101, "e")))
    assert list(told) == [next_one]
    assert not stream.behind
    entry = stream.entry(Want(since=Position(100, "e")))
    assert entry is not None
    assert (entry.recovered, list(entry.publications)) == (True, [next_one])


def test_what_the_lost_server_told_is_a_gap(stream: Stream) -> None:
    """Who has seen what the store lost is told so, nodes and clients alike."""
    for publication in made(101, 102):
        assert list(stream.receive(publication)) == [publication]
    (next_one,) = made(1_000_101)
    assert list(stream.receive(next_one)) == []
    read = stream.next_read([])
    assert read is not None
    found = Found([next_one], Position(1_000_101, "e"), complete=False)
    gap, passed = stream.merge(read, found)
    assert (gap.kind, passed) == (PublicationKind.GAP, next_one)
    entry = stream.entry(Want(since=Position(102, "e")))
    assert entry is not None
    assert entry.recovered is False
