"""Live channels: what newcomers are told, what is published, and when."""

from __future__ import annotations

import pytest

from realtime.core.cells import CellChange, CellKey, ShardCell, State, UniqueCount
from realtime.core.counters import CounterDefinition
from realtime.core.live import LiveState, LiveValue
from realtime.core.naming import LiveName

NOW = 1_700_000_100.0  # where buckets of 300 s and of 60 s begin
END = NOW + 300


def definition(window: str = "5m", **raw: object) -> CounterDefinition:
    """Return a counter of likes per post, with this window."""
    table = {"event": "like", "by": ["post"], "windows": [window], **raw}
    return CounterDefinition.parse("likes", table, 0.1)


def live(window: str = "5m", *, loaded: bool = True, **raw: object) -> LiveState:
    """Return the state of the channel of post 42, read when it had nothing."""
    counter = definition(window, **raw)
    state = LiveState(counter, LiveName.of(counter, {"post": "42"}))
    if loaded and counter.measure != "unique":
        state.load({}, NOW)
    if loaded and counter.measure == "unique":
        state.load_counts([(at, UniqueCount(0, 0)) for at, _ in state.unions(NOW)], NOW)
    return state


def change(
    count: int | None, *, rev: int, at: float = NOW, grain_s: int = 300, shard: int = 0
) -> CellChange:
    """Return the new state of the cell of post 42 that contains *at*."""
    bucket = int(at // grain_s) if grain_s else 0
    state: State | None = None if count is None else (count,)
    return CellChange(shard, CellKey("likes", grain_s, bucket, "42"), state, rev)


# -- values ----------------------------------------------------------------------------


def test_a_value_is_encoded_with_all_its_fields() -> None:
    """Clients find value, at, rev and final in every publication."""
    value = LiveValue(12, 1_700_000_300.0, 3, final=False)
    assert value.encode() == (b'{"value":12,"at":1700000300.0,"rev":3,"final":false}')
    total = LiveValue(None, None, 0)
    assert total.encode() == b'{"value":null,"at":null,"rev":0,"final":false}'


@pytest.mark.parametrize(
    ("measure", "empty"), [("sum", 0), ("min", None), ("max", None), ("mean", None)]
)
def test_a_newcomer_to_nothing_is_told_of_nothing(
    measure: str, empty: int | None
) -> None:
    """Without events the current value is 0, or null where that would be a lie."""
    state = live(measure=measure, of="price")
    assert state.current(NOW) == LiveValue(empty, END, 0)


def test_the_total_has_no_end() -> None:
    """Its value changes by events only: no instance, no boundary, never final."""
    state = live("total")
    assert state.apply(change(7, rev=1, grain_s=0), NOW)
    assert state.publications(NOW) == [LiveValue(7, None, 1)]
    assert state.next_boundary(NOW) is None


def test_a_channel_of_an_undeclared_window_is_a_mistake() -> None:
    """Names are parsed against the definition, so this is a fault of the program."""
    name = LiveName.of(definition("5m"), {"post": "42"})
    with pytest.raises(ValueError, match="no window '5m'"):
        LiveState(definition("7m"), name)


# -- changes ---------------------------------------------------------------------------


def test_a_change_is_published_once() -> None:
    """The next call says nothing, and a newcomer is told the same value."""
    state = live()
    assert state.apply(change(1, rev=1), NOW)
    assert state.publications(NOW) == [LiveValue(1, END, 1)]
    assert state.publications(NOW) == []
    assert state.current(NOW) == LiveValue(1, END, 1)


def test_several_changes_are_one_publication() -> None:
    """Only the latest state is published, however many there were."""
    state = live()
    for count in (1, 2, 3):
        state.apply(change(count, rev=count), NOW)
    assert state.publications(NOW) == [LiveValue(3, END, 3)]


def test_older_and_repeated_changes_are_ignored() -> None:
    """A change with a revision that is not larger is no change."""
    state = live()
    assert state.apply(change(5, rev=5), NOW)
    assert not state.apply(change(5, rev=5), NOW)
    assert not state.apply(change(4, rev=4), NOW)
    assert state.current(NOW) == LiveValue(5, END, 5)


@pytest.mark.parametrize(
    "key",
    [
        CellKey("views", 300, 5_666_667, "42"),
        CellKey("likes", 60, 5_666_667, "42"),
        CellKey("likes", 300, 5_666_667, "43"),
        CellKey("likes", 300, 5_666_600, "42"),
        CellKey("likes", 300, 5_666_999, "42"),
    ],
)
def test_changes_of_other_cells_are_ignored(key: CellKey) -> None:
    """Another counter, grain or post, long ago or far ahead: nothing to publish."""
    state = live()
    assert not state.apply(CellChange(0, key, (1,), 1), NOW)


def test_shards_are_merged() -> None:
    """The value is that of all shards together, and so is the revision."""
    state = live()
    state.apply(change(3, rev=2, shard=0), NOW)
    state.apply(change(4, rev=1, shard=1), NOW)
    assert state.publications(NOW) == [LiveValue(7, END, 3)]


def test_a_change_of_revision_alone_is_not_published() -> None:
    """A larger event does not change the minimum."""
    state = live(measure="min", of="price", decimals=0)
    state.apply(change(3, rev=1), NOW)
    state.publications(NOW)
    assert state.apply(change(3, rev=2), NOW)
    assert state.publications(NOW) == []
    assert state.current(NOW) == LiveValue(3, END, 2)


# -- full reads ------------------------------------------------------------------------


def test_the_first_read_is_no_news() -> None:
    """The subscriber for whom it was made is told by the reply."""
    state = live(loaded=False)
    state.load(_reading(state, 9, rev=4), NOW)
    assert state.publications(NOW) == []
    assert state.current(NOW) == LiveValue(9, END, 4)


def test_nothing_is_published_before_the_first_read() -> None:
    """A change that overtakes the read is part of what is known by then."""
    state = live(loaded=False)
    state.apply(change(10, rev=5), NOW)
    assert state.publications(NOW) == []
    state.load(_reading(state, 9, rev=4), NOW)
    assert state.current(NOW) == LiveValue(10, END, 5)
    assert state.publications(NOW) == []


def test_a_later_read_heals_what_was_lost() -> None:
    """What no change had told is published after the read that found it."""
    state = live()
    state.load(_reading(state, 9, rev=4), NOW)
    assert state.publications(NOW) == [LiveValue(9, END, 4)]


def test_a_read_never_goes_back() -> None:
    """A read that was overtaken by a change does not undo it."""
    state = live()
    state.apply(change(10, rev=5), NOW)
    state.publications(NOW)
    state.load(_reading(state, 9, rev=4), NOW)
    assert state.publications(NOW) == []


def test_a_read_shows_what_the_ledger_has_lost() -> None:
    """What was known before the read was made is gone if the read does not know it."""
    state = live()
    state.apply(change(10, rev=5), NOW)
    state.publications(NOW)
    known = state.revs()
    state.load(_reading(state, 7, rev=3), NOW, known)
    assert state.publications(NOW) == [LiveValue(7, END, 6)]
    assert state.apply(change(8, rev=4), NOW)
    assert state.publications(NOW) == [LiveValue(8, END, 7)]


def test_a_change_during_the_read_is_not_taken_for_a_loss() -> None:
    """The read was made before it, of a ledger that had all that was known then."""
    state = live()
    state.apply(change(9, rev=4), NOW)
    known = state.revs()
    state.apply(change(10, rev=5), NOW)
    state.load(_reading(state, 9, rev=4), NOW, known)
    assert state.current(NOW) == LiveValue(10, END, 5)


def test_a_ledger_that_lost_and_counted_as_much_again_is_believed() -> None:
    """The same rev of another state is told by another history."""
    state = live()
    state.apply(change(10, rev=5), NOW)
    state.publications(NOW)
    state.load(_reading(state, 7, rev=5), NOW, state.revs())
    assert state.publications(NOW) == [LiveValue(7, END, 6)]


def test_a_bucket_that_others_use_is_nothing_of_ours() -> None:
    """A read names the bucket's rev for every cell; an empty one is never final."""
    state = live()
    readings = {key: (ShardCell(0, None, 9),) for key in state.keys(NOW)}
    state.load(readings, NOW)
    assert state.publications(END + 1000) == []
    assert state.next_boundary(NOW) is None


def test_what_is_read_is_what_is_open() -> None:
    """The current bucket, one that still takes events, and a little ahead."""
    state = live("5m", lateness="2m")
    assert [key.bucket for key in state.keys(NOW)] == [5_666_666, 5_666_667, 5_666_668]
    assert [key.bucket for key in state.keys(NOW + 181)] == [5_666_667, 5_666_668]
    assert set(state.keys(NOW)) >= {CellKey("likes", 300, 5_666_667, "42")}


@pytest.mark.parametrize("window", ["1s", "1m", "5m", "1h/1m", "16m/1s", "total"])
def test_what_is_read_is_bounded(window: str) -> None:
    """At most 64 buckets are read beside those of the current instance."""
    state = live(window, lateness="1d")
    span = definition(window).windows[0].span
    assert span <= len(state.keys(NOW)) <= span + 64


# -- time ------------------------------------------------------------------------------


def test_a_tumbling_window_starts_again_at_nothing() -> None:
    """At its end, watchers of something are told that the next one has nothing yet."""
    state = live()
    state.apply(change(5, rev=5), NOW)
    state.publications(NOW)
    assert state.next_boundary(NOW) == END
    assert state.publications(END - 0.001) == []
    assert state.publications(END) == [LiveValue(0, END + 300, 0)]


def test_a_tumbling_window_becomes_final_after_its_lateness() -> None:
    """One cadence after it has stopped taking events, it is said to be final."""
    state = live(lateness="2m", cadence="1s")
    state.apply(change(5, rev=5), NOW)
    state.publications(END)
    assert state.next_boundary(END) == END + 121
    assert state.publications(END + 120) == []
    assert state.publications(END + 121) == [LiveValue(5, END, 5, final=True)]
    assert state.publications(END + 122) == []


@pytest.mark.parametrize("measure", ["count", "unique"])
@pytest.mark.parametrize(
    ("window", "lateness"), [("1s", "2m"), ("2s", "2m"), ("1s", "512s"), ("1m", "8h")]
)
def test_every_instance_that_showed_something_becomes_final(
    window: str, lateness: str, measure: str
) -> None:
    """However many instances lateness keeps open, up to 512, each one is ended."""
    unique = measure == "unique"
    raw = {"measure": measure, "of": "user"} if unique else {}
    state = live(window, lateness=lateness, **raw)
    step_s = definition(window).windows[0].step_s
    state.apply(change(None if unique else 5, rev=5, grain_s=step_s), NOW)
    if unique:
        state.load_counts([(NOW + step_s, UniqueCount(5, 5))], NOW)
    told = state.publications(NOW)
    now, until = NOW, NOW + step_s + definition(lateness=lateness).lateness_s + 30
    while (at := state.next_boundary(now)) is not None and at < until:
        now = at
        if unique:
            counts = [(end, _five(end, NOW + step_s)) for end, _ in state.unions(now)]
            state.load_counts(counts, now)
        told += state.publications(now)
    assert [one for one in told if one.final and one.at == NOW + step_s] == [
        LiveValue(5, NOW + step_s, 5, final=True)
    ]


def _five(end: float | None, where: float) -> UniqueCount:
    """Return what the ledger counts of an instance when only *where* has members."""
    return UniqueCount(5, 5) if end == where else UniqueCount(0, 0)


def test_an_old_instance_is_corrected_while_it_is_open() -> None:
    """It is read again as long as it is known, though most of its age are not."""
    state = live("1s", lateness="2m")
    later = NOW + 100
    assert state.apply(change(5, rev=5, grain_s=1), later)
    assert state.publications(later)[0] == LiveValue(5, NOW + 1, 5)
    key = CellKey("likes", 1, int(NOW), "42")
    assert key in state.keys(later)
    state.load({key: (ShardCell(0, (6,), 6),)}, later)
    assert state.publications(later) == [LiveValue(6, NOW + 1, 6)]


def test_an_instance_older_than_the_first_read_is_left_alone() -> None:
    """What other shards have of it is unknown, so no value could be told."""
    state = live("1s", lateness="2m")
    assert not state.apply(change(5, rev=5, grain_s=1, at=NOW - 100), NOW)


def test_an_empty_window_neither_starts_nor_becomes_final() -> None:
    """Where nothing happens, nothing is published and no timer is needed."""
    state = live()
    assert state.next_boundary(NOW) is None
    assert state.publications(NOW + 3600) == []


def test_a_late_event_corrects_its_own_instance() -> None:
    """The correction carries the end of the instance that it corrects, oldest first."""
    state = live()
    state.apply(change(5, rev=5), NOW)
    state.publications(END)
    state.apply(change(1, rev=1, at=END), END + 1)
    state.apply(change(6, rev=6, at=NOW), END + 1)
    assert state.publications(END + 1) == [
        LiveValue(6, END, 6),
        LiveValue(1, END + 300, 1),
    ]


def test_a_commit_after_the_final_value_is_still_told() -> None:
    """An event accepted in time and committed late makes another final value."""
    state = live(lateness=0)
    state.apply(change(5, rev=5), NOW)
    state.publications(END + 1)
    state.apply(change(6, rev=6, at=NOW), END + 30)
    assert state.publications(END + 30) == [LiveValue(6, END, 6, final=True)]


def test_a_sliding_window_falls_without_events() -> None:
    """When a bucket with events leaves the window, the smaller value is published."""
    state = live("3m/1m")
    state.apply(change(5, rev=5, grain_s=60), NOW)
    state.apply(change(2, rev=2, grain_s=60, at=NOW + 60), NOW + 60)
    assert state.publications(NOW + 60) == [LiveValue(7, NOW + 120, 7)]
    assert state.next_boundary(NOW + 60) == NOW + 180
    assert state.publications(NOW + 179.9) == []
    assert state.publications(NOW + 180) == [LiveValue(2, NOW + 240, 2)]
    assert state.next_boundary(NOW + 180) == NOW + 240
    assert state.publications(NOW + 240) == [LiveValue(0, NOW + 300, 0)]
    assert state.next_boundary(NOW + 240) is None


def test_a_sliding_window_that_keeps_its_value_is_silent() -> None:
    """Steps without a change of value are not published."""
    state = live("3m/1m")
    state.apply(change(5, rev=5, grain_s=60), NOW)
    state.publications(NOW)
    assert state.publications(NOW + 60) == []
    assert state.current(NOW + 60) == LiveValue(5, NOW + 120, 5)


def test_an_event_dated_ahead_counts_when_its_bucket_begins() -> None:
    """A change of a bucket that has not begun asks for a timer, not a publication."""
    state = live("1m")
    assert state.apply(change(1, rev=1, grain_s=60, at=NOW + 60), NOW)
    assert state.publications(NOW) == []
    assert state.next_boundary(NOW) == NOW + 60
    assert state.publications(NOW + 60) == [LiveValue(1, NOW + 120, 1)]


def test_a_clock_that_steps_back_a_little_is_waited_for() -> None:
    """Nothing is published twice or undone while the clock catches up."""
    state = live("3m/1m")
    state.apply(change(5, rev=5, grain_s=60, at=NOW - 120), NOW)
    state.publications(NOW)
    state.publications(NOW + 60)
    assert state.publications(NOW + 59) == []
    assert state.current(NOW + 59) == LiveValue(0, NOW + 120, 0)


def test_a_clock_that_was_hours_ahead_is_followed_back() -> None:
    """After a jump back, the next full read is right again."""
    state = live("1h/1m")
    state.publications(NOW + 86400)
    state.load(_reading(state, 9, rev=4, grain_s=60), NOW)
    assert state.current(NOW) == LiveValue(9, NOW + 60, 4)


# -- unique counts ---------------------------------------------------------------------


def test_unique_counts_are_read_before_they_are_published() -> None:
    """A change only says that a read is wanted."""
    state = live("5m", measure="unique", of="user")
    assert state.apply(change(None, rev=1), NOW)
    assert not state.apply(change(None, rev=1), NOW)
    assert state.publications(NOW) == []
    state.load_counts([(END, UniqueCount(1, 1))], NOW)
    assert state.publications(NOW) == [LiveValue(1, END, 1)]


def test_a_union_is_the_cells_of_one_instance() -> None:
    """A sliding count is one union of all its buckets; a tumbling one has one each."""
    sliding = live("3m/1m", measure="unique", of="user")
    [(at, keys)] = sliding.unions(NOW)
    assert at == NOW + 60
    last = int(NOW // 60)
    assert [key.bucket for key in keys] == [last - 2, last - 1, last]
    tumbling = live("5m", measure="unique", of="user")
    assert [(at, len(keys)) for at, keys in tumbling.unions(NOW)] == [
        (NOW, 1),
        (END, 1),
    ]
    total = live("total", measure="unique", of="user")
    assert total.unions(NOW) == [(None, [CellKey("likes", 0, 0, "42")])]


def test_an_older_count_does_not_undo_a_newer_one() -> None:
    """Reads may answer in another order than they were made."""
    state = live("5m", measure="unique", of="user")
    state.load_counts([(END, UniqueCount(9, 5))], NOW)
    state.load_counts([(END, UniqueCount(8, 4))], NOW)
    assert state.publications(NOW) == [LiveValue(9, END, 5)]


def test_a_count_shows_what_the_ledger_has_lost() -> None:
    """Afterwards changes are heard again, though their revs begin anew."""
    state = live("5m", measure="unique", of="user")
    state.apply(change(None, rev=5), NOW)
    state.load_counts([(END, UniqueCount(9, 5))], NOW)
    state.publications(NOW)
    state.load_counts([(END, UniqueCount(7, 3))], NOW, state.revs())
    assert state.publications(NOW) == [LiveValue(7, END, 6)]
    assert state.apply(change(None, rev=4), NOW)


def test_a_count_that_comes_after_its_instance_was_let_go_is_no_news() -> None:
    """
    A read asked for just before an instance is forgotten does not tell it again.

    The answer brought the final value back, and it was published a second time.
    """
    state = live("30s", measure="unique", of="user")
    state.load_counts([(end, UniqueCount(0, 0)) for end, _ in state.unions(NOW)], NOW)
    [old, *_] = [end for end, _ in state.unions(NOW) if end is not None]
    later = NOW + 3600

    state.load_counts([(old, UniqueCount(5, 5))], later)

    assert [value.at for value in state.publications(later) if value.at == old] == []


def test_a_sliding_count_is_read_again_at_every_step() -> None:
    """Where its members are is unknown, so it may fall at every step until it is 0."""
    state = live("3m/1m", measure="unique", of="user")
    assert state.next_boundary(NOW) is None
    state.load_counts([(NOW + 60, UniqueCount(2, 2))], NOW)
    state.publications(NOW)
    assert state.next_boundary(NOW) == NOW + 60
    assert state.publications(NOW + 60) == []
    assert state.current(NOW + 60) == LiveValue(2, NOW + 60, 2)
    state.load_counts([(NOW + 120, UniqueCount(0, 0))], NOW + 60)
    assert state.publications(NOW + 60) == [LiveValue(0, NOW + 120, 0)]
    assert state.next_boundary(NOW + 60) is None


def _reading(
    state: LiveState, count: int, *, rev: int, grain_s: int = 300
) -> dict[CellKey, tuple[ShardCell, ...]]:
    """Return a full read in which only the current bucket has anything."""
    current = CellKey("likes", grain_s, int(NOW // grain_s), "42")
    readings = {key: (ShardCell(0, None, 0),) for key in state.keys(NOW)}
    assert current in readings
    return {**readings, current: (ShardCell(0, (count,), rev),)}
