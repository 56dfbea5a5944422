"""Hooks and what comes by HTTP: users are asked about, backends are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from realtime.core.hook_answers import HookFailed
from realtime.engine.hooks import HookParts, Outcome
from realtime.hooks import ChangePublication, Deny, Point, RejectEvent, User
from tests.edges.http.support import KEY, World, bearer, running, token

pytestmark = pytest.mark.anyio

ANN = bearer(token(track=["like"], publish=["chat:*"], subscribe=["live:*"]))


class Answering:
    """An asker that answers at once."""

    place = "a test"

    def __init__(self, **hooks: Callable[[Any], object]) -> None:
        self.points = frozenset(map(Point, hooks))
        self._hooks = hooks
        self.asked: list[Any] = []

    async def start(self) -> None: ...

    def begin(self, point: Point, request: object) -> asyncio.Future[Outcome]:
        self.asked.append(request)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        try:
            future.set_result((self._hooks[point](request), None))
        except (Deny, HookFailed) as exc:
            future.set_result((None, exc))
        return future

    def timed_out(self) -> None: ...

    async def aclose(self) -> None: ...


@asynccontextmanager
async def hooked(
    **hooks: Callable[[Any], object],
) -> AsyncIterator[tuple[World, Answering]]:
    """A server with these hooks."""
    asker = Answering(**hooks)
    async with running(hooks=HookParts(askers=[asker])) as world:
        yield world, asker


def deny(request: object) -> None:
    """Refuse everything."""
    raise Deny("not today")


def fail(request: object) -> None:
    """Give no answer."""
    raise HookFailed("it is away")


async def test_a_hook_knows_whom_a_request_comes_from() -> None:
    """By a token of any kind, with the address of the sender."""

    def authenticate(request: Any) -> User | None:
        return User("ann", publish=["chat:*"]) if request.token == "cookie" else None

    async with hooked(authenticate=authenticate) as (world, asker):
        said = {"channel": "chat:1", "data": 1}
        assert (await world.post("/v1/publish", said, bearer("cookie"))).status == 200
        assert (await world.post("/v1/publish", said, bearer("other"))).status == 401
        assert (await world.post("/v1/publish", said, ANN)).status == 200
        assert {(one.purpose, one.remote) for one in asker.asked} == {
            ("request", "127.0.0.1")
        }
        asker.asked.clear()
        assert (await world.post("/v1/publish", said, KEY)).status == 200
        assert asker.asked == []


async def test_publications_of_users_are_asked_about() -> None:
    """Those of backends are not."""
    async with hooked(on_publish=deny) as (world, asker):
        said = {"channel": "chat:1", "data": 1}
        answer = await world.post("/v1/publish", said, ANN)
        assert (answer.status, answer.error["reason"]) == (403, "not today")
        assert (await world.post("/v1/publish", said, KEY)).status == 200
        [request] = asker.asked
        assert (request.user, request.connection, request.data) == ("ann", None, 1)


async def test_what_the_hook_makes_of_it_is_published() -> None:
    """As on a socket."""

    def change(request: Any) -> ChangePublication:
        return ChangePublication({"was": request.data})

    async with hooked(on_publish=change) as (world, _):
        published = []
        broker = world.adapters.broker
        publish = broker.publish

        async def note(publication: Any, *more: Any, **options: Any) -> Any:
            published.append(publication.data)
            return await publish(publication, *more, **options)

        broker.publish = note  # type: ignore[method-assign]
        await world.post("/v1/publish", {"channel": "chat:1", "data": 1}, ANN)
        assert published == [b'{"was":1}']


async def test_events_of_users_are_asked_about() -> None:
    """Those of backends are not, even when they name a user."""

    def reject(batch: Any) -> list[RejectEvent]:
        return [RejectEvent("not today") for _ in batch.events]

    async with hooked(on_events=reject) as (world, asker):
        batch = {"device": "d1", "first": 1, "events": [{"name": "like"}]}
        answer = await world.post("/v1/events", batch, ANN)
        assert answer.json["acked"] == 1
        [rejected] = answer.json["rejected"]
        assert (rejected["code"], rejected["reason"]) == (207, "not today")
        again = await world.post("/v1/events", batch, ANN)
        assert again.json == {"acked": 1, "rejected": []}
        asker.asked.clear()
        answer = await world.post(
            "/v1/events", {**batch, "device": "b1", "user": "ann"}, KEY
        )
        assert answer.json == {"acked": 1, "rejected": []}
        assert asker.asked == []


async def test_reading_counters_is_asked_about() -> None:
    """One value, a list of cells, a stream."""
    async with hooked(authorise_subscribe=deny) as (world, asker):
        for path in (
            "/v1/counters/likes?post=42",
            "/v1/counters/likes/cells",
            "/v1/live?channel=live:likes;post=42;window=total",
        ):
            answer = await world.get(path, ANN)
            assert (answer.status, answer.error["reason"]) == (403, "not today"), path
        assert [request.channel for request in asker.asked] == [
            "live:likes;post=42;window=total",
            "live:likes",
            "live:likes;post=42;window=total",
        ]
        assert (await world.get("/v1/counters/likes?post=42", KEY)).status == 200
        assert len(asker.asked) == 3


@pytest.mark.parametrize(
    ("point", "path", "said"),
    [
        ("authenticate", "/v1/publish", {"channel": "chat:1", "data": 1}),
        ("on_publish", "/v1/publish", {"channel": "chat:1", "data": 1}),
        (
            "on_events",
            "/v1/events",
            {"device": "d1", "first": 1, "events": [{"name": "like"}]},
        ),
    ],
)
async def test_a_hook_that_fails_is_503(point: str, path: str, said: Any) -> None:
    """With a delay, after which the same may succeed; nothing was counted."""
    async with hooked(**{point: fail}) as (world, _):
        answer = await world.post(path, said, ANN)
        assert (answer.status, answer.error["name"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert world.node.ingest.pending_events == 0
