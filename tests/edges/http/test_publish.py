"""Publications by request, to one channel and to many."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.adapters.broker.port import Placed, PublishOptions
from realtime.errors import BrokerUnavailable
from realtime.settings import LimitSettings
from realtime.testing.clock import settle
from realtime.types import Channel, Publication
from tests.edges.http.support import KEY, World, bearer, running, token

pytestmark = pytest.mark.anyio


async def test_a_publication_reaches_subscribers(world: World) -> None:
    """What is published arrives as it is on a stream that watches the channel."""
    stream = world.open("GET", "/v1/live?channel=chat:42", KEY)
    await settle()
    answer = await world.post(
        "/v1/publish", {"channel": "chat:42", "data": {"text": "hé"}}, KEY
    )
    await settle()
    assert (answer.status, answer.json) == (200, {"published": 1})
    assert '{"channel":"chat:42","data":{"text":"hé"}}' in stream.body.decode()


async def test_null_is_data(world: World) -> None:
    """Data may be null, but not be left out."""
    null = await world.post("/v1/publish", {"channel": "chat:42", "data": None}, KEY)
    missing = await world.post("/v1/publish", {"channel": "chat:42"}, KEY)
    assert null.status == 200
    assert (missing.status, missing.error["field"]) == (400, "data")


@pytest.mark.parametrize(
    "channel, status, name",
    [
        ("chat:42", 200, None),
        ("nowhere:1", 404, "unknown_channel"),
        ("chat", 400, "bad_channel"),
        ("chat:4 2", 400, "bad_channel"),
        ("live:likes;post=42;window=total", 403, "permission_denied"),
    ],
)
async def test_a_backend_publishes_where_something_is_declared(
    world: World, channel: str, status: int, name: str | None
) -> None:
    """Every channel of a declared namespace is open to it, live channels to nobody."""
    answer = await world.post("/v1/publish", {"channel": channel, "data": 1}, KEY)
    assert answer.status == status
    assert name is None or answer.error["name"] == name


@pytest.mark.parametrize(
    "channel, status",
    [("chat:42", 200), ("chat:43", 403), ("news:1", 403), ("lobby:1", 200)],
)
async def test_a_user_publishes_what_is_granted(
    world: World, channel: str, status: int
) -> None:
    """The token's grants and the namespace's openness decide."""
    headers = bearer(token(publish=["chat:42"]))
    answer = await world.post("/v1/publish", {"channel": channel, "data": 1}, headers)
    assert answer.status == status


async def test_what_is_kept_is_answered_with_its_place(world: World) -> None:
    """Offsets grow by one; channels without a history have none."""
    answers = [
        await world.post("/v1/publish", {"channel": "log:a", "data": n}, KEY)
        for n in range(2)
    ]
    first, second = (answer.json for answer in answers)
    assert (first["published"], first["offset"], second["offset"]) == (1, 1, 2)
    assert first["epoch"] == second["epoch"]


async def test_a_key_makes_repeating_safe(world: World) -> None:
    """The second time nothing is published; the same key of another is another."""
    body = {"channel": "log:a", "data": 1, "idempotency_key": "order-1"}
    first = await world.post("/v1/publish", body, KEY)
    again = await world.post("/v1/publish", body, KEY)
    other = await world.post("/v1/publish", body, bearer(token(publish=["log:*"])))
    assert (again.json["published"], again.json["skipped"]) == (0, "duplicate")
    assert again.json["offset"] == first.json["offset"] == 1
    assert (other.json["published"], other.json["offset"]) == (1, 2)


async def test_a_version_that_is_not_newer_is_not_published(world: World) -> None:
    """It needs a history, where the last version is kept."""

    async def publish(channel: str, version: int) -> Any:
        body = {"channel": channel, "data": version, "version": version}
        return await world.post("/v1/publish", body, KEY)

    made = [(await publish("log:a", version)).json for version in (3, 2, 3, 4)]
    refused = await publish("chat:42", 1)
    assert [one["published"] for one in made] == [1, 0, 0, 1]
    assert [one.get("skipped") for one in made] == [None, "stale", "stale", None]
    assert (refused.status, refused.error["field"]) == (404, "version")


async def test_tags_go_with_a_publication(world: World) -> None:
    """Tags are short strings, and few."""
    stream = world.open("GET", "/v1/live?channel=chat:42", KEY)
    await settle()
    body = {"channel": "chat:42", "data": 1, "tags": {"lang": "fr"}}
    await world.post("/v1/publish", body, KEY)
    await settle()
    wrong = await world.post("/v1/publish", {**body, "tags": {"lang": 1}}, KEY)
    assert '"tags":{"lang":"fr"}' in stream.body.decode()
    assert (wrong.status, wrong.error["field"]) == (400, "tags.lang")


async def test_a_broadcast_tells_the_places(world: World) -> None:
    """Of the channels that have one, and where it was skipped."""
    body = {"channels": ["log:a", "chat:1"], "data": 1, "idempotency_key": "k"}
    first = (await world.post("/v1/broadcast", body, KEY)).json
    again = (await world.post("/v1/broadcast", body, KEY)).json
    assert (first["published"], again["published"]) == (2, 0)
    assert [one["channel"] for one in first["placed"]] == ["log:a"]
    assert [one["skipped"] for one in again["placed"]] == ["duplicate"] * 2


async def test_a_large_publication_is_over_a_limit() -> None:
    """Data over max_publication_bytes is refused with the limit."""
    async with running(limits=LimitSettings(max_publication_bytes=16)) as world:
        answer = await world.post(
            "/v1/publish", {"channel": "chat:42", "data": "x" * 16}, KEY
        )
    assert (answer.status, answer.error["field"]) == (413, "data")


async def test_a_silent_broker_is_503(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the broker does not answer, the caller is told to repeat."""
    monkeypatch.setattr(world.adapters.broker, "publish", unavailable)
    answer = await world.post("/v1/publish", {"channel": "chat:42", "data": 1}, KEY)
    assert (answer.status, answer.error["name"]) == (503, "unavailable")


async def unavailable(publication: Publication, options: PublishOptions) -> None:
    """Stands in for a broker that is gone."""
    raise BrokerUnavailable("Redis does not answer")


async def test_what_only_neighbours_have_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one publication, and of each channel of a broadcast."""
    monkeypatch.setattr(world.adapters.broker, "publish", locally)
    one = await world.post("/v1/publish", {"channel": "chat:42", "data": 1}, KEY)
    many = await world.post("/v1/broadcast", {"channels": ["chat:42"], "data": 1}, KEY)
    assert one.json == {"published": 1, "local": True}
    assert many.json["placed"] == [{"channel": "chat:42", "local": True}]


async def locally(publication: Publication, options: PublishOptions) -> Placed:
    """Stands in for a broker that reaches nobody else."""
    return Placed(local=options.local)


# -- broadcast -------------------------------------------------------------------------


async def test_a_broadcast_reaches_every_channel_once(world: World) -> None:
    """A channel that is named twice gets one publication."""
    stream = world.open("GET", "/v1/live?channel=chat:1&channel=chat:2", KEY)
    await settle()
    answer = await world.post(
        "/v1/broadcast", {"channels": ["chat:1", "chat:2", "chat:1"], "data": 7}, KEY
    )
    await settle()
    assert answer.json == {"published": 2, "errors": []}
    assert stream.body.count(b"event: push") == 2


async def test_a_broadcast_tells_what_failed(world: World) -> None:
    """Channels that failed are told one by one; the others were published to."""
    channels = ["chat:1", "nowhere:1", "chat", "live:likes;post=1"]
    answer = await world.post("/v1/broadcast", {"channels": channels, "data": 7}, KEY)
    failed = {one["channel"]: one["name"] for one in answer.json["errors"]}
    assert answer.json["published"] == 1
    assert failed == {
        "nowhere:1": "unknown_channel",
        "chat": "bad_channel",
        "live:likes;post=1": "permission_denied",
    }


async def test_a_broadcast_gives_up_on_a_silent_broker(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first channel that could not be handed over, no other is tried."""
    tried: list[Channel] = []

    async def publish(publication: Publication, options: PublishOptions) -> None:
        tried.append(publication.channel)
        await unavailable(publication, options)

    monkeypatch.setattr(world.adapters.broker, "publish", publish)
    channels = ["chat:1", "chat:2", "nowhere:1"]
    answer = await world.post("/v1/broadcast", {"channels": channels, "data": 7}, KEY)
    assert answer.json["published"] == 0
    assert {one["name"] for one in answer.json["errors"]} == {"unavailable"}
    assert tried == ["chat:1"]


@pytest.mark.parametrize(
    "channels", [[], ["chat:1"] * 1001, "chat:1", ["chat:1", 7], None]
)
async def test_channels_are_a_bounded_array_of_strings(
    world: World, channels: object
) -> None:
    """Anything else is refused by field."""
    answer = await world.post("/v1/broadcast", {"channels": channels, "data": 7}, KEY)
    assert (answer.status, answer.error["field"]) == (400, "channels")
