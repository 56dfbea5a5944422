"""What a node remembers of a history in which offsets have been left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realtime.core.recent import Recent, Run
from realtime.types import Channel, JSONText, Position, Publication


def publications(*offsets: int) -> list[Publication]:
    """Make publications with these offsets."""
    return [
        Publication(Channel("c"), JSONText(b"%d" % one), Position(one, "e"))
        for one in offsets
    ]


def offsets_after(run: Run | None, offset: int) -> list[int]:
    """What the run says follows."""
    assert run is not None
    return [one.position.offset for one in run.after(offset, 100, 10_000)]  # type: ignore[union-attr]


def test_what_was_left_out_is_no_hole_and_no_place() -> None:
    """Places before and after go on over it; those in between are not known."""
    recent = Recent()
    recent.begin(10)
    for one in publications(11, 12, 1013, 1014):
        recent.add(one)
    assert offsets_after(recent.find(10), 10) == [11, 12, 1013, 1014]
    assert offsets_after(recent.find(12), 12) == [1013, 1014]
    assert offsets_after(recent.find(1013), 1013) == [1014]
    assert recent.find(13) is None
    assert recent.find(1012) is None
    assert recent.find(9) is None


def test_what_was_read_goes_before_the_tail() -> None:
    """A run that reaches to the tail is put before it, each publication once."""
    recent = Recent()
    recent.begin(1014)
    recent.add(publications(1015)[0])
    recent.learn(Run(10, publications(11, 12, 1013, 1014, 1015)))
    assert recent.tail is not None
    assert offsets_after(recent.tail, 10) == [11, 12, 1013, 1014, 1015]
    assert recent.tail.low == 10


@given(
    steps=st.lists(st.integers(1, 3), max_size=20),
    low=st.integers(0, 5),
    dropped=st.integers(0, 5),
    asked=st.integers(0, 60),
)
def test_a_run_knows_its_places(
    steps: list[int], low: int, dropped: int, asked: int
) -> None:
    """What follows a place is what has a greater offset; only places are known."""
    offsets = [low + sum(steps[: n + 1]) for n in range(len(steps))]
    run = Run(low)
    for one in publications(*offsets):
        run.append(one)
    for _ in range(min(dropped, len(offsets))):
        run.shrink()
        low = offsets.pop(0)
    assert run.has(asked) == (asked in (low, *offsets))
    assert run.high == max([low, *offsets])
    if run.has(asked):
        assert offsets_after(run, asked) == [one for one in offsets if one > asked]
