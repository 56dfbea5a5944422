"""
The contract suite of registries: every form must pass it.

Subclass ``RegistryContract`` in a test module, with the anyio plugin, and provide the
fixture ``registries``: ``open`` returns a further registry on the same storage, as
another node has it; the fixture closes all that were opened.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Protocol

from realtime.adapters.registry.port import NodeReport, Registry
from realtime.types import NodeId

REPORT = NodeReport(NodeId("a"), 1_700_000_000.25, 3, 5, 2**53 - 1, 0.5, 12_345.75)
LONG_S = 60.0


class Registries(Protocol):
    """What the suite asks of a form of registry."""

    async def open(self) -> Registry: ...


class RegistryContract:
    """Every node sees what every living node has last said of itself."""

    async def test_nobody_is_there_at_first(self, registries: Registries) -> None:
        """An empty registry has no nodes."""
        assert await (await registries.open()).nodes() == []

    async def test_reports_are_seen_by_all(self, registries: Registries) -> None:
        """Reports are seen unchanged by every node, sorted by node."""
        one, two = await registries.open(), await registries.open()
        reports = [replace(REPORT, node=NodeId(name)) for name in ("b", "ü{}|\n", "a")]
        for report in reports:
            await one.report(report, LONG_S)
        expected = sorted(reports, key=lambda report: report.node)
        assert await one.nodes() == await two.nodes() == expected

    async def test_a_newer_report_replaces_the_older(
        self, registries: Registries
    ) -> None:
        """Of each node only the last report is kept."""
        registry = await registries.open()
        await registry.report(REPORT, LONG_S)
        newer = replace(REPORT, connections=4)
        await registry.report(newer, LONG_S)
        assert await registry.nodes() == [newer]

    async def test_a_silent_node_is_gone(self, registries: Registries) -> None:
        """A report disappears after its time, and no other with it."""
        registry = await registries.open()
        silent = replace(REPORT, node=NodeId("silent"))
        await registry.report(REPORT, LONG_S)
        await registry.report(silent, 0.3)
        assert await registry.nodes() == [REPORT, silent]
        deadline = time.monotonic() + 5
        while len(await registry.nodes()) > 1 and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        assert await registry.nodes() == [REPORT]

    async def test_the_last_node_is_gone_too(self, registries: Registries) -> None:
        """Nothing is left when the only node falls silent."""
        registry = await registries.open()
        await registry.report(REPORT, LONG_S)
        await registry.report(REPORT, 0.05)
        deadline = time.monotonic() + 5
        while await registry.nodes() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        assert await registry.nodes() == []

    async def test_a_node_can_be_removed(self, registries: Registries) -> None:
        """A node that shuts down is gone at once; removing it twice is harmless."""
        one, two = await registries.open(), await registries.open()
        other = replace(REPORT, node=NodeId("b"))
        await one.report(REPORT, LONG_S)
        await two.report(other, LONG_S)
        await one.remove(REPORT.node)
        await one.remove(REPORT.node)
        assert await two.nodes() == [other]

    async def test_closing_twice_is_harmless(self, registries: Registries) -> None:
        """A registry may be closed again."""
        registry = await registries.open()
        await registry.aclose()
        await registry.aclose()
