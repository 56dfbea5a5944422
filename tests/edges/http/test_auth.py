"""Who may ask what: keys, tokens, nobody."""

from __future__ import annotations

import pytest

from realtime.errors import KeysUnavailable
from realtime.settings import AuthSettings, ServerSettings
from tests.edges.http.support import API_KEY, KEY, World, bearer, running, token

pytestmark = pytest.mark.anyio

EVENTS = {"device": "d", "first": 1, "events": []}
PUBLICATION = {"channel": "chat:42", "data": 1}
BROADCAST = {"channels": ["chat:42"], "data": 1}

REQUESTS = {
    "events": ("POST", "/v1/events", EVENTS),
    "mark": ("GET", "/v1/devices/d", None),
    "publish": ("POST", "/v1/publish", PUBLICATION),
    "broadcast": ("POST", "/v1/broadcast", BROADCAST),
    "counters": ("GET", "/v1/counters", None),
    "open value": ("GET", "/v1/counters/likes?post=42", None),
    "user's value": ("GET", "/v1/counters/sales", None),
    "hidden value": ("GET", "/v1/counters/hidden", None),
    "open cells": ("GET", "/v1/counters/likes/cells", None),
    "user's cells": ("GET", "/v1/counters/sales/cells", None),
    "live": ("HEAD", "/v1/live?channel=chat:42", None),
    "health": ("GET", "/healthz", None),
    "ready": ("GET", "/readyz", None),
    "metrics": ("GET", "/metrics", None),
    "openapi": ("GET", "/openapi.json", None),
}

OPEN = dict.fromkeys(("health", "ready", "metrics", "openapi"), 200)

# Who asks, and what is answered other than 200; OPEN goes for everybody.
CALLERS: dict[str, tuple[dict[str, str], dict[str, int]]] = {
    "a backend by bearer": (KEY, {}),
    "a backend by header": ({"x-api-key": API_KEY}, {}),
    "nobody": ({}, dict.fromkeys(REQUESTS, 401) | OPEN),
    "a stranger": (
        bearer("no such key"),
        dict.fromkeys(REQUESTS, 401) | OPEN | {"openapi": 401},
    ),
    "a stranger's key": (
        {"x-api-key": "no such key"},
        dict.fromkeys(REQUESTS, 401) | OPEN | {"openapi": 401},
    ),
    "a user without grants": (
        bearer(token()),
        dict.fromkeys(("mark", "publish", "hidden value", "user's cells", "live"), 403),
    ),
    "a user with grants": (
        bearer(
            token(subscribe=["chat:*", "live:hidden*"], publish=["chat:*"], track=["*"])
        ),
        dict.fromkeys(("mark", "user's cells"), 403),
    ),
    "a token that names nobody": (
        bearer(token(None, subscribe=["chat:42"])),
        dict.fromkeys(
            ("mark", "publish", "user's value", "hidden value", "user's cells"), 403
        )
        | {"events": 401},
    ),
    "an expired token": (
        bearer(token(expires_in_s=-600, publish=["*"])),
        dict.fromkeys(REQUESTS, 401) | OPEN | {"openapi": 401},
    ),
}


@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("caller", CALLERS)
async def test_the_matrix_of_access(
    world: World, caller: str, request_name: str
) -> None:
    """Every caller gets from every path exactly what is meant for him."""
    headers, statuses = CALLERS[caller]
    method, path, body = REQUESTS[request_name]
    answer = await world.ask(method, path, json=body, headers=headers)
    assert answer.status == statuses.get(request_name, 200), answer.body


async def test_401_names_the_scheme(world: World) -> None:
    """A caller who is not known learns how to say who he is."""
    answer = await world.get("/v1/counters")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.error["name"] == "unauthorized"


@pytest.mark.parametrize(
    ("presented", "reason"),
    [("wrong-key", "neither a known API key nor a token"), ("a.b.c", "token: ")],
)
async def test_a_wrong_bearer_is_named_for_what_it_looks_like(
    world: World, presented: str, reason: str
) -> None:
    """What has no form of a token may have been meant as a key."""
    answer = await world.get("/v1/counters", bearer(presented))
    assert (answer.status, answer.error["name"]) == (401, "unauthorized")
    assert reason in answer.error["reason"]
    assert presented not in answer.error["reason"]


async def test_an_expired_token_asks_for_a_new_one(world: World) -> None:
    """Expiry is told apart from other refusals: the app refreshes and repeats."""
    answer = await world.get("/v1/counters", bearer(token(expires_in_s=-600)))
    assert (answer.status, answer.error["name"]) == (401, "token_expired")
    assert answer.error["retry"] == "refresh"
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", API_KEY])
async def test_other_schemes_are_refused(world: World, header: str) -> None:
    """Only the Bearer scheme is known."""
    answer = await world.get("/v1/counters", {"authorization": header})
    assert answer.status == 401


async def test_the_scheme_is_case_insensitive(world: World) -> None:
    """RFC 9110, 11.1: bearer and Bearer are the same."""
    answer = await world.get("/v1/counters", {"authorization": f"bearer {API_KEY}"})
    assert answer.status == 200


async def test_a_token_in_the_address_is_for_streams_only(world: World) -> None:
    """access_token is believed by /v1/live and by nothing else."""
    presented = token(subscribe=["chat:*"])
    live = await world.ask("HEAD", f"/v1/live?channel=chat:42&access_token={presented}")
    other = await world.get(f"/v1/counters?access_token={presented}")
    assert (live.status, other.status) == (200, 401)


async def test_an_api_key_in_the_address_is_worth_nothing(world: World) -> None:
    """What stands in an address may be logged on the way: keys stay out of it."""
    answer = await world.ask(
        "HEAD", f"/v1/live?channel=chat:42&access_token={API_KEY.replace(' ', '+')}"
    )
    assert answer.status == 401


async def test_anonymous_callers_get_what_is_open_to_anyone() -> None:
    """Where anonymous sessions are allowed, so are requests without credentials."""
    async with running(auth=AuthSettings(anonymous=True)) as world:
        value = await world.get("/v1/counters/likes?post=42")
        cells = await world.get("/v1/counters/likes/cells")
        hidden = await world.get("/v1/counters/hidden")
        published = await world.post("/v1/publish", {"channel": "lobby:1", "data": 1})
    assert (value.status, cells.status, published.status) == (200, 200, 200)
    assert hidden.status == 403


async def test_dev_opens_everything() -> None:
    """Under --dev every request is answered, with wrong credentials and without."""
    async with running(server=ServerSettings(dev=True)) as world:
        for headers in ({}, {"x-api-key": "wrong"}, bearer("wrong")):
            for method, path, body in REQUESTS.values():
                answer = await world.ask(method, path, json=body, headers=headers)
                assert answer.status == 200, (path, headers, answer.body)


async def test_dev_answers_no_page_that_borrows_our_address() -> None:
    """Whoever calls us by a name of his own may be a page of anybody's."""
    async with running(server=ServerSettings(dev=True)) as world:
        answer = await world.get("/v1/counters", {"host": "evil.example:8080"})
    assert (answer.status, answer.error["name"]) == (403, "permission_denied")
    assert "evil.example" in answer.error["reason"]


async def test_unknown_keys_of_an_issuer_are_503(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the issuer's keys cannot be had, it is not the token's fault."""

    async def authenticate(token: str | None, remote: str) -> None:
        raise KeysUnavailable("the issuer does not answer")

    monkeypatch.setattr(world.node.authenticator, "authenticate", authenticate)
    answer = await world.get("/v1/counters", bearer(token()))
    assert (answer.status, answer.error["retry"]) == (503, "later")
