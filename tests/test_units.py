"""Durations, sizes and quoted values as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.units import format_duration, parse_bytes, parse_duration_s, shown


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("50ms", 0.05),
        ("9ms", 0.009),
        ("0.5s", 0.5),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("72h", 259200.0),
        ("90d", 7776000.0),
        (" 5 m ", 300.0),
        ("1.5", 1.5),
        (2, 2.0),
        (0.05, 0.05),
        (0, 0.0),
    ],
)
def test_durations_are_read_in_every_unit(text: str | float, seconds: float) -> None:
    """A duration is a number with ms, s, m, h or d; without a unit it is seconds."""
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("5 minutes", "has no known unit"),
        ("5M", "has no known unit"),
        ("", "is not a duration"),
        ("m", "is not a duration"),
        ("-5s", "is not a duration"),
        ("1h30m", "is not a duration"),
        (-1, "finite and not negative"),
        (float("nan"), "finite and not negative"),
        (float("inf"), "finite and not negative"),
        (True, "is not a duration"),
        ([1], "is not a duration"),
    ],
)
def test_a_wrong_duration_is_refused_with_the_right_form(
    text: str, problem: str
) -> None:
    """What is not a duration is refused, and the sentence shows one that is."""
    with pytest.raises(ValueError, match=problem):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64KiB", 65536),
        ("1MiB", 1048576),
        ("2 GiB", 2 * 1024**3),
        ("1kB", 1000),
        ("1.5KiB", 1536),
        ("512", 512),
        ("512B", 512),
        (4096, 4096),
    ],
)
def test_sizes_are_read_in_every_unit(text: str | int, size: int) -> None:
    """A size is a whole number of bytes, or one with a unit."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["64K", "1.0001KiB", "-1", "", True, -1, 1.5, None])
def test_a_wrong_size_is_refused(text: str) -> None:
    """What is not a whole number of bytes is refused."""
    with pytest.raises(ValueError, match=r"unit|whole|size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(300, "5m"), (90, "90s"), (0.05, "50ms"), (1.5, "1.5s"), (86400, "1d"), (0, "0s")],
)
def test_durations_are_written_with_the_largest_unit(seconds: float, text: str) -> None:
    """A whole number of minutes, hours or days is written as such."""
    assert format_duration(seconds) == text


@given(st.floats(min_value=1e-9, max_value=1e9) | st.integers(0, 10**12))
def test_a_written_duration_is_read_back(seconds: float) -> None:
    """Writing and reading a duration gives the same number of seconds."""
    text = format_duration(seconds)
    assert parse_duration_s(text) == seconds


def test_a_quoted_value_is_short_whatever_it_is() -> None:
    """A value in a sentence takes at most 40 characters, even if it cannot be shown."""
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert shown("42") == "'42'"
    assert shown("x" * 100) == "'" + "x" * 36 + "..."
    assert shown(10**5000) == "a huge int"
    assert shown(nested) == "a huge list"
