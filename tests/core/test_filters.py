"""Filters: what they match, what they refuse, and which of them are one."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from realtime.core.filters import MAX_CHARS, MAX_DEPTH, MAX_NODES, compile_filter
from realtime.errors import BAD_MESSAGE, CommandError

BTC = {"symbol": "BTC", "price": "99.50"}


@pytest.mark.parametrize(
    "leaf",
    [
        {"eq": "BTC"},
        {"ne": "ETH"},
        {"in": ["ETH", "BTC"]},
        {"exists": True},
        {"prefix": "BT"},
        {"suffix": "TC"},
        {"contains": "T"},
        {"contains": ""},
    ],
)
def test_a_comparison_of_texts_that_holds(leaf: dict[str, Any]) -> None:
    """A tag is compared as the text that it is."""
    assert compile_filter({"tag": "symbol", **leaf}).matches(BTC)


@pytest.mark.parametrize(
    "leaf",
    [
        {"eq": "btc"},
        {"ne": "BTC"},
        {"in": ["ETH"]},
        {"in": []},
        {"exists": False},
        {"prefix": "TC"},
        {"suffix": "BT"},
        {"contains": "X"},
        {"gt": 0},
    ],
)
def test_a_comparison_of_texts_that_does_not_hold(leaf: dict[str, Any]) -> None:
    """Case counts, and what is no number is neither greater nor less."""
    assert not compile_filter({"tag": "symbol", **leaf}).matches(BTC)


@pytest.mark.parametrize("bound", [99.5, "99.5", "99.500", "9.95e1", "+99.5"])
def test_numbers_are_compared_as_decimals(bound: object) -> None:
    """However they are spelled: 99.50 is at least and at most 99.5, and no other."""
    found = {
        key: compile_filter({"tag": "price", key: bound}).matches(BTC)
        for key in ("gte", "lte", "gt", "lt")
    }
    assert found == {"gte": True, "lte": True, "gt": False, "lt": False}


def test_decimals_are_exact() -> None:
    """Where floats would be equal, the longer one is greater."""
    bound = "0.1000000000000000000000000000000000001"
    longer = compile_filter({"tag": "x", "gt": bound})
    assert longer.matches({"x": "0.1000000000000000000000000000000000002"})
    assert not longer.matches({"x": "0.1"})


@pytest.mark.parametrize("text", ["", "NaN", "Infinity", "1_0", "٣", "1e99999", "0x1"])
def test_a_tag_that_is_no_number_matches_no_comparison(text: str) -> None:
    """Neither way round."""
    for key in ("gt", "gte", "lt", "lte"):
        assert not compile_filter({"tag": "x", key: 0}).matches({"x": text})


@pytest.mark.parametrize("tags", [None, {}, {"other": "1"}])
def test_without_the_tag_only_negations_match(tags: dict[str, str] | None) -> None:
    """ne, exists: false, and whatever not turns around."""
    matching = [
        {"tag": "x", "ne": "1"},
        {"tag": "x", "exists": False},
        {"not": {"tag": "x", "gt": 1}},
    ]
    others = [
        {"tag": "x", key: value}
        for key, value in [
            ("eq", ""),
            ("in", [""]),
            ("exists", True),
            ("prefix", ""),
            ("suffix", ""),
            ("contains", ""),
            ("gte", 0),
            ("lte", 0),
        ]
    ]
    assert all(compile_filter(tree).matches(tags) for tree in matching)
    assert not any(compile_filter(tree).matches(tags) for tree in others)


@pytest.mark.parametrize(
    "one, other",
    [
        ({"tag": "a", "eq": "x"}, {"tag": "a", "in": ["x"]}),
        ({"tag": "a", "in": ["x", "y"]}, {"tag": "a", "in": ["y", "x", "y"]}),
        ({"tag": "a", "ne": "x"}, {"not": {"tag": "a", "eq": "x"}}),
        ({"tag": "a", "exists": False}, {"not": {"tag": "a", "exists": True}}),
        ({"tag": "a", "gt": 1.0}, {"tag": "a", "gt": "1"}),
        ({"tag": "a", "gt": -0.0}, {"tag": "a", "gt": "0e5"}),
        ({"tag": "a", "gt": 100}, {"tag": "a", "gt": "1e2"}),
        (
            {"all": [{"tag": "a", "eq": "x"}, {"tag": "b", "gt": 1}]},
            {"all": [{"tag": "b", "gt": "1.0"}, {"all": [{"tag": "a", "eq": "x"}]}]},
        ),
        ({"any": [{"tag": "a", "eq": "x"}]}, {"tag": "a", "eq": "x"}),
        ({"not": {"not": {"tag": "a", "eq": "x"}}}, {"tag": "a", "eq": "x"}),
    ],
)
def test_what_means_alike_is_one_filter(one: object, other: object) -> None:
    """However it is spelled, so that subscribers share its evaluation."""
    first, second = compile_filter(one), compile_filter(other)
    assert first == second
    assert hash(first) == hash(second)


@pytest.mark.parametrize(
    "tree, field",
    [
        ("symbol", "filter"),
        ([], "filter"),
        ({}, "filter"),
        ({"tag": "a"}, "filter"),
        ({"tag": "a", "eq": "x", "ne": "y"}, "filter"),
        ({"tag": "a", "like": "x"}, "filter"),
        ({"like": []}, "filter"),
        ({"all": [], "any": []}, "filter"),
        ({"tag": 1, "eq": "x"}, "filter.tag"),
        ({"tag": "a", "eq": 1}, "filter.eq"),
        ({"tag": "a", "eq": "x" * (MAX_CHARS + 1)}, "filter.eq"),
        ({"tag": "a", "exists": 1}, "filter.exists"),
        ({"tag": "a", "in": "x"}, "filter.in"),
        ({"tag": "a", "in": ["x"] * 65}, "filter.in"),
        ({"tag": "a", "in": ["x", None]}, "filter.in[1]"),
        ({"tag": "a", "gt": True}, "filter.gt"),
        ({"tag": "a", "gt": float("nan")}, "filter.gt"),
        ({"tag": "a", "gt": "many"}, "filter.gt"),
        ({"tag": "a", "gt": "1" * (MAX_CHARS + 1)}, "filter.gt"),
        ({"all": {}}, "filter.all"),
        ({"not": []}, "filter.not"),
        ({"all": [{"tag": "a", "eq": 1}]}, "filter.all[0].eq"),
        ({"any": [{"not": {"tag": "a", "in": [1]}}]}, "filter.any[0].not.in[0]"),
    ],
)
def test_a_mistake_is_named_with_its_path(tree: object, field: str) -> None:
    """The field is the path to what is wrong, and the reason begins with it."""
    with pytest.raises(CommandError) as caught:
        compile_filter(tree)
    assert caught.value.code is BAD_MESSAGE
    assert caught.value.field == field
    assert caught.value.reason.startswith(f"{field}: ")


def test_what_a_stranger_writes_is_quoted_only_in_short() -> None:
    """A key as long as a frame does not come back in the error."""
    with pytest.raises(CommandError) as caught:
        compile_filter({"tag": "a", "x" * 100_000: 1})
    assert len(caught.value.reason) < 300


def nested(depth: int) -> dict[str, Any]:
    """A filter of so many levels."""
    tree: dict[str, Any] = {"tag": "a", "eq": "x"}
    for _ in range(depth - 1):
        tree = {"all": [tree]}
    return tree


def test_depth_and_size_are_bounded() -> None:
    """The last that is allowed is taken, the first that is not is refused."""
    wide = {"any": [{"tag": "a", "eq": str(at)} for at in range(MAX_NODES - 1)]}
    assert compile_filter(wide).matches({"a": "0"})
    assert compile_filter(nested(MAX_DEPTH)).matches({"a": "x"})
    for tree in (
        {"any": [*wide["any"], {"tag": "a", "eq": "x"}]},
        nested(MAX_DEPTH + 1),
        nested(10_000),
    ):
        with pytest.raises(CommandError):
            compile_filter(tree)


# -- against a model that is simple and slow ---------------------------------------

NAMES = st.sampled_from(["a", "b", "c"])
TEXTS = st.sampled_from(["", "x", "xy", "yx", "1", "1.0", "-2", "3e1", "NaN", "10"])
NUMBERS = st.one_of(
    st.integers(-30, 30),
    st.floats(-30, 30, allow_nan=False),
    st.sampled_from(["1", "-2.0", "1e1"]),
)
LEAVES = st.one_of(
    st.builds(
        lambda tag, key, value: {"tag": tag, key: value},
        NAMES,
        st.sampled_from(["eq", "ne", "prefix", "suffix", "contains"]),
        TEXTS,
    ),
    st.builds(
        lambda tag, value: {"tag": tag, "in": value},
        NAMES,
        st.lists(TEXTS, max_size=3),
    ),
    st.builds(lambda tag, value: {"tag": tag, "exists": value}, NAMES, st.booleans()),
    st.builds(
        lambda tag, key, value: {"tag": tag, key: value},
        NAMES,
        st.sampled_from(["gt", "gte", "lt", "lte"]),
        NUMBERS,
    ),
)
TREES = st.recursive(
    LEAVES,
    lambda trees: st.one_of(
        st.builds(lambda parts: {"all": parts}, st.lists(trees, max_size=3)),
        st.builds(lambda parts: {"any": parts}, st.lists(trees, max_size=3)),
        st.builds(lambda part: {"not": part}, trees),
    ),
    max_leaves=8,
)
TAGS = st.dictionaries(NAMES, TEXTS, max_size=3)


def model(tree: dict[str, Any], tags: dict[str, str]) -> bool:
    """Evaluate a tree as it is written."""
    if "all" in tree:
        return all(model(part, tags) for part in tree["all"])
    if "any" in tree:
        return any(model(part, tags) for part in tree["any"])
    if "not" in tree:
        return not model(tree["not"], tags)
    [(key, value)] = [item for item in tree.items() if item[0] != "tag"]
    found = tags.get(tree["tag"])
    if found is None:
        return key == "ne" or (key == "exists" and not value)
    return compare(key, found, value)


def compare(key: str, found: str, value: Any) -> bool:
    """Compare a tag that is there."""
    match key:
        case "eq":
            return found == value
        case "ne":
            return found != value
        case "in":
            return found in value
        case "exists":
            return bool(value)
        case "prefix":
            return found[: len(value)] == value
        case "suffix":
            return found[len(found) - len(value) :] == value and len(found) >= len(
                value
            )
        case "contains":
            return found.find(value) >= 0
    try:
        number = Decimal(found)
    except InvalidOperation:
        return False
    if not number.is_finite():
        return False
    bound = Decimal(value if isinstance(value, str) else repr(value))
    return {
        "gt": number > bound,
        "gte": number >= bound,
        "lt": number < bound,
        "lte": number <= bound,
    }[key]


def depth_of(tree: dict[str, Any]) -> int:
    """How many levels a tree has."""
    parts = tree.get("all") or tree.get("any") or []
    parts = [*parts, tree["not"]] if "not" in tree else parts
    return 1 + max(map(depth_of, parts), default=0)


@given(TREES, TAGS)
@example({"not": {"all": []}}, {})
def test_a_filter_matches_what_the_tree_says(
    tree: dict[str, Any], tags: dict[str, str]
) -> None:
    """Whatever canonical form it was given."""
    if depth_of(tree) > MAX_DEPTH:
        return
    assert compile_filter(tree).matches(tags) == model(tree, tags)


JUNK = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.binary(max_size=3),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["tag", "all", "any", "not", "eq", "in", "gt", "exists"]),
            inner,
            max_size=3,
        ),
    ),
)


@given(JUNK)
def test_anything_is_a_filter_or_an_error_that_names_a_field(tree: object) -> None:
    """Nothing that a client can send raises anything else."""
    failure = None
    try:
        compile_filter(tree).matches({"a": "1"})
    except CommandError as exc:
        failure = exc
    if failure is not None:
        assert failure.code is BAD_MESSAGE
        assert failure.field is not None
        assert failure.field.startswith("filter")
