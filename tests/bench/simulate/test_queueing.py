"""How long things wait, against closed forms and against a queue that is played."""

from __future__ import annotations

from math import inf, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.bench.simulate.queueing import Work, mean_wait_s, utilisation, wait_s

WORKS = st.lists(
    st.builds(Work, st.floats(0.1, 1000), st.floats(1e-6, 1e-2)), min_size=1, max_size=5
)


@pytest.mark.parametrize("rho", [0.1, 0.5, 0.9])
def test_one_kind_of_work_waits_as_in_m_d_1(rho: float) -> None:
    """Which is rho S / 2 (1 - rho) in the mean."""
    service_s = 0.01

    found = mean_wait_s([Work(rho / service_s, service_s)])

    assert found == pytest.approx(rho * service_s / (2 * (1 - rho)))


@pytest.mark.parametrize("rho", [0.3, 0.7])
def test_the_mean_is_that_of_a_queue_that_is_played(rho: float) -> None:
    """Two kinds of work at random times, served one after the other (Lindley)."""
    works = [Work(rho / 2 / 0.01, 0.01), Work(rho / 2 / 0.05, 0.05)]
    random, rate = Random(1), sum(work.per_s for work in works)
    wait, total, count = 0.0, 0.0, 300_000
    for _ in range(count):
        total += wait
        [work] = random.choices(works, [each.per_s for each in works])
        wait = max(0.0, wait + work.service_s - random.expovariate(rate))

    assert total / count == pytest.approx(mean_wait_s(works), rel=0.05)


def test_the_tail_is_that_of_m_m_1_of_the_same_mean() -> None:
    """P(W > t) = rho exp(-t rho / W), so the percentile is where that is reached."""
    works = [Work(80.0, 0.01)]

    found = wait_s(works, 0.99)

    assert found == pytest.approx(mean_wait_s(works) / 0.8 * log(0.8 / 0.01))


def test_who_need_not_wait_does_not() -> None:
    """With a third of the time in use, half of all find nobody before them."""
    assert wait_s([Work(33.0, 0.01)], 0.5) == 0.0


def test_too_much_waits_for_ever() -> None:
    """What comes faster than it is served has no mean wait."""
    assert mean_wait_s([Work(100.0, 0.01)]) == inf
    assert wait_s([Work(120.0, 0.01)], 0.99) == inf


@given(works=WORKS, times=st.floats(1.0, 3.0), share=st.sampled_from([0.5, 0.9, 0.99]))
def test_more_work_never_waits_less(
    works: list[Work], times: float, share: float
) -> None:
    """Nor is the server less busy; and no wait is below nothing."""
    more = [Work(work.per_s * times, work.service_s) for work in works]

    assert utilisation(more) >= utilisation(works)
    assert wait_s(more, share) >= wait_s(works, share) - 1e-12
    assert wait_s(works, share) >= 0.0
