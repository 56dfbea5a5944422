"""Orders of backends about connections, and what they ask of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from realtime.adapters.registry.port import NodeReport
from realtime.errors import Unavailable
from realtime.settings import ServerSettings
from realtime.testing.client import MemoryClient
from realtime.testing.clock import settle
from realtime.types import NodeId
from tests.edges.http.support import KEY, World, bearer, running, token

pytestmark = pytest.mark.anyio

ALL = {"nodes": 1, "answered": 1}


async def connect(world: World, user: str = "ann", **grants: Any) -> MemoryClient:
    """A client of *user*, welcomed."""
    client = MemoryClient(world.node)
    answer = await client.hello(token=token(user, **grants), keepalive_s=1800)
    assert answer["type"] == "welcome", answer
    return client


async def silent(world: World) -> None:
    """Let there be a node that is alive and does not answer."""
    report = NodeReport(NodeId("n2"), 0.0, 1, 1, 0, 0.0, 0.0)
    await world.node.parts.registry.report(report, 60)


# -- orders ----------------------------------------------------------------------------


async def test_disconnecting_a_user(world: World) -> None:
    """A body is not needed; the answer counts connections and nodes."""
    clients = [await connect(world), await connect(world)]
    answer = await world.ask("POST", "/v1/users/ann/disconnect", headers=KEY)

    assert (answer.status, answer.json) == (200, {"disconnected": 2, **ALL})
    assert {client.close_code for client in clients} == {4504}


async def test_disconnecting_with_a_reason(world: World) -> None:
    """Told to the app; with reconnect, the code asks it to come back."""
    client = await connect(world)
    body = {"reconnect": True, "reason": "new plan"}
    answer = await world.post("/v1/users/ann/disconnect", body, KEY)

    assert answer.status == 200
    assert client.socket.closed_with == (4007, "new plan")


async def test_disconnecting_one_connection(world: World) -> None:
    """By its id; the user's others stay. Once more, there is nothing to do."""
    one, other = await connect(world), await connect(world)
    path = f"/v1/connections/{one.peer.id}/disconnect"
    first = await world.post(path, {}, KEY)
    one.lose()
    second = await world.post(path, {}, KEY)

    assert (first.json["disconnected"], second.json["disconnected"]) == (1, 0)
    assert other.close_code is None


@pytest.mark.parametrize("user", ["auth0|ann", "org/ann", "ann@example.com", "ü%"])
async def test_any_user_can_be_named(world: World, user: str) -> None:
    """A user's name may have slashes and whatever else tokens may say."""
    client = await connect(world, user)
    answer = await world.post(f"/v1/users/{user}/disconnect", {}, KEY)
    assert (answer.json["disconnected"], client.close_code) == (1, 4504)


async def test_unsubscribing(world: World) -> None:
    """A user's subscriptions to one channel; live channels by any of their names."""
    client = await connect(world, subscribe=["chat:*"])
    for channel in ("chat:1", "live:likes;post=42;window=total"):
        await client.say("subscribe", channel=channel)
    answers = [
        await world.post("/v1/users/ann/unsubscribe", {"channel": channel}, KEY)
        for channel in ("chat:1", "live:likes;window=total;post=42", "chat:2")
    ]
    told = client.take()

    assert [answer.json["unsubscribed"] for answer in answers] == [1, 1, 0]
    assert [(one["channel"], one["code"]) for one in told] == [
        ("chat:1", 120),
        ("live:likes;post=42;window=total", 120),
    ]


async def test_refreshing(world: World) -> None:
    """At once, or by giving the token another end."""
    client = await connect(world)
    now = await world.ask("POST", "/v1/users/ann/refresh", headers=KEY)
    assert (now.status, now.json["refreshed"]) == (200, 1)
    end = world.clock.time() + 999
    path = f"/v1/connections/{client.peer.id}/refresh"
    later = await world.post(path, {"expires_at": end}, KEY)

    assert later.json["refreshed"] == 1
    assert [one["type"] for one in client.take()] == ["token_expired", "refreshed"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("disconnect", {"reconnect": "yes"}, "reconnect"),
        ("disconnect", {"reason": ""}, "reason"),
        ("disconnect", {"reason": "x" * 124}, "reason"),
        ("disconnect", {"why": "x"}, "why"),
        ("unsubscribe", {}, "channel"),
        ("unsubscribe", {"channel": "chat"}, "channel"),
        ("unsubscribe", {"channel": ""}, "channel"),
        ("refresh", {"expires_at": "tomorrow"}, "expires_at"),
        ("refresh", {"expires_at": 1_700_000_000_000}, "expires_at"),
        ("refresh", {"expires_at": True}, "expires_at"),
        ("disconnect?user=bob", {}, "user"),
    ],
)
async def test_mistakes_are_named(
    world: World, path: str, body: object, field: str
) -> None:
    """With the field, and nothing is done."""
    client = await connect(world)
    answer = await world.post(f"/v1/users/ann/{path}", body, KEY)
    assert (answer.status, answer.error["field"]) == (400, field)
    assert client.close_code is None


@pytest.mark.parametrize("path", ["users//disconnect", f"users/{'x' * 256}/disconnect"])
async def test_users_have_names_of_some_length(world: World, path: str) -> None:
    """As in tokens: 1 to 255 characters."""
    answer = await world.post(f"/v1/{path}", {}, KEY)
    assert (answer.status, answer.error["field"]) == (400, "user")


# -- who answers -----------------------------------------------------------------------


ORDERS = [
    ("POST", "/v1/users/ann/disconnect", {}),
    ("POST", "/v1/connections/c/unsubscribe", {"channel": "chat:1"}),
    ("POST", "/v1/users/ann/refresh", {}),
    ("GET", "/v1/users/ann/connections", None),
    ("GET", "/v1/channels", None),
    ("PUT", "/v1/users/ann/block", {"for": 60}),
    ("POST", "/v1/revoke", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), ORDERS)
async def test_a_node_that_does_not_answer_is_named(
    world: World, method: str, path: str, body: object
) -> None:
    """The answer is 503, for not all have obeyed; it may be given again."""
    await silent(world)
    answer = await world.ask(method, path, json=body, headers=KEY)

    assert (answer.status, answer.error["name"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert "1 of 2 nodes have answered; n2 did not answer" in answer.error["reason"]
    counts = {name: answer.json[name] for name in ("nodes", "answered", "missing")}
    assert counts == {"nodes": 2, "answered": 1, "missing": ["n2"]}


async def test_once_the_node_is_known_to_be_dead_the_order_succeeds(
    world: World,
) -> None:
    """Giving it again does what was missing, and harms nobody."""
    await silent(world)
    first = await world.post("/v1/users/ann/disconnect", {}, KEY)
    await world.node.parts.registry.remove(NodeId("n2"))
    second = await world.post("/v1/users/ann/disconnect", {}, KEY)
    assert (first.status, second.status) == (503, 200)


# -- lists -----------------------------------------------------------------------------


async def test_a_users_connections(world: World) -> None:
    """WebSockets and streams of server-sent events."""
    client = await connect(world)
    stream = world.open(
        "GET", "/v1/live?channel=live:sales", {**bearer(token()), "accept": "*/*"}
    )
    await settle()
    assert stream.started
    answer = await world.get("/v1/users/ann/connections", KEY)
    kinds = {one["transport"]: one for one in answer.json["connections"]}

    assert answer.json["complete"] is True
    assert kinds.keys() == {"realtime.v1.json", "sse"}
    assert kinds["realtime.v1.json"]["connection"] == client.peer.id
    assert kinds["sse"]["remote"] == "127.0.0.1"
    assert kinds["sse"]["subscriptions"] == 1
    assert {one["node"] for one in kinds.values()} == {"n1"}


async def test_channels_with_subscribers(world: World) -> None:
    """A page at a time."""
    client = await connect(world, subscribe=["chat:*"])
    for name in "cab":
        await client.say("subscribe", channel=f"chat:{name}")
    first = (await world.get("/v1/channels?limit=2&prefix=chat:", KEY)).json
    cursor = first["cursor"]
    second = (await world.get(f"/v1/channels?limit=2&cursor={cursor}", KEY)).json

    assert [one["channel"] for one in first["channels"]] == ["chat:a", "chat:b"]
    assert second["channels"] == [{"channel": "chat:c", "subscribers": 1}]
    assert "cursor" not in second


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("what=1", "what"),
        (f"prefix={'x' * 4097}", "prefix"),
    ],
)
async def test_wrong_parameters_are_named(world: World, query: str, field: str) -> None:
    """As everywhere."""
    answer = await world.get(f"/v1/channels?{query}", KEY)
    assert (answer.status, answer.error["field"]) == (400, field)


async def test_nodes(world: World) -> None:
    """Every process, with what it says of itself."""
    await world.clock.elapse(1)
    await connect(world)
    await world.clock.elapse(1)
    await silent(world)
    answer = await world.get("/v1/nodes", KEY)
    [own, other] = answer.json["nodes"]

    assert answer.json["at"] == world.clock.time()
    assert (own["node"], own["connections"], own["ready"]) == ("n1", 1, True)
    assert other["node"] == "n2"


# -- streams ---------------------------------------------------------------------------


async def stream(world: World, *channels: str) -> Any:
    """A stream of ann's, open."""
    query = "&".join(f"channel={channel}" for channel in channels)
    grants = bearer(token(subscribe=["chat:*"]))
    found = world.open("GET", f"/v1/live?{query}", grants)
    await settle()
    assert found.started, found
    return found


async def test_streams_are_disconnected_too(world: World) -> None:
    """Their end says that they need not come back."""
    found = await stream(world, "chat:1")
    answer = await world.post("/v1/users/ann/disconnect", {}, KEY)
    await settle()

    assert answer.json["disconnected"] == 1
    assert found.complete
    assert b'"name":"disconnected","reconnect":false' in found.body


async def test_streams_are_unsubscribed_too(world: World) -> None:
    """With the last channel they end."""
    found = await stream(world, "chat:1", "chat:2")
    await world.post("/v1/users/ann/unsubscribe", {"channel": "chat:1"}, KEY)
    await settle()
    assert b'event: unsubscribed\ndata: {"channel":"chat:1","code":120' in found.body
    assert not found.complete
    await world.post("/v1/publish", {"channel": "chat:1", "data": "late"}, KEY)
    await world.post("/v1/publish", {"channel": "chat:2", "data": "heard"}, KEY)
    await world.post("/v1/users/ann/unsubscribe", {"channel": "chat:2"}, KEY)
    await settle()

    assert found.complete
    assert b"heard" in found.body
    assert b"late" not in found.body


async def test_streams_are_ended_when_their_token_is(world: World) -> None:
    """Now, or at the time that the backend says."""
    found = await stream(world, "chat:1")
    later = {"expires_at": world.clock.time() + 3_000}
    await world.post("/v1/users/ann/refresh", later, KEY)
    await world.clock.elapse(2_000)
    assert not found.complete
    await world.post("/v1/users/ann/refresh", {}, KEY)
    await world.clock.elapse(0)
    assert b'"name":"token_expired"' in found.body


async def test_a_stream_that_has_ended_is_forgotten(world: World) -> None:
    """Also one that was never begun."""
    found = await stream(world, "chat:1")
    found.leave()
    await asyncio.gather(found.task, return_exceptions=True)
    await world.get("/v1/live?channel=chat:1", bearer(token(subscribe=["nothing"])))
    answer = await world.get("/v1/users/ann/connections", KEY)
    assert answer.json["connections"] == []
    assert list(world.node.directory) == []


# -- the log ---------------------------------------------------------------------------


async def test_every_order_is_written_down(world: World) -> None:
    """By whom, which, about whom, and how far it got; questions are not orders."""
    await connect(world)
    with capture_logs() as logs:
        await world.post("/v1/users/ann/disconnect", {"reason": "my words"}, KEY)
        await world.get("/v1/channels", KEY)
    [line] = [line for line in logs if line["event"] == "order_given"]

    assert line["by"] == "shop"
    assert (line["order"], line["user"]) == ("disconnect", "ann")
    assert (line["done"], line["nodes"], line["answered"]) == (1, 1, 1)
    assert "my words" not in str(line)


async def unavailable(*_: object) -> Any:
    """Answer as Redis does when it is away."""
    raise Unavailable("Redis does not answer")


UNCERTAIN = [
    *(one for one in ORDERS if one[0] != "GET"),
    ("DELETE", "/v1/users/ann/block", None),
    ("DELETE", "/v1/revoke", None),
]


@pytest.mark.parametrize(("method", "path", "body"), UNCERTAIN)
async def test_an_order_is_written_down_though_nobody_knows_what_came_of_it(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    body: object,
) -> None:
    """It may have been stored, and was obeyed here."""
    monkeypatch.setattr(world.node.parts.registry, "nodes", unavailable)
    monkeypatch.setattr(world.node.parts.blocks, "mark", unavailable)
    with capture_logs() as logs:
        answer = await world.ask(method, path, json=body, headers=KEY)
    [line] = [line for line in logs if line["event"] == "order_given"]

    assert answer.status == 503
    assert (line["by"], line["error"]) == ("shop", "Redis does not answer")


async def test_orders_under_dev_need_no_key() -> None:
    """And are written down as the developer's."""
    async with running(server=ServerSettings(dev=True)) as world:
        with capture_logs() as logs:
            answer = await world.post("/v1/users/ann/disconnect", {})
    assert answer.status == 200
    assert [line["by"] for line in logs if line["event"] == "order_given"] == ["dev"]
