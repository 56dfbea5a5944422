"""Windows: how they are declared, and which buckets they are made of."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.windows import Window, WindowKind

INSTANTS = st.floats(min_value=-1e9, max_value=4e9)
TEXTS = st.sampled_from(["1s", "5m", "7s", "1h/1m", "10s/1s", "1000s/1s", "1d/6h"])


def test_the_three_kinds_are_read() -> None:
    """A window is the total, tumbling, or sliding in steps."""
    assert Window.parse("total") == Window("total", WindowKind.TOTAL, 0, 0)
    assert Window.parse("5m") == Window("5m", WindowKind.TUMBLING, 300, 300)
    assert Window.parse("1h/1m") == Window("1h/1m", WindowKind.SLIDING, 3600, 60)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not a window"),
        ("five", "is not a window"),
        ("Total", "is not a window"),
        ("5m/", "is not a window"),
        ("1h/1m/1s", "is not a window"),
        ("1h / 1m", "has spaces"),
        ("1.5s", "whole number of seconds"),
        ("50ms", "whole number of seconds"),
        ("0s", "at least one"),
        ("1h/0s", "at least one"),
        ("400d", "longer than 366d"),
        ("5m/5m", "write '5m'"),
        ("1h/7m", "must divide"),
        ("1m/1h", "must divide"),
        ("1h/1s", "at most 1000 are allowed: make the step 4 s"),
    ],
)
def test_a_wrong_window_is_refused_with_the_right_form(text: str, problem: str) -> None:
    """The sentence says what is wrong with the window and what would be right."""
    with pytest.raises(ValueError, match=problem):
        Window.parse(text)


def test_the_total_is_one_bucket_without_end() -> None:
    """The total has one bucket, number 0, for all time."""
    total = Window.parse("total")
    assert total.buckets(1_700_000_000.0) == range(1)
    assert total.end(1_700_000_000.0) is None


def test_a_sliding_instance_ends_with_the_current_bucket() -> None:
    """Three seconds in steps of one, at 10.5, are the seconds 8, 9 and 10."""
    window = Window.parse("3s/1s")
    assert window.buckets(10.5) == range(8, 11)
    assert window.end(10.5) == 11.0


@given(TEXTS, INSTANTS)
def test_the_last_bucket_contains_the_instant(text: str, at: float) -> None:
    """The instant lies in the last bucket: not before its start, and before its end."""
    window = Window.parse(text)
    last = window.buckets(at)[-1]
    start, end = last * window.step_s, (last + 1) * window.step_s
    assert start <= Fraction(at) < end
    assert window.end(at) == end


@given(TEXTS, INSTANTS)
def test_an_instance_is_as_long_as_its_window(text: str, at: float) -> None:
    """The buckets of an instance add up to the window's length."""
    window = Window.parse(text)
    assert len(window.buckets(at)) * window.step_s == window.size_s


def test_the_instant_just_before_a_boundary_is_before_it() -> None:
    """Dividing would round this instant up into the next bucket."""
    window = Window.parse("3s")
    assert window.bucket(3_000_000_000_000_000.0 - 0.5) == 999_999_999_999_999
