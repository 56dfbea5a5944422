"""Members over HTTP, and who is online."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.errors import Unavailable
from realtime.testing.client import MemoryClient
from realtime.testing.clock import settle
from tests.edges.http.support import KEY, World, bearer, token

pytestmark = pytest.mark.anyio

ROOM = "/v1/channels/room:42/presence"


async def member(world: World, user: str | None, channel: str = "room:42") -> str:
    """Somebody on a channel; returns the connection's name."""
    client = MemoryClient(world.node)
    welcome = await client.hello(token=token(user, info={"name": user}))
    [answer] = await client.say("subscribe", id=1, channel=channel)
    assert answer["type"] == "subscribed"
    return str(welcome["connection"])


async def test_a_backend_reads_the_members(world: World) -> None:
    """All of them, with what their tokens tell of them."""
    guest, anna = await member(world, None), await member(world, "anna")
    answer = await world.get(ROOM, KEY)
    assert answer.status == 200
    assert answer.json == {
        "channel": "room:42",
        "members": [
            {"client": guest, "info": {"name": None}},
            {"client": anna, "user": "anna", "info": {"name": "anna"}},
        ],
    }


async def test_members_come_in_pages(world: World) -> None:
    """A cursor leads from page to page, until there is none."""
    expected = {await member(world, f"user-{number}") for number in range(5)}
    found: list[Any] = []
    query = "?limit=2"
    while query:
        page = (await world.get(ROOM + query, KEY)).json
        assert len(page["members"]) <= 2
        found += [each["client"] for each in page["members"]]
        query = f"?limit=2&cursor={page['cursor']}" if "cursor" in page else ""
    assert (len(found), set(found)) == (5, expected)


async def test_members_are_counted(world: World) -> None:
    """Connections and users, each for itself; no one where nobody is."""
    for user in ("anna", "anna", None):
        await member(world, user)
    answer = await world.get(f"{ROOM}/stats", KEY)
    assert answer.json == {"channel": "room:42", "clients": 3, "users": 1}
    empty = await world.get("/v1/channels/room:none/presence/stats", KEY)
    assert empty.json == {"channel": "room:none", "clients": 0, "users": 0}


async def test_a_channel_may_have_slashes(world: World) -> None:
    """What stands before /presence is its name."""
    await member(world, "anna", "room:a/presence")
    answer = await world.get("/v1/channels/room:a/presence/presence/stats", KEY)
    assert answer.json["clients"] == 1


@pytest.mark.parametrize(
    "path, status, field",
    [
        (f"{ROOM}?limit=0", 400, "limit"),
        (f"{ROOM}?limit=x", 400, "limit"),
        (f"{ROOM}?cursor=x", 400, "cursor"),
        (f"{ROOM}?page=1", 400, "page"),
        (f"{ROOM}/stats?limit=1", 400, "limit"),
        ("/v1/channels/nowhere:1/presence", 404, "channel"),
        ("/v1/channels/chat:1/presence", 404, "channel"),
        ("/v1/channels/live:likes/presence", 404, "channel"),
        ("/v1/users/anna/online?x=1", 400, "x"),
        ("/v1/channels/room:4\n2/presence", 400, "channel"),
        ("/v1/nothing\n", 404, None),
    ],
)
async def test_what_is_wrong_is_named(
    world: World, path: str, status: int, field: str | None
) -> None:
    """A parameter, or a channel whose members are not known."""
    answer = await world.get(path, KEY)
    assert (answer.status, answer.error.get("field")) == (status, field)


async def test_a_user_sees_what_its_token_grants(world: World) -> None:
    """The members, not whether others are online: that is for backends."""
    granted, not_granted = bearer(token(members=["room:*"])), bearer(token())
    assert (await world.get(ROOM, granted)).status == 200
    assert (await world.get(f"{ROOM}/stats", not_granted)).status == 403
    assert (await world.get("/v1/users/ann/online", granted)).status == 403
    asked = await world.post("/v1/users/online", {"users": ["ann"]}, granted)
    assert asked.status == 403


async def test_a_backend_asks_who_is_online(world: World) -> None:
    """One user, or many at once."""
    client = MemoryClient(world.node)
    await client.hello(token=token("an/na"))
    await settle()
    one = await world.get("/v1/users/an/na/online", KEY)
    assert one.json == {"user": "an/na", "online": True}
    other = await world.get("/v1/users/ben/online", KEY)
    assert other.json == {"user": "ben", "online": False}
    names = ["an/na", "ben", *(f"user-{number}" for number in range(300)), "ben"]
    many = await world.post("/v1/users/online", {"users": names}, KEY)
    assert many.status == 200
    assert len(many.json["online"]) == 302
    assert [name for name, online in many.json["online"].items() if online] == ["an/na"]


async def test_an_unavailable_store_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it answers 503, and says when to try again."""

    async def fail(*arguments: object) -> None:
        raise Unavailable("Redis does not answer")

    for name in ("members", "stats", "connections"):
        monkeypatch.setattr(world.adapters.presence, name, fail)
    for path in (ROOM, f"{ROOM}/stats", "/v1/users/anna/online"):
        answer = await world.get(path, KEY)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    asked = await world.post("/v1/users/online", {"users": ["a", "b"]}, KEY)
    assert asked.status == 503
