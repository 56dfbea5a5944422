"""What a channel has kept, by request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.edges.http.support import KEY, World, bearer, token

pytestmark = pytest.mark.anyio

PATH = "/v1/channels/log:a/history"


async def fill(world: World, count: int) -> Any:
    """Publish numbers; return what the last one was answered with."""
    for number in range(count):
        answer = await world.post(
            "/v1/publish", {"channel": "log:a", "data": {"n": number}}, KEY
        )
    return answer.json


async def test_a_page_begins_with_the_oldest(world: World) -> None:
    """With the position of the newest that was ever made."""
    last = await fill(world, 3)
    page = (await world.get(f"{PATH}?limit=2", KEY)).json
    assert [one["data"]["n"] for one in page["publications"]] == [0, 1]
    assert [one["offset"] for one in page["publications"]] == [1, 2]
    assert (page["offset"], page["epoch"]) == (3, last["epoch"])
    assert (page["complete"], page["more"]) == (True, True)


async def test_a_page_goes_on_after_a_position(world: World) -> None:
    """What has been trimmed before it makes it incomplete."""
    epoch = (await fill(world, 7))["epoch"]
    page = (await world.get(f"{PATH}?offset=5&epoch={epoch}", KEY)).json
    gone = (await world.get(f"{PATH}?offset=1&epoch={epoch}", KEY)).json
    assert [one["offset"] for one in page["publications"]] == [6, 7]
    assert (page["complete"], gone["complete"]) == (True, False)


async def test_a_page_may_go_backwards(world: World) -> None:
    """From the newest, or from before a position."""
    epoch = (await fill(world, 4))["epoch"]
    newest = (await world.get(f"{PATH}?reverse=true&limit=2", KEY)).json
    older = (await world.get(f"{PATH}?reverse=true&offset=3&epoch={epoch}", KEY)).json
    assert [one["offset"] for one in newest["publications"]] == [4, 3]
    assert [one["offset"] for one in older["publications"]] == [2, 1]


async def test_a_limit_of_none_asks_for_the_position(world: World) -> None:
    """Nothing else is read."""
    await fill(world, 2)
    page = (await world.get(f"{PATH}?limit=0", KEY)).json
    assert (page["publications"], page["offset"]) == ([], 2)


@pytest.mark.parametrize(
    "query, field",
    [
        ("offset=1", "epoch"),
        ("epoch=x", "offset"),
        ("offset=-1&epoch=x", "offset"),
        ("limit=x", "limit"),
        ("reverse=yes", "reverse"),
        ("since=1", "since"),
    ],
)
async def test_what_is_wrong_is_named(world: World, query: str, field: str) -> None:
    """A position has two parts."""
    answer = await world.get(f"{PATH}?{query}", KEY)
    assert (answer.status, answer.error["field"]) == (400, field)


async def test_reading_needs_a_grant(world: World) -> None:
    """Of the token, or of the namespace; subscribing is another."""
    none = await world.get(PATH, bearer(token(subscribe=["log:*"])))
    granted = await world.get(PATH, bearer(token(history=["log:*"])))
    assert (none.status, granted.status) == (403, 200)


async def test_nothing_is_kept_where_nothing_is_declared(world: World) -> None:
    """The answer says which setting would."""
    answer = await world.get("/v1/channels/chat:42/history", KEY)
    assert (answer.status, answer.error["name"]) == (404, "not_available")
    assert "history_size" in answer.error["reason"]


async def test_backends_may_remove_what_is_kept(world: World) -> None:
    """The offsets go on; users may not, whatever they are granted."""
    await fill(world, 2)
    user = bearer(token(history=["log:*"], publish=["log:*"]))
    refused = await world.ask("DELETE", PATH, headers=user)
    removed = await world.ask("DELETE", PATH, headers=KEY)
    page = (await world.get(PATH, KEY)).json
    assert (refused.status, removed.status) == (403, 200)
    assert (page["publications"], page["offset"]) == ([], 2)
