"""Alive, ready, measured."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from realtime.edges.http import routes
from realtime.edges.http.host import Host
from realtime.settings import ServerSettings
from realtime.testing.clock import settle
from tests.edges.http.support import KEY, Exchange, World, running

pytestmark = pytest.mark.anyio


async def test_alive(world: World) -> None:
    """The process answers."""
    answer = await world.get("/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_ready(world: World) -> None:
    """Every thing the node stands on is named, and all are well."""
    answer = await world.get("/readyz")
    assert answer.status == 200
    assert answer.json == {
        "status": "ready",
        "checks": {"broker": "ok", "ledger": "ok"},
    }


async def test_not_ready_says_what_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that failed turns the answer into 503 that names it."""

    async def readiness() -> dict[str, str]:
        return {"broker": "a probe was lost", "ledger": "ok"}

    monkeypatch.setattr(world.node, "readiness", readiness)
    answer = await world.get("/readyz")
    assert answer.status == 503
    assert answer.error["reason"] == "broker: a probe was lost"
    assert answer.json["checks"]["broker"] == "a probe was lost"
    assert answer.headers["retry-after"] == "1"


async def test_a_draining_node_is_not_ready(world: World) -> None:
    """Balancers send nobody to a node that is shutting down."""
    world.node.draining = True
    answer = await world.get("/readyz")
    assert answer.status == 503
    assert "shutting down" in answer.error["reason"]


async def test_metrics_are_readable(world: World) -> None:
    """The exposition parses, and counts events and requests."""
    await world.like("42", 3)
    answer = await world.get("/metrics")
    families = {
        family.name: family
        for family in text_string_to_metric_families(answer.body.decode())
    }
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert families["realtime_events_counted"].samples[0].value == 3
    assert "realtime_http_requests" in families


async def test_labels_are_bounded(world: World) -> None:
    """Requests are counted by route template, never by what a client writes."""
    for path in ("/v1/devices/a", "/v1/devices/b", "/v1/nothing/7", "/v1/nothing/8"):
        await world.get(path, KEY)
    await world.ask("BREW", "/healthz")
    await world.ask("BREW", "/coffee")
    registry = world.node.metrics.registry

    def count(route: str, method: str, status: str) -> float | None:
        labels = {"route": route, "method": method, "status": status}
        return registry.get_sample_value("realtime_http_requests_total", labels)

    assert count("/v1/devices/{device}", "GET", "200") == 2
    assert count("other", "GET", "404") == 2
    assert count("/healthz", "other", "405") == 1
    assert count("other", "other", "404") == 1


async def test_without_dashboard_there_is_no_page() -> None:
    """The page and its description exist only with server.dashboard."""
    async with running(server=ServerSettings(dashboard=False)) as world:
        for path in ("/", "/page/app.js", "/v1/page"):
            answer = await world.get(path)
            assert (answer.status, answer.error["name"]) == (404, "not_found")


async def test_the_edge_may_be_given_its_node(world: World) -> None:
    """Without a lifespan that yields the node, it is named when routes are made."""
    host: Host = world.node
    exchange = Exchange(Starlette(routes=routes(host)), "GET", "/healthz")
    exchange.start()
    await settle()
    assert exchange.answer.status == 200
