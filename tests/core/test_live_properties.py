"""Live channels: whatever is lost, doubled or late, watchers end up with the truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.core.cells import CellChange, CellKey, Delta, ShardCell, UniqueCount
from realtime.core.counters import CounterDefinition, CounterSet
from realtime.core.live import LiveState, LiveValue
from realtime.core.naming import LiveName
from realtime.types import DeviceId, Event, UserId

START = 1_700_000_105.0
LATENESS_S = 15.0
SHARDS = 2

WINDOWS = ["total", "10s", "30s", "30s/10s", "20s/1s"]
MEASURES = ["count", "sum", "min", "max", "mean"]


@dataclass
class World:
    """A ledger of exact cells, one watching node, and the events that were counted."""

    window: str
    measure: str
    now: float = START
    cells: dict[tuple[CellKey, int], tuple[Delta, int]] = field(default_factory=dict)
    counted: list[tuple[CellKey, int | str]] = field(default_factory=list)
    changes: list[CellChange] = field(default_factory=list)
    told: list[LiveValue] = field(default_factory=list)

    def __post_init__(self) -> None:
        table: dict[str, object] = {
            "event": "e",
            "windows": [self.window],
            "measure": self.measure,
            "lateness": LATENESS_S,
            "decimals": 0,
        }
        if self.measure != "count":
            table["of"] = "user" if self.measure == "unique" else "x"
        definition = CounterDefinition.parse("c", table, 0.1)
        self.counters = CounterSet([definition])
        self.declared = definition.windows[0]
        self.state = LiveState(definition, LiveName.of(definition, {}))
        self.read()
        self.told.append(self.state.current(self.now))

    # -- what happens ----------------------------------------------------------

    def event(self, age_s: float, x: int, shard: int) -> None:
        """Commit an event that happened *age_s* ago; the change is on its way."""
        user = UserId(str(x % 5))
        event = Event("e", DeviceId("d"), 1, self.now - age_s, user, {"x": x})
        deltas: dict[CellKey, Delta] = {}
        self.counters.add(event, self.now, deltas)
        for key, delta in deltas.items():
            known = self.cells.get((key, shard))
            state = (
                delta if known is None else self.counters.merge("c", known[0], delta)
            )
            rev = 1 if known is None else known[1] + 1
            self.cells[key, shard] = (state, rev)
            self.counted.append((key, str(x % 5) if self.measure == "unique" else x))
            travels = state if isinstance(state, tuple) else None
            self.changes.append(CellChange(shard, key, travels, rev))

    def deliver(self, index: int, keep: bool) -> None:
        """Deliver any of the changes on their way; *keep* has it delivered again."""
        if self.changes:
            change = self.changes[index % len(self.changes)]
            if not keep:
                self.changes.remove(change)
            if self.state.apply(change, self.now) and self.measure == "unique":
                self.read()

    def lose(self, index: int) -> None:
        """Pub/sub loses a change."""
        if self.changes:
            self.changes.pop(index % len(self.changes))

    def read(self, then_events: int = 0) -> None:
        """Read in full; events may be heard of before the answer comes."""
        unions = self.state.unions(self.now)
        counts = [(at, self._count_unique(keys)) for at, keys in unions]
        readings = {
            key: tuple(self._shard_cell(key, shard) for shard in range(SHARDS))
            for key in self.state.keys(self.now)
        }
        for x in range(then_events):
            self.event(0.0, x, x % SHARDS)
            self.state.apply(self.changes[-1], self.now)
        if self.measure == "unique":
            self.state.load_counts(counts, self.now)
        else:
            self.state.load(readings, self.now)

    def publish(self) -> list[LiveValue]:
        """Publish what is news, and check what must hold of every publication."""
        values = self.state.publications(self.now)
        ends = [value.at or 0.0 for value in values]
        assert ends == sorted(set(ends)), "one for each instance, the oldest first"
        for value in values:
            before = [each for each in self.told if each.at == value.at]
            if before:
                last = max(before, key=_order)
                assert _order(value) > _order(last)
                assert value.value != last.value or value.final != last.final
            self.told.append(value)
        return values

    def _shard_cell(self, key: CellKey, shard: int) -> ShardCell:
        state, rev = self.cells.get((key, shard), (None, 0))
        return ShardCell(shard, state if isinstance(state, tuple) else None, rev)

    def _count_unique(self, keys: list[CellKey]) -> UniqueCount:
        members: set[str] = set()
        rev = 0
        for key in keys:
            for shard in range(SHARDS):
                state, rev_there = self.cells.get((key, shard), (frozenset(), 0))
                members.update(str(each) for each in state)
                rev += rev_there
        return UniqueCount(len(members), rev)

    # -- what is true ----------------------------------------------------------

    def truth(self, at: float) -> int | float | None:
        """Recompute the value of the instance containing *at* from the events."""
        buckets = self.declared.buckets(at)
        found = [x for key, x in self.counted if key.bucket in buckets]
        if self.measure == "count":
            return len(found)
        if self.measure == "unique":
            return len(set(found))
        amounts = [x for x in found if isinstance(x, int)]
        if self.measure == "sum":
            return sum(amounts)
        if not amounts:
            return None
        if self.measure == "mean":
            return sum(amounts) / len(amounts)
        return min(amounts) if self.measure == "min" else max(amounts)

    def shown(self) -> int | float | None:
        """Return what a watcher shows who takes the newest value."""
        return max(self.told, key=_order).value


def _order(value: LiveValue) -> tuple[float, int, bool]:
    return (value.at or 0.0, value.rev, value.final)


STEP = st.one_of(
    st.tuples(
        st.just("event"), st.floats(-8, 60), st.integers(-9, 9), st.integers(0, 1)
    ),
    st.tuples(st.just("event"), st.just(0.0), st.integers(-9, 9), st.integers(0, 1)),
    st.tuples(st.just("deliver"), st.integers(0, 50), st.booleans()),
    st.tuples(st.just("lose"), st.integers(0, 50)),
    st.tuples(st.just("read"), st.integers(0, 2)),
    st.tuples(st.just("wait"), st.floats(0.0, 25.0)),
    st.tuples(st.just("publish")),
)


def run(world: World, steps: list[tuple[object, ...]]) -> None:
    """Let *steps* happen, then a full read and a publication, as in heal."""
    for name, *arguments in steps:
        if name == "wait":
            [seconds] = arguments
            assert isinstance(seconds, float)
            world.now += seconds
        else:
            getattr(world, str(name))(*arguments)
    world.read()
    world.publish()


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(WINDOWS),
    st.sampled_from([*MEASURES, "unique"]),
    st.lists(STEP, max_size=30),
)
def test_after_a_full_read_everybody_is_told_the_truth(
    window: str, measure: str, steps: list[tuple[object, ...]]
) -> None:
    """Watchers, newcomers and a recomputation from the events agree, exactly."""
    world = World(window, measure)
    run(world, steps)
    truth = world.truth(world.now)
    assert world.state.current(world.now).value == truth
    assert world.shown() == truth
    assert world.publish() == []


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["10s", "30s"]),
    st.sampled_from([*MEASURES, "unique"]),
    st.lists(STEP, max_size=30),
)
def test_corrected_and_final_values_are_the_truth_of_their_instance(
    window: str, measure: str, steps: list[tuple[object, ...]]
) -> None:
    """The last value told of every recent instance is what its events amount to."""
    world = World(window, measure)
    run(world, steps)
    size_s = world.declared.size_s
    for end in {value.at for value in world.told if value.at is not None}:
        last = max((each for each in world.told if each.at == end), key=_order)
        if end + LATENESS_S + 60 > world.now:  # else it may not have been read in time
            assert last.value == world.truth(end - size_s)
        closed = world.now >= end + LATENESS_S + 0.1
        assert last.final <= closed


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(WINDOWS),
    st.sampled_from([*MEASURES, "unique"]),
    st.lists(STEP, max_size=20),
)
def test_time_changes_values_at_boundaries_and_never_between(
    window: str, measure: str, steps: list[tuple[object, ...]]
) -> None:
    """Without events, waking at every boundary and only there misses nothing."""
    world = World(window, measure)
    run(world, steps)
    for change in world.changes:  # reads of unique counts do not look ahead
        world.state.apply(change, world.now)
    for _ in range(200):
        boundary = world.state.next_boundary(world.now)
        if boundary is None:
            break
        assert boundary > world.now
        world.now = boundary - (boundary - world.now) / 1000
        assert world.publish() == []
        assert world.shown() == world.truth(world.now)
        world.now = boundary
        if measure == "unique":
            world.read()
        world.publish()
        assert world.shown() == world.truth(world.now)
    else:
        pytest.fail("boundaries must end when nothing is left to change")
    if world.declared.step_s:
        empty = None if measure in {"min", "max", "mean"} else 0
        assert world.shown() == world.truth(world.now) == empty
    world.now += 3600
    assert world.publish() == []
