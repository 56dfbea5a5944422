"""Delays, the server's clock, keepalive and the names of live channels."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from realtime_client import live, live_other
from realtime_client.backoff import Backoff
from realtime_client.keepalive import Check, Keepalive
from realtime_client.server_clock import ServerClock

# -- back-off --------------------------------------------------------------------------


def test_delays_double_up_to_half_a_minute() -> None:
    """The longest ones: half a second, then twice as much, at most 30 s."""
    backoff = Backoff(lambda: 1.0)
    delays = [backoff.next_delay() for _ in range(8)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    backoff.reset()
    assert backoff.next_delay() == 0.5


def test_the_whole_range_is_random() -> None:
    """Full jitter: the shortest delay is none, also before the first attempt."""
    assert Backoff(lambda: 0.0).next_delay() == 0.0


def test_what_the_server_asks_for_is_the_least() -> None:
    """The jitter comes on top of it."""
    assert Backoff(lambda: 0.5).next_delay(10.0) == 10.25


def test_many_failures_overflow_nothing() -> None:
    """A phone may be offline for weeks."""
    backoff = Backoff(lambda: 1.0)
    for _ in range(5000):
        assert backoff.next_delay() <= 30.0


# -- the server's clock ----------------------------------------------------------------


def test_the_middle_of_the_round_trip_is_the_servers_time() -> None:
    """Sent at 10, received at 12, answered with 1000: at 11 it was 1000 there."""
    clock = ServerClock()
    assert clock.now(10.0) is None
    assert clock.sample(10.0, 1000.0, 1000.0, 12.0) == 2.0
    assert clock.now(11.0) == 1000.0


def test_the_servers_own_time_is_no_part_of_the_round_trip() -> None:
    """What it took between receiving and answering is subtracted."""
    assert ServerClock().sample(10.0, 1000.0, 1003.0, 14.0) == 1.0


def test_the_fastest_sample_counts() -> None:
    """A slower one afterwards changes nothing."""
    clock = ServerClock()
    clock.sample(10.0, 1000.0, 1000.0, 10.1)
    before = clock.now(20.0)
    clock.sample(11.0, 1009.0, 1009.0, 13.0)
    assert clock.now(20.0) == before
    assert clock.rtt_s == pytest.approx(0.1)


def test_samples_age() -> None:
    """Clocks drift apart: after an hour, a slightly slower sample is better."""
    clock = ServerClock()
    clock.sample(10.0, 1000.0, 1000.0, 10.1)
    clock.sample(3610.0, 4600.5, 4600.5, 3610.2)
    assert clock.now(3610.1) == 4600.5


def test_a_new_connection_starts_anew() -> None:
    """It may be another server, and the device may have slept."""
    clock = ServerClock()
    clock.sample(10.0, 1000.0, 1000.0, 10.0)
    clock.forget()
    clock.sample(11.0, 5000.0, 5000.0, 13.0)
    assert clock.now(12.0) == 5000.0


# -- keepalive -------------------------------------------------------------------------


def test_silence_is_answered_by_one_ping() -> None:
    """At nine tenths of the silence; then ten seconds remain for an answer."""
    keepalive = Keepalive(0.0)
    keepalive.start(20.0)
    assert keepalive.check(17.9) is Check.NOTHING
    assert keepalive.check(18.0) is Check.PING
    assert keepalive.check(27.9) is Check.NOTHING
    assert keepalive.check(28.0) is Check.GONE


def test_any_message_is_life() -> None:
    """The silence begins anew, whatever came."""
    keepalive = Keepalive(0.0)
    keepalive.start(20.0)
    keepalive.check(18.0)
    keepalive.heard(19.0)
    assert keepalive.deadline() == 37.0


def test_a_ping_that_was_late_is_given_its_time() -> None:
    """A process that stood still asks first, and gives up only after that."""
    keepalive = Keepalive(0.0)
    keepalive.start(20.0)
    assert keepalive.check(500.0) is Check.PING
    assert keepalive.deadline() == 510.0


def test_before_the_welcome_only_the_welcome_counts() -> None:
    """A server that says other things but never welcome is left."""
    keepalive = Keepalive(0.0)
    keepalive.heard(9.0)
    assert keepalive.check(10.0) is Check.GONE


# -- names -----------------------------------------------------------------------------


def test_a_live_channel_names_counter_dimensions_and_window() -> None:
    """The window comes last; without one, the counter's first is meant."""
    assert live("likes", post=42, window="5m") == "live:likes;post=42;window=5m"
    assert live("likes") == "live:likes"
    assert live("likes", {"post-id": "a"}) == "live:likes;post-id=a"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("a b", "a%20b"),
        ("a;b=c/d", "a%3Bb%3Dc%2Fd"),
        ("été", "%C3%A9t%C3%A9"),
        ("Az09_.-", "Az09_.-"),
        ("~other", "~~other"),
        ("", "~empty"),
        (None, "~none"),
        (True, "true"),
        (False, "false"),
        (42, "42"),
        (42.0, "42"),
        (-0.5, "-0.5"),
        (1e300, "1e%2B300"),
    ],
)
def test_values_are_spelled_as_the_server_spells_them(value: object, text: str) -> None:
    """Percent-encoded; numbers as JSON has them; the special ones begin with ~."""
    assert live("c", x=value) == f"live:c;x={text}"  # type: ignore[arg-type]


def test_what_overflowed_has_a_name_of_its_own() -> None:
    """All dimensions are ~other."""
    name = live_other("likes", "post", "country", window="5m")
    assert name == "live:likes;post=~other;country=~other;window=5m"


@settings(deadline=None)
@given(st.text(min_size=1))
def test_a_value_never_breaks_a_name(value: str) -> None:
    """Whatever text it is, what separates the parts of a name is encoded."""
    text = value.encode("utf-8", "replace").decode()
    spelled = live("c", x=text).removeprefix("live:c;x=")
    assert not set(spelled) & set(";=/ \n")
    assert spelled.isascii()
