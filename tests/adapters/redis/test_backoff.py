"""Delays between attempts."""

from __future__ import annotations

from random import Random

from realtime.adapters.redis.backoff import Backoff


def test_delays_grow_to_the_cap() -> None:
    """Delays are anywhere between nothing and a ceiling that doubles up to the cap."""
    backoff = Backoff(base_s=0.1, cap_s=1.0, random=Random(7))
    for failures, ceiling in [(1, 0.1), (2, 0.2), (4, 0.8), (5, 1.0), (10_000, 1.0)]:
        delays = [backoff.delay_s(failures) for _ in range(500)]
        assert 0 <= min(delays) < 0.1 * ceiling
        assert 0.9 * ceiling < max(delays) <= ceiling


def test_a_seed_repeats_them() -> None:
    """Two policies with the same seed choose the same delays."""
    one, two = Backoff(random=Random(1)), Backoff(random=Random(1))
    assert [one.delay_s(3) for _ in range(9)] == [two.delay_s(3) for _ in range(9)]
