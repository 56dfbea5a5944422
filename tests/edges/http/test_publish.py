"""Publications by request, to one channel and to many."""

from __future__ import annotations

import pytest

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


async def unavailable(channel: Channel, publication: Publication) -> None:
    """Stands in for a broker that is gone."""
    raise BrokerUnavailable("Redis does not answer")


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

    async def publish(channel: Channel, publication: Publication) -> None:
        tried.append(channel)
        await unavailable(channel, publication)

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
