"""The usual events are counted as all others are, only in one go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from realtime.core.cells import CellKey, Cells, Delta
from realtime.core.counters import CounterDefinition, CounterSet
from realtime.core.counting import Counting, Sender
from realtime.core.events import EventRules
from realtime.core.ledger import SubBatch
from realtime.core.totals import total
from realtime.core.usual import CountUsual, count_usual_in_python
from realtime.errors import RejectedEvent
from realtime.native import built
from realtime.settings import EventSettings, LimitSettings
from realtime.types import DeviceId, UserId

NOW = 1_700_000_000.0
MAX_AGE_S = 3600.0
TABLES: Mapping[str, Mapping[str, object]] = {
    "likes": {"event": "like", "by": ["post"], "windows": ["total", "5m", "7s"]},
    "everywhere": {"event": "like", "windows": ["1m"], "lateness": "30s"},
    "mine": {"event": "like", "by": ["user", "post", "device"]},
    "views": {"event": "view", "by": ["page"]},
    "seen": {"event": "view", "measure": "unique", "of": "user"},
    "plays": {"event": "play", "by": ["song"], "where": {"kind": "full"}},
}
NAMES = ("like", "view", "play", "other", "denied", "!", "")

FORMS = {"python": count_usual_in_python, "native": built("usual", "count")}


def may_track(name: str) -> bool:
    """Grant all names but one."""
    return name != "denied"


@pytest.fixture(params=FORMS)
def count(request: pytest.FixtureRequest) -> CountUsual:
    """Each form of the function."""
    form = FORMS[request.param]
    if form is None:
        pytest.skip("realtime.native.usual was not built: there was no compiler")
    return cast(CountUsual, form)


class Bench:
    """Counting by all of the counters, and one sender."""

    def __init__(self, user: str | None = "ann") -> None:
        self.counters = CounterSet(
            CounterDefinition.parse(name, table, 0.1) for name, table in TABLES.items()
        )
        settings = EventSettings(max_age_s=MAX_AGE_S)
        rules = EventRules(settings, LimitSettings(max_event_bytes=300))
        self.counting = Counting(rules, self.counters)
        person = None if user is None else UserId(user)
        self.sender: Sender = self.counting.sender(DeviceId("phone"), person, may_track)

    def generally(
        self, raw: object, offset_s: float = 0.0
    ) -> tuple[dict[CellKey, Delta], int] | None:
        """Return what an event adds and for how much it is late; None: rejected."""
        into: dict[CellKey, Delta] = {}
        try:
            event = self.counting.judge(self.sender, raw, 1, NOW, offset_s)
            return into, self.counting.add(self.sender, event, NOW, into)
        except RejectedEvent:
            return None

    def usually(
        self, count: CountUsual, events: list[object], offset_s: float = 0.0
    ) -> tuple[int, list[Cells]]:
        """Return where it stopped, and the cells."""
        cells: list[Cells] = []
        known = self.sender.known
        return count(events, 0, known, NOW, offset_s, cells), cells

    def summed(self, cells: list[Cells]) -> Mapping[CellKey, Delta]:
        """Return what *cells* come to."""
        batch = SubBatch(DeviceId("phone"), 1, 1, {}, 60.0, cells)
        return total([batch], self.counters)


def like(**more: object) -> dict[str, object]:
    """An event that is usual once it was seen."""
    return {"name": "like", "at": NOW - 1, "properties": {"post": "42"}, **more}


def test_what_was_never_seen_is_not_usual(count: CountUsual) -> None:
    """The first event of a combination goes the general way, and teaches the next."""
    bench = Bench()
    assert bench.usually(count, [like()]) == (0, [])
    expected = bench.generally(like())
    assert expected is not None
    stopped, cells = bench.usually(count, [like(), like()])
    assert (stopped, len(cells)) == (2, 6)
    assert bench.summed(cells[:3]) == expected[0]


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        {"name": ["like"]},
        like(more=1),
        like(at="now"),
        like(at=True),
        like(at=math.nan),
        like(at=10**400),
        like(at=NOW - MAX_AGE_S - 1),
        like(at=NOW - 400),
        like(properties=[]),
        like(properties={"post": "43"}),
        like(properties={"post": 42.0}),
        like(properties={"post": True}),
        like(properties={"post": "42", "x": {}}),
        like(properties={"post": "42", "x": math.inf}),
        like(properties={"post": "42", "x": 2**64}),
        like(properties={"post": "42", "x": b"raw"}),
        like(properties={"post": "42", "": 1}),
        like(properties={"post": "42", "k" * 65: 1}),
        like(properties={"post": "42", "x": "x" * 1025}),
        like(properties={"post": "42", "x": "\ud800"}),
        like(properties={"post": "42", "x": "\u00e4" * 110}),
        like(properties={"post": "42"} | {str(key): None for key in range(64)}),
        like(name="denied"),
        like(name="view"),
        like(name="play"),
    ],
    ids=str,
)
def test_it_stops_at_the_first_unusual_event(count: CountUsual, raw: object) -> None:
    """Of that one nothing is counted, and nothing is raised."""
    bench = Bench()
    for known in (like(), like(name="view"), like(name="play"), like(properties=None)):
        bench.generally(known)
    stopped, cells = bench.usually(count, [like(), raw, like()])
    assert (stopped, len(cells)) == (1, 3)


def test_a_bucket_that_is_closed_is_not_usual(count: CountUsual) -> None:
    """Which windows are left alone is for the general rules to say."""
    bench = Bench()
    bench.generally(like(at=NOW - 400))
    assert bench.usually(count, [like(at=NOW - 400)])[0] == 0


def test_only_lists_are_looked_at(count: CountUsual) -> None:
    """Whatever else holds events goes the general way."""
    bench = Bench()
    bench.generally(like())
    cells: list[Cells] = []
    assert count((like(),), 0, bench.sender.known, NOW, 0.0, cells) == 0
    assert cells == []


def test_cells_are_forgotten_when_they_are_too_many(count: CountUsual) -> None:
    """Strangers choose values: the shelf is emptied, and learns anew."""
    bench = Bench()
    bench.generally(like())
    for post in range(10_000):
        bench.generally(like(properties={"post": str(post + 1000)}))
    assert bench.usually(count, [like()])[0] == 0
    bench.generally(like())
    assert bench.usually(count, [like()])[0] == 1


# Values as decoders make them, and some that they never make.
_texts = st.sampled_from(["", "42", "a b", "\u00e4", "~", "x" * 129, "\U0001f600"])
_scalars = (
    _texts
    | st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1])
    | st.floats()
    | st.binary(max_size=2)
    | st.lists(st.none(), max_size=1)
)
_keys = st.sampled_from(["post", "page", "kind", "song", "", "k" * 65, "\u00e4"])
_properties = st.dictionaries(_keys, _scalars, max_size=4) | _scalars
_times = (
    st.floats(NOW - 2 * MAX_AGE_S, NOW + 200)
    | st.sampled_from([None, NOW, int(NOW), NOW + 61, NOW - MAX_AGE_S, 1e11, 1e12])
    | _scalars
)
_events = (
    st.fixed_dictionaries(
        {"name": st.sampled_from(NAMES)},
        optional={"at": _times, "properties": _properties, "more": _scalars},
    )
    | st.dictionaries(st.sampled_from(["name", "at", "user"]), _scalars)
    | _scalars
)


@given(
    events=st.lists(_events, min_size=1, max_size=8),
    offset_s=st.sampled_from([0.0, -3.5, 86400.0, 1e308]),
    user=st.sampled_from([None, "ann"]),
)
@example(events=[{"name": "like", "properties": {"post": -1}}], offset_s=0.0, user=None)
def test_both_ways_count_the_same(
    events: list[object], offset_s: float, user: str | None
) -> None:
    """Whatever is usual adds what the general rules say; both forms stop alike."""
    for form in FORMS.values():
        if form is None:
            continue
        count = cast(CountUsual, form)
        bench = Bench(user)
        expected = [bench.generally(raw, offset_s) for raw in events]
        start, cells = 0, list[Cells]()
        while start < len(events):
            before = len(cells)
            stop = count(events, start, bench.sender.known, NOW, offset_s, cells)
            merged: dict[CellKey, Delta] = {}
            for one in expected[start:stop]:
                assert one is not None
                assert one[1] == 0
                for key, delta in one[0].items():
                    known = merged.get(key)
                    merged[key] = (
                        delta
                        if known is None
                        else bench.counters.merge(key.counter, known, delta)
                    )
            assert bench.summed(cells[before:]) == merged
            start = stop + 1


@given(events=st.lists(_events, max_size=8), offset_s=st.sampled_from([0.0, -3.5]))
def test_both_forms_stop_at_the_same_place(
    events: list[object], offset_s: float
) -> None:
    """What is usual to one is usual to the other, but for integers beyond 63 bits."""
    native = FORMS["native"]
    if native is None:
        pytest.skip("realtime.native.usual was not built: there was no compiler")
    bench = Bench()
    for raw in events:
        bench.generally(raw, offset_s)
    one, found = bench.usually(count_usual_in_python, events, offset_s)
    two, others = bench.usually(cast(CountUsual, native), events, offset_s)
    if one != two:
        assert one > two
        assert str(2**63) in repr(events[two])
    assert found[: len(others)] == others
