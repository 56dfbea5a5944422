"""Names of cells and live channels, both ways."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.channels import MAX_LIVE_CHARS, check_channel
from realtime.core.naming import (
    EMPTY,
    MAX_DIMS,
    MAX_TEXT,
    NONE,
    OTHER,
    LiveName,
    decode_dims,
    encode_dims,
    other_dims,
    parse_live,
    text_of,
)
from realtime.core.windows import Window
from realtime.errors import BAD_CHANNEL, UNKNOWN_CHANNEL, CommandError


@dataclass(frozen=True)
class Counter:
    """As much of a counter as a name needs."""

    name: str = "likes"
    by: tuple[str, ...] = ("post", "country")
    windows: tuple[Window, ...] = (Window.parse("5m"), Window.parse("1h/1m"))


COUNTERS = {
    "likes": Counter(),
    "all": Counter("all", (), (Window.parse("total"),)),
    "many": Counter("many", ("a", "b", "c")),
}
LONG = "\N{PARTY POPPER}" * MAX_TEXT  # 1536 characters when encoded

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=MAX_TEXT)
VALUES = st.text(st.characters(codec="utf-8"), max_size=MAX_TEXT - 1)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("42", "42"),
        (42, "42"),
        (42.0, "42"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (True, "true"),
        (False, "false"),
        (None, "~none"),
        ("", "~empty"),
        ("~none", "~~none"),
        ("~", "~~"),
        ("a~b", "a~b"),
    ],
)
def test_every_value_has_one_text(value: str | float | None, text: str) -> None:
    """Numbers are their shortest form, and real values never look like special ones."""
    assert text_of(value) == text


@given(VALUES, VALUES)
def test_different_strings_have_different_texts(one: str, other: str) -> None:
    """No two strings share a text, and none has the text of a special value."""
    assert (text_of(one) == text_of(other)) == (one == other)
    assert text_of(one) not in {NONE, OTHER}
    assert (text_of(one) == EMPTY) == (one == "")


@given(st.lists(TEXTS, max_size=8))
def test_encoded_dimensions_are_decoded_to_the_same_texts(texts: list[str]) -> None:
    """Encoding texts and decoding them gives the same texts, in the same order."""
    encoded = encode_dims(texts)
    assert decode_dims(encoded) == tuple(texts)
    assert encoded.isascii()
    assert not set(encoded) & set("= /,\n")


def test_separators_inside_a_value_are_encoded() -> None:
    """A value may hold every character that means something in a name."""
    assert encode_dims(["a;b=c%d", "é"]) == "a%3Bb%3Dc%25d;%C3%A9"


def test_the_overflow_cell_is_named_for_every_dimension() -> None:
    """What overflows two dimensions goes to one cell, and without any there is none."""
    assert other_dims(2) == "~other;~other"
    assert other_dims(0) == ""


@pytest.mark.parametrize(
    "channel",
    [
        "live:likes;post=42;country=de;window=5m",
        "live:likes;country=de;post=42;window=5m",
        "live:likes;window=5m;country=de;post=42",
        "live:likes;post=42;country=de",
        "live:likes;post=%34%32;country=de",
    ],
)
def test_any_order_and_a_missing_window_mean_the_canonical_name(channel: str) -> None:
    """Dimensions may come in any order; the window is the first when left out."""
    name = parse_live(channel, COUNTERS)
    assert name.channel == "live:likes;post=42;country=de;window=5m"
    assert (name.counter, name.dims, name.window) == ("likes", "42;de", "5m")


def test_a_counter_without_dimensions_needs_no_more_than_its_name() -> None:
    """The shortest name is the namespace and the counter."""
    assert parse_live("live:all", COUNTERS).channel == "live:all;window=total"


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        ("~none", "~none"),
        ("~~none", "~~none"),
        ("", "~empty"),
        ("a b", "a%20b"),
        ("a=b", "a%3Db"),
        ("é!*'()", "%C3%A9%21%2A%27%28%29"),
    ],
)
def test_what_a_client_left_unencoded_is_encoded(value: str, canonical: str) -> None:
    """Every platform's percent-encoding leads to the same canonical name."""
    name = parse_live(f"live:likes;post={value};country=de", COUNTERS)
    assert name.dims == f"{canonical};de"


def test_the_longest_canonical_name_is_a_channel() -> None:
    """Whatever a counter may be called and be counted by, it can be watched."""
    names = tuple(letter * 64 for letter in "abcdefgh")
    window = Window.parse(f"{'0' * 14}2.{'0' * 30}h/{'0' * 14}1.{'0' * 30}h")
    counter = Counter("c" * 64, names, (window,))
    values = dict.fromkeys(names, "x" * 128) | {names[0]: LONG, names[1]: "é" * 100}
    name = LiveName.of(counter, values)
    spare = MAX_DIMS - len(name.dims)

    assert len(name.channel) + spare <= MAX_LIVE_CHARS
    assert check_channel(name.channel) == name.channel


@given(VALUES, VALUES, st.sampled_from(["5m", "1h/1m"]))
def test_a_canonical_name_is_read_as_itself(post: str, land: str, window: str) -> None:
    """Naming a channel and reading the name gives an equal name."""
    values = {"post": text_of(post), "country": text_of(land)}
    name = LiveName.of(COUNTERS["likes"], values, window)
    assert parse_live(name.channel, COUNTERS) == name
    assert name.dims == encode_dims([text_of(post), text_of(land)])


@pytest.mark.parametrize(
    ("channel", "problem"),
    [
        ("chat:42", 'begins with "live:"'),
        ("live:likes;post=42", "dimension 'country' is missing; .* post, country"),
        ("live:likes;post=1;country=de;os=x", "no dimension 'os'"),
        ("live:likes;post=1;country=de;window=7m", "'7m'; .* windows: 5m, 1h/1m"),
        ("live:likes;post=1;post=2;country=de", "'post' is given twice"),
        ("live:likes;post", "'post' must be name=value"),
        ("live:likes;post=%zz;country=de", "not percent-encoded"),
        ("live:likes;post=%ff;country=de", "not percent-encoded"),
        ("live:likes;post=\ud800;country=de", "not percent-encoded"),
        ("live:likes;post=~nothing;country=de", "~none, ~empty or ~other"),
        ("live:likes;post=" + "x" * 129 + ";country=de", "129 characters"),
        (f"live:many;a={LONG};b={LONG};c={LONG}", "take 4610 .* at most 3200"),
    ],
)
def test_a_malformed_name_is_refused_by_what_is_wrong(
    channel: str, problem: str
) -> None:
    """The sentence names the wrong part and what there is instead."""
    with pytest.raises(CommandError, match=problem) as caught:
        parse_live(channel, COUNTERS)
    assert caught.value.code is BAD_CHANNEL


def test_an_unknown_counter_is_an_unknown_channel() -> None:
    """A counter that is not declared is told apart from a malformed name."""
    with pytest.raises(CommandError, match="no counter 'lieks'") as caught:
        parse_live("live:lieks;post=42", COUNTERS)
    assert caught.value.code is UNKNOWN_CHANNEL


@given(st.text())
def test_any_text_is_a_name_or_a_documented_error(text: str) -> None:
    """Reading a name raises nothing but the documented error."""
    with suppress(CommandError):
        parse_live("live:likes;" + text, COUNTERS)
