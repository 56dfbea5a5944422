"""The short form of the proof: the same kills and cuts, on the first events."""

from __future__ import annotations

import asyncio

import pytest

from tests.proof.data import flights, movielens
from tests.proof.run import Plan, prove

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("load", "shards"), [(movielens, 1), (flights, 3)])
def test_every_counter_equals_the_offline_answer(load, shards) -> None:  # type: ignore[no-untyped-def]
    """However often batches, connections, nodes and Valkey fail, counts are exact."""
    data = load(4_000)
    result = asyncio.run(
        prove(data, Plan(node_kills=3, devices_at_once=40, shards=shards))
    )

    assert [row.examples[:3] for row in result.rows if row.wrong] == []
    assert result.tally.acked == len(data.frame)
    assert (result.chaos.killed_nodes, result.chaos.killed_valkey) == (3, 1)
    assert result.tally.duplicated_batches > 0
