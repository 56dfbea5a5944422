"""The object graph of one process."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from realtime.adapters.blocks.memory import MemoryBlocks
from realtime.adapters.broker.memory import MemoryBroker
from realtime.adapters.build import Adapters
from realtime.adapters.ledger.memory import MemoryLedger
from realtime.adapters.presence.memory import MemoryPresence
from realtime.adapters.registry.memory import MemoryRegistry
from realtime.app import Options, _tell, running_node
from realtime.core.cells import CellKey
from realtime.engine.node import Node
from realtime.errors import LedgerUnavailable
from realtime.testing.clock import ManualClock
from realtime.testing.nodes import config_of
from realtime.types import NodeId

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

        async def down(*_: object) -> int:
            raise LedgerUnavailable("down")

        with monkeypatch.context() as outage:
            outage.setattr(ledger, "claim", down)
            await clock.elapse(1)  # what was under way is counted
            before = await quakes(node)
            await clock.elapse(10)
        assert await quakes(node) == before > 0

        ledger._store.marks.clear()  # type: ignore[attr-defined]
        await clock.elapse(10)
        assert await quakes(node) > before


@pytest.mark.parametrize(
    ("durability", "level", "told"),
    [
        ("appendfsync always", "info", None),
        ("unknown", "info", None),
        ("appendfsync everysec", "warning", "second"),
        ("appendfsync no", "warning", "snapshot"),
        ("appendonly no", "warning", "snapshot"),
        ("maxmemory-policy allkeys-lru", "warning", "memory"),
    ],
)
def test_what_redis_may_lose_is_a_warning(
    durability: str, level: str, told: str | None
) -> None:
    """Acknowledged events are at stake; what is as it should be is only said."""
    config = config_of('[redis]\nurl = "redis://localhost"\n')
    ledger = MemoryLedger(config.counters, config.ledger)
    adapters = Adapters(
        ledger,
        MemoryBroker(),
        MemoryRegistry(),
        MemoryBlocks(),
        MemoryPresence(NodeId("node")),
        durability=durability,
    )
    with capture_logs() as lines:
        _tell(config, adapters)
    [line] = lines
    assert (line["event"], line["log_level"]) == ("ledger_in_redis", level)
    assert line["durability"] == durability
    if told is None:
        assert "may_lose" not in line
    else:
        assert told in line["may_lose"]
