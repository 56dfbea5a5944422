"""Event time: device clocks corrected by samples, and clamped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.event_time import AGING_S, JUMP_S, ClockOffset, correct
from realtime.errors import EVENT_TOO_OLD, RejectedEvent
from realtime.settings import EventSettings

NOW = 1_700_000_000.0


def offset_after(*samples: tuple[float, float]) -> float:
    """Return the estimate after messages of (time of receipt, sample)."""
    clock = ClockOffset()
    for received_at, sample in samples:
        clock.sample(received_at - sample, received_at)
    return clock.seconds


def test_without_samples_the_clock_is_taken_as_right() -> None:
    """Nothing is added before the first sample."""
    assert ClockOffset().seconds == 0.0


def test_the_smallest_sample_is_kept() -> None:
    """A sample with less delay replaces one with more."""
    assert offset_after((NOW, 5.5), (NOW + 1, 5.1)) == pytest.approx(5.1)


def test_a_stall_hardly_shows() -> None:
    """A message that took 20 s moves the estimate by less than its share of time."""
    estimate = offset_after((NOW, 5.0), (NOW + 20, 25.0))
    assert estimate == pytest.approx(5.0 + 20 * 20 / AGING_S, rel=0.05)


def test_the_next_good_sample_undoes_a_stall() -> None:
    """After a stall the estimate returns to the smallest sample at once."""
    assert offset_after((NOW, 5.0), (NOW + 20, 25.0), (NOW + 21, 5.0)) == pytest.approx(
        5.0
    )


def test_a_clock_set_back_by_hours_is_followed_at_once() -> None:
    """A sample larger by more than a stall can explain is taken as it is."""
    assert offset_after((NOW, 5.0), (NOW + 1, 3605.0)) == pytest.approx(3605.0)


def test_a_clock_set_forward_is_followed_at_once() -> None:
    """A smaller sample is taken however much smaller it is."""
    assert offset_after((NOW, 0.0), (NOW + 1, -86400.0)) == pytest.approx(-86400.0)


def test_a_clock_set_back_by_seconds_is_followed_in_minutes() -> None:
    """Samples that stay larger are believed after a few time constants."""
    samples = [(NOW + 10 * i, 8.0) for i in range(1, 300)]
    assert offset_after((NOW, 5.0), *samples) == pytest.approx(8.0, abs=0.03)


def test_a_clock_wrong_by_years_is_only_an_offset() -> None:
    """A device that believes it is 1970 is corrected like any other."""
    assert offset_after((NOW, NOW - 100.0)) == pytest.approx(NOW - 100.0)


def test_a_time_that_is_no_number_is_no_sample() -> None:
    """NaN and infinity leave the estimate as it was."""
    clock = ClockOffset()
    clock.sample(NOW, NOW + 2)
    assert clock.sample(float("nan"), NOW) == 2.0
    assert clock.sample(float("-inf"), NOW) == 2.0


@given(
    st.floats(-1e9, 1e9),
    st.lists(st.floats(0.0, JUMP_S - 1), min_size=1, max_size=30),
)
def test_the_estimate_lies_between_truth_and_the_latest_sample(
    offset: float, delays: list[float]
) -> None:
    """Delay only makes samples larger, so the estimate errs by at most their range."""
    clock = ClockOffset()
    for second, delay in enumerate(delays):
        estimate = clock.sample(NOW + second - offset - delay, NOW + second)
    assert offset - 1e-3 <= estimate <= offset + delays[-1] + 1e-3


def test_event_time_is_the_devices_time_plus_the_offset() -> None:
    """An event two minutes ago by a clock an hour behind happened two minutes ago."""
    assert correct(NOW - 3720, 3600.0, NOW, EventSettings()) == NOW - 120


def test_an_event_from_the_future_is_dated_now() -> None:
    """Up to a minute ahead is left as it is; more is impossible."""
    settings = EventSettings(max_ahead_s=60.0)
    assert correct(NOW + 59, 0.0, NOW, settings) == NOW + 59
    assert correct(NOW + 61, 0.0, NOW, settings) == NOW


def test_an_event_that_is_too_old_is_rejected() -> None:
    """The sentence says how old it is and how old it may be."""
    settings = EventSettings(max_age_s=3600.0)
    assert correct(NOW - 3600, 0.0, NOW, settings) == NOW - 3600
    with pytest.raises(RejectedEvent, match=r"2\.0 hours .* 1h old at most") as caught:
        correct(NOW - 7200, 0.0, NOW, settings)
    assert caught.value.code is EVENT_TOO_OLD


def test_an_absurd_clock_makes_no_absurd_sentence() -> None:
    """A device may claim any time; the reason stays short."""
    with pytest.raises(RejectedEvent) as caught:
        correct(NOW, -1e308, NOW, EventSettings())
    assert len(caught.value.reason) < 120
