"""
The description of the API is true: requests made from it are answered as it says.

Schemathesis makes valid and invalid requests of the document and checks every answer
against it: status, content type, headers, shape, and that invalid data is refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import schemathesis
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished
from schemathesis.python.asgi import shutdown_lifespans
from starlette.applications import Starlette

from realtime.clock import SystemClock
from realtime.edges.http import routes
from realtime.edges.http.errors import HTTP_ERRORS
from realtime.errors import ERRORS
from realtime.settings import AuthSettings, LedgerSettings, ServerSettings
from tests.edges.http.support import API_KEY, KEY, World, bearer, running, token

POSITIVE = ["2xx", "401", "403", "404", "409", "422", "429"]
"""How valid data may be answered; 422 is an Idempotency-Key that came before."""

CONFIG: dict[str, Any] = {
    "seed": 1,
    # Which values Hypothesis tries depends on what else has been imported, and the
    # rules that `consistent` knows leave few of some choices.
    "suppress-health-check": ["filter_too_much"],
    "generation": {"max-examples": 20, "deterministic": True, "database": "none"},
    "auth": {"openapi": {"key": {"api_key": API_KEY}}},
    "operations": [
        {
            "include-name": "POST /v1/events",
            "checks": {"positive_data_acceptance": {"expected-statuses": POSITIVE}},
        },
        {
            # An instant in the future is refused; which one that is, no schema can say.
            "include-path-regex": "/revoke$",
            "checks": {
                "positive_data_acceptance": {"expected-statuses": [*POSITIVE, "400"]}
            },
        },
        {
            # A cursor must be one that was given out, an event's id must be of a
            # channel that is watched, and not every string that an answer calls a
            # channel is one: broadcast names those that are wrong.
            "include-path-regex": "^/v1/(channels/|live$)",
            "checks": {
                "positive_data_acceptance": {"expected-statuses": [*POSITIVE, "400"]}
            },
        },
    ],
}


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
    """A node that commits at once, on the real clock."""
    clock, ledger = SystemClock(), LedgerSettings(tick_s=0.001)
    async with running(clock=clock, ledger=ledger) as world:
        yield {"node": world.node}


def consistent(context: object, case: Any) -> bool:
    """
    Leave out what OpenAPI cannot say: a key and numbers exclude each other.

    Without an Idempotency-Key, device and first are required; with one, they and lost
    are refused. Those rules have tests of their own.
    """
    if case.operation.label != "POST /v1/events" or not isinstance(case.body, dict):
        return True
    given = {name for name, value in case.body.items() if value is not None}
    if "Idempotency-Key" in (case.headers or {}):
        return given.isdisjoint({"device", "first", "lost"})
    lost, first = case.body.get("lost"), case.body.get("first")
    if isinstance(lost, int | float) and isinstance(first, int | float):
        return {"device", "first"} <= given and lost < first
    return {"device", "first"} <= given


@pytest.fixture
def api() -> Iterator[Any]:
    """The document as a backend gets it, bound to the application."""
    app = Starlette(routes=routes(), lifespan=lifespan)
    config = schemathesis.Config.from_dict(CONFIG)
    yield schemathesis.openapi.from_asgi(
        "/openapi.json", app, headers=KEY, config=config
    )
    shutdown_lifespans()


def failures(scenario: ScenarioFinished) -> Iterator[str]:
    """What did not go as the document says, with the request and the answer."""
    recorder = scenario.recorder
    for id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                sent, got = recorder.cases[id].value, recorder.interactions[id].response
                yield (
                    f"{recorder.label}: {check.failure_info.failure}\n"
                    f"  sent {sent.query} {sent.headers} {sent.body!r:.300}\n"
                    f"  got {got and got.status_code} {got and got.content[:300]!r}"
                )


@pytest.mark.slow
def test_the_description_is_true(api: Any) -> None:
    """Whatever is sent, valid or not, the answer is one that the description names."""
    api.hook("filter_case")(consistent)
    tested: set[str] = set()
    failed: list[str] = []
    for event in from_schema(api).execute():
        assert not isinstance(event, NonFatalError | FatalError), event
        if isinstance(event, ScenarioFinished):
            tested.add(event.recorder.label)
            failed += failures(event)
    assert not failed, "\n".join(failed)
    described = {
        f"{method.upper()} {path}"
        for path, operations in api.raw_schema["paths"].items()
        for method in operations
    }
    # The document itself is the one thing that is not asked for again; what follows
    # from an earlier answer is tested beside the single operations.
    assert tested - {"Stateful tests"} == described - {"GET /openapi.json"}


@pytest.mark.anyio
async def test_the_document_is_for_the_one_who_asks(world: World) -> None:
    """Counters are described to those who may watch them; others learn the pattern."""

    async def paths(headers: dict[str, str]) -> set[str]:
        document = (await world.get("/openapi.json", headers)).json
        return {path for path in document["paths"] if "/counters/" in path}

    named = {"/v1/counters/{name}", "/v1/counters/{name}/cells"}
    likes = {"/v1/counters/likes", "/v1/counters/likes/cells"}
    assert await paths({}) == named
    assert await paths(bearer(token(None))) == likes
    assert {"/v1/counters/sales", "/v1/counters/hidden"} < await paths(KEY)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "server, auth, open",
    [
        (ServerSettings(), AuthSettings(), False),
        (ServerSettings(), AuthSettings(anonymous=True), True),
        (ServerSettings(dev=True), AuthSettings(), True),
    ],
)
async def test_credentials_are_optional_where_they_are(
    server: ServerSettings, auth: AuthSettings, open: bool
) -> None:
    """The document says whether requests without credentials are answered."""
    async with running(server=server, auth=auth) as world:
        document = (await world.get("/openapi.json")).json
    assert ({} in document["paths"]["/v1/publish"]["post"]["security"]) is open


@pytest.mark.anyio
async def test_the_catalogue_is_whole(world: World) -> None:
    """Every number and name of an error stands in the description."""
    fault = (await world.get("/openapi.json")).json["components"]["schemas"]["Fault"]
    codes = (*ERRORS, *HTTP_ERRORS)
    assert set(fault["properties"]["code"]["enum"]) == {one.code for one in codes}
    assert set(fault["properties"]["name"]["enum"]) == {one.name for one in codes}


@pytest.mark.anyio
async def test_every_operation_has_its_own_name(world: World) -> None:
    """Generators of clients make a function of each operationId."""
    document = (await world.get("/openapi.json", KEY)).json
    names = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
    ]
    assert len(names) == len(set(names))
