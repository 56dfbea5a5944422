"""The short form of ``python -m tests.proof.deploy``: a deploy that nobody notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof.rolling import Deploy, Plan, most_in_a_second

pytestmark = pytest.mark.slow

PLAN = Plan(
    clients=300,
    channels=10,
    connect_rate=150,
    over_s=3.0,
    return_s=2.0,
    event_s=0.5,
    publish_s=0.2,
)


def test_a_rolling_restart_loses_nothing(tmp_path: Path) -> None:
    """
    Two nodes are replaced under load: every publication arrives once and in order,
    every event is counted once, and no node takes more connections than it may.
    """
    result = Deploy(PLAN, tmp_path).run()

    assert result.faults == {}
    assert result.tally.goodbyes >= PLAN.clients
    assert result.tally.welcomes >= 2 * PLAN.clients
    assert result.publications > 100
    assert result.counted == result.tally.made > 1_000
    assert len(result.drains) == 2


@pytest.mark.parametrize(
    ("times", "most"),
    [([], 0), ([5.0], 1), ([1.0, 1.5, 1.9, 2.1, 2.4, 9.0], 4), ([1.0, 2.0, 3.0], 1)],
)
def test_the_fullest_second_is_found(times: list[float], most: int) -> None:
    """Wherever it begins."""
    assert most_in_a_second(times) == most
