"""Publishing over a socket: kept, once, in order of versions, not to oneself."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.adapters.broker.port import Placed, PublishOptions
from realtime.testing.client import MemoryClient
from realtime.testing.clock import settle
from realtime.types import Channel, Publication
from tests.engine.recovery_support import (
    PAGE,
    A,
    broker_of,
    cluster,
    data,
    guest,
    publish,
    since,
    subscriber,
)

pytestmark = pytest.mark.anyio


async def say(client: MemoryClient, value: object, **fields: Any) -> dict[str, Any]:
    """Publish; return the answer, among whatever else has come."""
    fields = {"channel": A, **fields}
    answers = await client.say("publish", id=1, data=value, **fields)
    [answer] = [one for one in answers if one.get("id") == 1]
    return answer


async def test_published_tells_the_position() -> None:
    """Where there is one."""
    async with cluster(1) as ([node], _):
        client = await guest(node)
        kept = [await say(client, n) for n in range(2)]
        plain = await say(client, 1, channel="plain:a")

        assert [one["offset"] for one in kept] == [1, 2]
        assert kept[0]["epoch"] == kept[1]["epoch"]
        assert plain == {"type": "published", "id": 1}


async def test_a_publication_is_repeated_without_harm() -> None:
    """On another node, too; the answer has the position of the first."""
    async with cluster() as ([one, two], _):
        reader, _ = await subscriber(one)
        first = await say(await guest(one), 1, idempotency_key="a")
        again = await say(await guest(two), 1, idempotency_key="a")
        await settle()

        assert (again["skipped"], again["offset"]) == ("duplicate", first["offset"])
        assert data(reader.take()) == [1]


async def test_keys_are_remembered_without_a_history_too() -> None:
    """Then there is no position to tell."""
    async with cluster(1) as ([node], _):
        reader, _ = await subscriber(node, Channel("plain:a"))
        client = await guest(node)
        fields = {"channel": "plain:a", "idempotency_key": "a"}
        answers = [await say(client, 1, **fields) for _ in range(2)]
        await settle()

        assert [one.get("skipped") for one in answers] == [None, "duplicate"]
        assert data(reader.take()) == [1]


async def test_what_is_not_newer_is_not_published() -> None:
    """By version, whoever publishes it."""
    async with cluster(1) as ([node], _):
        reader, _ = await subscriber(node)
        client = await guest(node)
        answers = [await say(client, n, version=n) for n in (5, 4, 6)]
        await settle()

        assert [one.get("skipped") for one in answers] == [None, "stale", None]
        assert data(reader.take()) == [5, 6]


async def test_a_version_needs_a_history() -> None:
    """The error says which setting would help."""
    async with cluster(1) as ([node], _):
        client = await guest(node)
        answer = await say(client, 1, channel="plain:a", version=1)

        assert (answer["name"], answer["field"]) == ("not_available", "version")
        assert "history_size" in answer["reason"]


async def test_who_publishes_may_leave_itself_out() -> None:
    """The others get it, also on other nodes; the offsets go on."""
    async with cluster() as ([one, two], _):
        author, _ = await subscriber(one)
        other, _ = await subscriber(two)
        await say(author, 1, exclude_self=True)
        await settle()
        excluded = author.take()
        await say(author, 2)
        await settle()

        assert excluded == []
        assert data(other.take()) == [1, 2]


async def test_tags_travel_with_a_publication() -> None:
    """And are there when it is recovered."""
    async with cluster() as ([one, two], _):
        reader, told = await subscriber(one)
        await say(await guest(one), 1, tags={"lang": "fr"})
        await settle()
        [push] = reader.take()
        _, again = await subscriber(two, since=since(told))

        assert push["tags"] == {"lang": "fr"}
        assert again["publications"] == [
            {"data": 1, "offset": 1, "tags": {"lang": "fr"}}
        ]


# -- history ---------------------------------------------------------------------------


async def test_a_client_may_read_the_history() -> None:
    """A page at most, in either direction; 0 asks for the position alone."""
    async with cluster(1) as ([node], _):
        await publish(node, *range(6))
        client = await guest(node)
        [page] = await client.say("history", id=3, channel=A)
        place = since(page, PAGE)
        [rest] = await client.say("history", channel=A, since=place, limit=100)
        [back] = await client.say("history", channel=A, limit=2, reverse=True)
        [top] = await client.say("history", channel=A, limit=0)

        assert (page["type"], page["id"], page["offset"]) == ("history", 3, 6)
        assert [one["data"] for one in page["publications"]] == [0, 1, 2, 3]
        assert (page["complete"], page["more"]) == (True, True)
        assert [one["data"] for one in rest["publications"]] == [4, 5]
        assert [one["data"] for one in back["publications"]] == [5, 4]
        assert (top["publications"], top["offset"]) == ([], 6)


async def test_there_is_no_history_where_none_is_kept() -> None:
    """Nor of live channels."""
    async with cluster(1) as ([node], _):
        client = await guest(node)
        [plain] = await client.say("history", channel="plain:a")
        [live] = await client.say("history", channel="live:likes")

        assert plain["name"] == live["name"] == "not_available"


async def test_reading_needs_another_grant_than_recovering() -> None:
    """Who may subscribe may have what it missed, and no more."""
    async with cluster(1) as ([node], _):
        client = await guest(node)
        price = Channel("price:x")
        await publish(node, 1, channel=price)
        [refused] = await client.say("history", channel=price)
        [told] = await client.say("subscribe", channel=price)

        assert (refused["name"], told["data"]) == ("permission_denied", 1)


async def test_a_broker_that_is_away_is_told() -> None:
    """Publishing and reading may be tried again."""
    async with cluster(1) as ([node], _):
        client = await guest(node)
        await broker_of(node).aclose()
        answer = await say(client, 1)
        [page] = await client.say("history", channel=A)

        assert answer["name"] == page["name"] == "unavailable"
        assert answer["retry"] == page["retry"] == "later"


@pytest.mark.parametrize("fields", [{}, {"idempotency_key": "k"}], ids=["plain", "key"])
async def test_what_only_neighbours_have_is_told(
    fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for where nothing is kept, and means nothing with a key."""

    async def locally(publication: Publication, options: PublishOptions) -> Placed:
        return Placed(local=options.local and options.idempotency_key is None)

    async with cluster(1) as ([node], _):
        client = await guest(node)
        monkeypatch.setattr(broker_of(node), "publish", locally)
        answer = await say(client, 1, channel=Channel("plain:x"), **fields)

        assert answer.get("local", False) is not bool(fields), answer
