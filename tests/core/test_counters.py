"""Counters: what one event adds to which cells."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.cells import CellKey, Delta, State
from realtime.core.counters import CounterDefinition, CounterSet
from realtime.core.measures import Measure
from realtime.core.naming import NONE, OTHER, decode_dims
from realtime.core.windows import Window
from realtime.errors import BAD_VALUE, RejectedEvent
from realtime.types import DeviceId, Event, Scalar, UserId

NOW = 1_700_000_100.0  # 5_666_667 buckets of 300 s, and 28_333_335 of 60 s


def counter(**raw: object) -> CounterDefinition:
    """Return a counter of likes with these keys."""
    return CounterDefinition.parse("likes", {"event": "like", **raw}, 0.1)


def like(
    properties: Mapping[str, Scalar] | None = None,
    *,
    at: float = NOW,
    user: str | None = "ann",
    name: str = "like",
) -> Event:
    """Return an event of Ann's phone."""
    person = None if user is None else UserId(user)
    return Event(name, DeviceId("phone"), 1, at, person, properties or {})


def add(*definitions: CounterDefinition, event: Event) -> dict[CellKey, Delta]:
    """Return what *event* adds."""
    into: dict[CellKey, Delta] = {}
    CounterSet(definitions).add(event, NOW, into)
    return into


def test_an_event_adds_one_to_a_cell_of_every_grain() -> None:
    """Windows with the same grain share a cell; the total has bucket 0."""
    definition = counter(by=["post"], windows=["total", "5m", "1h/1m", "2h/1m"])
    assert add(definition, event=like({"post": "42"})) == {
        CellKey("likes", 0, 0, "42"): (1,),
        CellKey("likes", 300, 5_666_667, "42"): (1,),
        CellKey("likes", 60, 28_333_335, "42"): (1,),
    }


def test_an_event_of_another_name_adds_nothing() -> None:
    """Counters only look at the event that they name."""
    assert add(counter(), event=like(name="view")) == {}


@pytest.mark.parametrize(
    ("measure", "delta"),
    [
        ("sum", (1_250_000,)),
        ("min", (1_250_000,)),
        ("max", (1_250_000,)),
        ("mean", (1_250_000, 1)),
        ("unique", frozenset({"1.25"})),
    ],
)
def test_every_measure_adds_its_own_state(measure: str, delta: Delta) -> None:
    """Amounts are scaled by the decimals; uniques are members."""
    definition = counter(measure=measure, of="price")
    added = add(definition, event=like({"price": 1.25}))
    assert added == {CellKey("likes", 0, 0, ""): delta}


@pytest.mark.parametrize("measure", ["sum", "min", "max", "mean", "unique"])
def test_an_event_without_the_property_does_not_contribute(measure: str) -> None:
    """Missing and null are no value: neither zero nor a member."""
    definition = counter(measure=measure, of="price")
    assert add(definition, event=like()) == {}
    assert add(definition, event=like({"price": None})) == {}


@pytest.mark.parametrize(
    ("of", "member"), [("user", "ann"), ("device", "phone"), ("post", "42")]
)
def test_unique_tells_users_devices_or_values_apart(of: str, member: str) -> None:
    """The member is the event's user, its device, or the property's text."""
    definition = counter(measure="unique", of=of)
    added = add(definition, event=like({"post": 42}))
    assert added == {CellKey("likes", 0, 0, ""): frozenset({member})}


def test_an_anonymous_event_is_no_unique_user() -> None:
    """Events without a user do not count as one user."""
    definition = counter(measure="unique", of="user")
    assert add(definition, event=like(user=None)) == {}


@pytest.mark.parametrize(
    ("properties", "dims"),
    [
        ({"post": "a;b", "vip": True}, "a%3Bb;true;ann"),
        ({"post": 42.0}, "42;~none;ann"),
        ({"post": "", "vip": None}, "~empty;~none;ann"),
        ({"post": "~other"}, "~~other;~none;ann"),
    ],
)
def test_dimensions_are_encoded_in_their_declared_order(
    properties: dict[str, Scalar], dims: str
) -> None:
    """A missing dimension is ~none, and no value can pose as a special one."""
    definition = counter(by=["post", "vip", "user"])
    added = add(definition, event=like(properties))
    assert [key.dims for key in added] == [dims]


@given(st.text(st.characters(codec="utf-8"), max_size=127))
def test_no_value_reaches_a_special_cell(value: str) -> None:
    """Whatever a device sends, it does not land in ~none or ~other."""
    [key] = add(counter(by=["post"]), event=like({"post": value}))
    assert decode_dims(key.dims)[0] not in {NONE, OTHER}


@pytest.mark.parametrize(
    ("where", "properties", "counts"),
    [
        ({"kind": ("a",)}, {"kind": "a"}, True),
        ({"kind": ("a", "b")}, {"kind": "b"}, True),
        ({"kind": ("a",)}, {"kind": "c"}, False),
        ({"kind": ("a",)}, {}, False),
        ({"kind": ("a",), "n": (1,)}, {"kind": "a", "n": 1.0}, True),
        ({"kind": ("a",), "n": (1,)}, {"kind": "a", "n": 2}, False),
        ({"n": (1,)}, {"n": True}, False),
        ({"n": (True,)}, {"n": 1}, False),
        ({"n": (True, 2)}, {"n": True}, True),
        ({"n": (1,)}, {"n": "1"}, False),
    ],
)
def test_a_filter_must_agree_in_every_property(
    where: dict[str, tuple[Scalar, ...]], properties: dict[str, Scalar], counts: bool
) -> None:
    """Any listed value will do, and true is not 1."""
    added = add(counter(where=where), event=like(properties))
    assert bool(added) == counts


def test_deltas_of_one_batch_are_merged() -> None:
    """Several events of one cell become one delta, members become one set."""
    counters = CounterSet([counter(), _viewers()])
    into: dict[CellKey, Delta] = {}
    for user in ("ann", "bob", "ann"):
        counters.add(like(user=user), NOW, into)
    assert into == {
        CellKey("likes", 0, 0, ""): (3,),
        CellKey("viewers", 0, 0, ""): frozenset({"ann", "bob"}),
    }


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=20))
def test_merged_deltas_are_the_measure_of_all(amounts: list[int]) -> None:
    """Adding events one by one gives the sum, minimum, maximum and mean of all."""
    expected: dict[str, State] = {
        "sum": (sum(amounts),),
        "min": (min(amounts),),
        "max": (max(amounts),),
        "mean": (sum(amounts), len(amounts)),
    }
    for measure, state in expected.items():
        counters = CounterSet([counter(measure=measure, of="x", decimals=0)])
        into: dict[CellKey, Delta] = {}
        for amount in amounts:
            counters.add(like({"x": amount}), NOW, into)
        assert into == {CellKey("likes", 0, 0, ""): state}


def test_a_late_event_only_counts_in_the_total() -> None:
    """A bucket takes events until its end plus the lateness, not longer."""
    counters = CounterSet([counter(windows=["total", "1m"], lateness="2m")])
    into: dict[CellKey, Delta] = {}
    at = NOW - 60  # its bucket ends at NOW
    assert counters.add(like(at=at), NOW + 120, into) == 0
    assert counters.add(like(at=at), NOW + 120.5, into) == 1
    assert into == {
        CellKey("likes", 0, 0, ""): (2,),
        CellKey("likes", 60, 28_333_334, ""): (1,),
    }


def test_a_long_bucket_may_be_open_when_a_short_one_is_closed() -> None:
    """Each grain decides for itself; the counter is late once."""
    counters = CounterSet([counter(windows=["1m", "1h"], lateness=0)])
    into: dict[CellKey, Delta] = {}
    assert counters.add(like(at=NOW - 120), NOW, into) == 1
    assert [key.grain_s for key in into] == [3600]


def test_every_late_counter_is_counted() -> None:
    """The result says how many counters dropped their windows."""
    counters = CounterSet([counter(windows=["1m"], lateness=0), _viewers("1m")])
    assert counters.add(like(at=NOW - 3600), NOW, {}) == 2


def test_an_unusable_value_is_rejected_before_anything_is_added() -> None:
    """One counter that cannot use a value rejects the event for all."""
    total = CounterDefinition.parse(
        "total", {"event": "like", "measure": "sum", "of": "price"}, 0.1
    )
    into: dict[CellKey, Delta] = {}
    with pytest.raises(RejectedEvent, match="property 'price' is 'free'") as caught:
        CounterSet([counter(), total]).add(like({"price": "free"}), NOW, into)
    assert caught.value.code is BAD_VALUE
    assert caught.value.field == "properties.price"
    assert into == {}


@pytest.mark.parametrize(
    ("value", "problem"),
    [("x" * 129, "more than 128 characters"), ("\ud800", "is not valid Unicode")],
)
def test_a_value_that_cannot_be_a_dimension_is_rejected(
    value: str, problem: str
) -> None:
    """The sentence names the property and what is wrong with its value."""
    with pytest.raises(RejectedEvent, match=problem) as caught:
        add(counter(by=["post"]), event=like({"post": value}))
    assert (caught.value.code, caught.value.field) == (BAD_VALUE, "properties.post")


def test_values_whose_channel_could_not_be_named_are_rejected() -> None:
    """What is counted can be watched, so the encoded values together are bounded."""
    by = ["a", "b", "c"]
    values: dict[str, Scalar] = dict.fromkeys(by, "\N{PARTY POPPER}" * 89)
    add(counter(by=by), event=like({**values, "c": "xyz"}))
    with pytest.raises(RejectedEvent, match="3206 characters together") as caught:
        add(counter(by=by), event=like(values))
    assert (caught.value.code, caught.value.field) == (BAD_VALUE, "properties.a")


def test_a_cell_expires_after_its_longest_window_and_lateness() -> None:
    """The total never does; others after window, lateness and a margin."""
    definition = counter(windows=["total", "1h/1m", "2h/1m", "1d"], lateness="2m")
    counters = CounterSet([definition])
    assert counters.expires_at(CellKey("likes", 0, 0, "")) is None
    assert counters.expires_at(CellKey("likes", 60, 9, "")) == 600 + 7200 + 120 + 60
    assert (
        counters.expires_at(CellKey("likes", 86400, 0, ""))
        == 86400 + 86400 + 120 + 86400
    )


def test_a_counter_is_found_by_name() -> None:
    """What ledgers and edges ask about a counter is answered by its name."""
    counters = CounterSet([counter(by=["post", "user"], max_cells=7), _viewers()])
    assert [each.name for each in counters] == ["likes", "viewers"]
    assert counters.get("likes") is not None
    assert counters.get("lieks") is None
    assert counters.measure("viewers") is Measure.UNIQUE
    assert counters.max_cells("likes") == 7
    assert counters.dimensions("likes") == 2
    with pytest.raises(KeyError):
        counters.measure("lieks")


def test_states_and_members_are_merged_by_the_counters_measure() -> None:
    """The ledger merges without knowing measures."""
    counters = CounterSet([counter(), _viewers()])
    assert counters.merge("likes", (1,), (2,)) == (3,)
    merged = counters.merge("viewers", frozenset("a"), frozenset("b"))
    assert merged == frozenset("ab")


def test_two_counters_cannot_share_a_name() -> None:
    """A name stands for one counter."""
    with pytest.raises(ValueError, match="declared twice"):
        CounterSet([counter(), counter()])


def _viewers(window: str = "total") -> CounterDefinition:
    return CounterDefinition(
        name="viewers",
        event="like",
        measure=Measure.UNIQUE,
        of="user",
        windows=(Window.parse(window),),
        lateness_s=0.0,
    )
