"""The page about metrics names exactly those that there are."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from prometheus_client import Counter, Histogram
from prometheus_client.parser import text_string_to_metric_families

from realtime.testing.nodes import memory_node
from tests.docs.pages import ROOT, blocks, code_spans, name_of, text_of
from tests.edges.http.support import running

pytestmark = pytest.mark.anyio

PAGE = ROOT / "docs" / "reference" / "metrics.md"


@dataclass(frozen=True, slots=True)
class Described:
    """One row of the page."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def described() -> dict[str, Described]:
    """The rows of all tables, by name."""
    rows = re.findall(
        r"^\| `(realtime_\w+)` \| (\w+) \|([^|]*)\| ([^|]+) \|[^|]*\|$",
        text_of(PAGE),
        re.M,
    )
    return {
        name: Described(name, kind, tuple(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, meaning in rows
    }


async def measured() -> dict[str, str]:
    """What a whole node with HTTP exposes: types by name, counters with _total."""
    async with running() as world:
        text = (await world.get("/metrics")).body.decode()
    return {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in text_string_to_metric_families(text)
        if not family.name.endswith("_created")
    }


async def test_every_metric_is_described_and_no_other() -> None:
    """By name and type."""
    found = {name: row.kind for name, row in described().items()}
    assert found == await measured()


async def test_labels_are_those_of_the_code() -> None:
    """In the order of the code."""
    async with memory_node("") as (node, _):
        metrics = [
            value
            for value in vars(node.metrics).values()
            if isinstance(value, Counter | Histogram)
        ]
    for metric in metrics:
        [family] = metric.describe()
        name = family.name + ("_total" if isinstance(metric, Counter) else "")
        assert described()[name].labels == tuple(metric._labelnames)


SUFFIXES = ("_bucket", "_sum", "_count", "_created")


async def test_metrics_that_are_used_exist() -> None:
    """Wherever a page or an alert names one."""
    known = set(described())
    used = {
        (name_of(block.page), name)
        for block in blocks()
        for name in re.findall(r"\brealtime_[a-z_]+\b", block.text)
        if block.language in ("yaml", "")
    }
    used |= {
        (name_of(PAGE), name)
        for span in code_spans(PAGE)
        for name in re.findall(r"\brealtime_[a-z_]+\b", span)
    }
    for page, name in used - {(page, "realtime_client") for page, _ in used}:
        stem = next((name.removesuffix(s) for s in SUFFIXES if name.endswith(s)), name)
        assert name in known or stem in known, (page, name)
