"""The object graph of one process."""

from __future__ import annotations

import pytest

from realtime.app import Options, running_node
from realtime.core.cells import CellKey
from realtime.engine.node import Node
from realtime.errors import LedgerUnavailable
from realtime.testing.clock import ManualClock
from realtime.testing.nodes import config_of

pytestmark = pytest.mark.anyio

QUAKES = """
[counters.quakes]
event = "quake"
"""


async def quakes(node: Node) -> int:
    """How many events of the demonstration have been counted."""
    key = CellKey("quakes", 0, 0, "")
    [cell] = (await node.parts.ledger.read([key]))[key]
    return cell.state[0] if cell.state else 0


async def test_the_demonstration_outlives_an_outage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It goes on when the ledger answers again, also one that has lost its marks."""
    clock = ManualClock()
    options = Options(demo=True, clock=clock)
    async with running_node(config_of(QUAKES), options) as node:
        ledger = node.parts.ledger
        await clock.elapse(10)
        before = await quakes(node)

        async def down(*_: object) -> int:
            raise LedgerUnavailable("down")

        with monkeypatch.context() as outage:
            outage.setattr(ledger, "claim", down)
            await clock.elapse(10)
        assert await quakes(node) == before > 0

        ledger._store.marks.clear()  # type: ignore[attr-defined]
        await clock.elapse(10)
        assert await quakes(node) > before
