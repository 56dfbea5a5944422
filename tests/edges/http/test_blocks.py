"""Blocks and revocations over HTTP, and whom they keep from HTTP."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from realtime.adapters.blocks.memory import MemoryBlocks, Shelf
from realtime.testing.client import MemoryClient
from realtime.testing.clock import settle
from tests.edges.http.support import KEY, NOW, SECRET, World, bearer, token

pytestmark = pytest.mark.anyio


def issued(age_s: float, user: str | None = "ann") -> dict[str, str]:
    """A token that was made so long ago, as a header."""
    claims: dict[str, Any] = {"exp": int(NOW + 600), "iat": NOW - age_s}
    if user is not None:
        claims["sub"] = user
    return bearer(jwt.encode(claims, SECRET, "HS256"))


async def block(world: World, user: str = "ann", for_: object = "1h") -> Any:
    """Block *user*."""
    path = f"/v1/users/{user}/block"
    return await world.ask("PUT", path, json={"for": for_}, headers=KEY)


# -- blocks ----------------------------------------------------------------------------


async def test_a_blocked_user_is_closed_and_kept_out(world: World) -> None:
    """Sockets, streams and requests alike, until it is taken back."""
    client = MemoryClient(world.node)
    await client.hello(token=token())
    stream = world.open("GET", "/v1/live?channel=live:sales", bearer(token()))
    await settle()
    answer = await block(world)
    await settle()

    assert answer.status == 200
    assert answer.json == {
        "user": "ann",
        "until": NOW + 3600,
        "disconnected": 2,
        "nodes": 1,
        "answered": 1,
    }
    assert client.close_code == 4505
    assert b'"name":"blocked","reconnect":false' in stream.body

    refused = await world.get("/v1/counters", bearer(token()))
    assert (refused.status, refused.error["name"]) == (403, "blocked")
    assert refused.error["retry_after_s"] == 3600
    assert (await world.get("/v1/counters", bearer(token("bob")))).status == 200

    lifted = await world.ask("DELETE", "/v1/users/ann/block", headers=KEY)
    assert lifted.json["unblocked"] is True
    assert (await world.get("/v1/counters", bearer(token()))).status == 200


async def test_taking_back_what_is_not_there(world: World) -> None:
    """Is harmless, and told."""
    answer = await world.ask("DELETE", "/v1/users/ann/block", headers=KEY)
    assert (answer.status, answer.json) == (200, {"user": "ann", "unblocked": False})


@pytest.mark.parametrize(
    ("for_", "seconds"),
    [(90, 90), (1.5, 1.5), ("30s", 30), ("5m", 300), ("7d", 604800)],
)
async def test_times_are_written_in_several_ways(
    world: World, for_: object, seconds: float
) -> None:
    """Seconds, or a number with its unit."""
    assert (await block(world, for_=for_)).json["until"] == NOW + seconds


@pytest.mark.parametrize(
    "for_", [0, -1, 0.5, 1e12, "", "1", "0s", "1w", "1.5h", "5 m", True, None, [1]]
)
async def test_times_that_are_none_are_refused(world: World, for_: object) -> None:
    """With what would be right."""
    answer = await block(world, for_=for_)
    assert (answer.status, answer.error["field"]) == (400, "for")


async def test_a_block_says_for_how_long(world: World) -> None:
    """There is none for ever, by mistake."""
    answer = await world.ask("PUT", "/v1/users/ann/block", json={}, headers=KEY)
    assert (answer.status, answer.error["reason"]) == (400, "for: is missing")


async def test_there_is_an_end_to_blocks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """413 once there is no room."""
    full = MemoryBlocks(Shelf(max_orders=1))
    monkeypatch.setattr(world.node.gate, "_blocks", full)
    assert (await block(world, "ann")).status == 200
    answer = await block(world, "bob")
    assert (answer.status, answer.error["name"]) == (413, "limit_exceeded")


# -- revocations -----------------------------------------------------------------------


async def test_a_users_tokens_are_revoked(world: World) -> None:
    """Those of before are refused with 401, and ask for a new one."""
    answer = await world.ask("POST", "/v1/users/ann/revoke", headers=KEY)
    assert answer.status == 200
    assert answer.json["issued_before"] == NOW
    assert answer.json["user"] == "ann"

    old = await world.get("/v1/counters", issued(1))
    assert (old.status, old.error["name"]) == (401, "token_revoked")
    assert old.error["retry"] == "refresh"
    assert 'error_description="revoked"' in old.headers["www-authenticate"]
    assert (await world.get("/v1/counters", issued(0))).status == 200
    assert (await world.get("/v1/counters", issued(1, "bob"))).status == 200


async def test_everybodys_tokens_are_revoked(world: World) -> None:
    """Before an instant; API keys are none."""
    body = {"issued_before": NOW - 100, "for": "30d"}
    answer = await world.post("/v1/revoke", body, KEY)
    assert answer.json["user"] is None
    assert answer.json["until"] == NOW + 30 * 86_400

    statuses = [
        (await world.get("/v1/counters", headers)).status
        for headers in (issued(101), issued(99), issued(101, "bob"), KEY)
    ]
    assert statuses == [401, 200, 401, 200]


async def test_tokens_of_the_future_cannot_be_revoked(world: World) -> None:
    """That would lock out everybody; clocks may differ by a few seconds."""
    late = await world.post("/v1/revoke", {"issued_before": NOW + 3600}, KEY)
    near = await world.post("/v1/revoke", {"issued_before": NOW + 2}, KEY)
    assert (late.status, late.error["field"]) == (400, "issued_before")
    assert near.status == 200


async def test_what_was_revoked_stays_so(world: World) -> None:
    """An order that reaches less far neither helps old tokens nor ends sooner."""
    await world.post("/v1/users/ann/revoke", {"issued_before": NOW - 10}, KEY)
    body = {"issued_before": NOW - 100, "for": 60}
    answer = await world.post("/v1/users/ann/revoke", body, KEY)
    assert answer.json["issued_before"] == NOW - 10
    assert answer.json["until"] == NOW + 365 * 86_400
    assert (await world.get("/v1/counters", issued(11))).status == 401


@pytest.mark.parametrize(
    ("path", "user"), [("/v1/revoke", None), ("/v1/users/ann/revoke", "ann")]
)
async def test_a_revocation_can_be_taken_back(
    world: World, path: str, user: str | None
) -> None:
    """Old tokens are good again; once more, there is nothing to take back."""
    await world.post(path, {}, KEY)
    assert (await world.get("/v1/counters", issued(1))).status == 401
    first = await world.ask("DELETE", path, headers=KEY)
    second = await world.ask("DELETE", path, headers=KEY)

    assert first.json == {"user": user, "unrevoked": True, "nodes": 1, "answered": 1}
    assert second.json == {"user": user, "unrevoked": False}
    assert (await world.get("/v1/counters", issued(1))).status == 200


# -- the list --------------------------------------------------------------------------


async def test_what_is_in_force_is_listed(world: World) -> None:
    """Page by page, blocks and revocations."""
    await block(world, "bob")
    await block(world, "ann")
    await world.post("/v1/revoke", {"issued_before": NOW - 1, "for": 60}, KEY)
    await world.ask("DELETE", "/v1/users/bob/block", headers=KEY)
    await block(world, "eve")
    first = (await world.get("/v1/blocks?limit=2", KEY)).json
    second = (await world.get(f"/v1/blocks?cursor={first['cursor']}", KEY)).json

    assert first["blocks"] == [
        {"user": "ann", "until": NOW + 3600},
        {"user": "eve", "until": NOW + 3600},
    ]
    assert second == {
        "blocks": [{"user": None, "until": NOW + 60, "issued_before": NOW - 1}]
    }


# -- who may ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/users/ann/block", {"for": 60}),
        ("DELETE", "/v1/users/ann/block", None),
        ("POST", "/v1/users/ann/revoke", {}),
        ("POST", "/v1/revoke", {}),
        ("DELETE", "/v1/revoke", None),
        ("DELETE", "/v1/users/ann/revoke", None),
        ("GET", "/v1/blocks", None),
        ("GET", "/v1/channels", None),
        ("GET", "/v1/nodes", None),
        ("GET", "/v1/users/ann/connections", None),
        ("POST", "/v1/users/ann/disconnect", {}),
        ("POST", "/v1/connections/c/disconnect", {}),
        ("POST", "/v1/users/ann/unsubscribe", {"channel": "chat:1"}),
        ("POST", "/v1/connections/c/unsubscribe", {"channel": "chat:1"}),
        ("POST", "/v1/users/ann/refresh", {}),
        ("POST", "/v1/connections/c/refresh", {}),
    ],
)
async def test_orders_are_for_backends_only(
    world: World, method: str, path: str, body: object
) -> None:
    """A user may not give them, not even about himself; nor may a stranger."""
    grants = {"subscribe": ["*"], "publish": ["*"], "track": ["*"]}
    statuses = [
        (await world.ask(method, path, json=body, headers=headers)).status
        for headers in (bearer(token("ann", **grants)), {}, KEY)
    ]
    assert statuses == [403, 401, 200]
