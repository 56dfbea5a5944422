"""Notices: in order, again and again, until they are taken or too old."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from realtime.adapters.redis.backoff import Backoff
from realtime.adapters.webhooks import notices as notices_room
from realtime.adapters.webhooks.notices import Notices
from realtime.adapters.webhooks.queue import MemoryQueue
from realtime.adapters.webhooks.signed import DeliveryFailed
from realtime.settings import WebhookSettings
from realtime.testing.clock import ManualClock, settle

pytestmark = pytest.mark.anyio


class Client:
    """A backend that fails with what is in ``fails``, and takes everything else."""

    def __init__(self) -> None:
        self.fails: list[DeliveryFailed] = []
        self.always: DeliveryFailed | None = None
        self.refuses: str | None = None  # a user whose notices are not wanted
        self.gate = asyncio.Event()
        self.gate.set()
        self.taken: list[dict[str, Any]] = []
        self.posts = 0

    async def post(self, id: str, body: bytes) -> bytes:
        self.posts += 1
        await self.gate.wait()
        if self.fails:
            raise self.fails.pop(0)
        if self.always is not None:
            raise self.always
        told = orjson.loads(body)
        if any(one["user"] == self.refuses for one in told["notices"]):
            raise DeliveryFailed("it answered with status 422", 422)
        self.taken += told["notices"]
        return b""

    async def aclose(self) -> None: ...

    @property
    def users(self) -> list[str]:
        """Of whom it was told, in order."""
        return [one["user"] for one in self.taken]


class World:
    """Notices to such a backend."""

    def __init__(self, max_waiting: int = 1000) -> None:
        self.client = Client()
        self.clock = ManualClock()
        self.outcomes: dict[str, int] = {}
        self.failures = 0
        settings = WebhookSettings(events=("user_online",), give_up_s=300.0)
        backoff = Backoff(0.5, 30.0, Random(1))
        self.queue = MemoryQueue(max_waiting)
        self.notices = Notices(settings, self.client, self.queue, self.clock, backoff)
        self.notices.on_settled = self._settled
        self.notices.on_failed = self._failed

    def _settled(self, outcome: str, number: int) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + number

    def _failed(self) -> None:
        self.failures += 1

    def tell(self, *users: str) -> None:
        """These have come online."""
        for user in users:
            self.notices.put("user_online", {"user": user})

    async def __aenter__(self) -> World:
        self.notices.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.notices.aclose()


async def test_notices_go_in_order_and_together() -> None:
    """Those that wait, in one request; each with an id, its event and its time."""
    async with World() as world:
        world.tell("ann", "ben")
        await settle()
        world.client.gate.clear()
        world.tell("cid")
        await settle()
        world.tell("dan", "eve")
        await settle()
        world.client.gate.set()
        await settle()
        assert world.client.users == ["ann", "ben", "cid", "dan", "eve"]
        assert world.client.posts == 3
        first = world.client.taken[0]
        assert (first["event"], first["at"]) == ("user_online", 1_700_000_000.0)
        assert len({one["id"] for one in world.client.taken}) == 5
        assert world.outcomes == {"delivered": 5}
        assert world.notices.waiting == 0


async def test_only_what_is_wanted_is_told() -> None:
    """Other events cost nothing."""
    async with World() as world:
        world.notices.put("user_offline", {"user": "ann"})
        await settle()
        assert world.client.posts == 0


async def test_what_is_not_taken_is_sent_again() -> None:
    """The same notices under the same ids, before all later ones."""
    async with World() as world:
        world.client.fails = [DeliveryFailed("no answer within 5 s")] * 3
        world.tell("ann")
        await settle()
        world.tell("ben")
        await world.clock.elapse(60)
        assert world.client.users == ["ann", "ben"]
        assert (world.failures, world.client.posts) == (3, 5)
        assert world.outcomes == {"delivered": 2}


async def test_pauses_grow_and_are_bounded() -> None:
    """A backend that is away for long is asked about twice a minute or more often."""
    async with World() as world:
        world.client.always = DeliveryFailed("it answered with status 500", 500)
        world.tell("ann")
        await world.clock.elapse(10)
        early = world.client.posts
        await world.clock.elapse(200)
        assert 3 <= early <= 30
        assert 200 / 30 <= world.client.posts - early <= 60
        world.client.always = None
        await world.clock.elapse(30)


async def test_a_pause_that_the_backend_asks_for_is_kept() -> None:
    """As Retry-After says it."""
    async with World() as world:
        world.client.fails = [DeliveryFailed("status 429", 429, retry_after_s=20.0)]
        world.tell("ann")
        await world.clock.elapse(19.9)
        assert world.client.posts == 1
        await world.clock.elapse(0.2)
        assert world.client.users == ["ann"]


async def test_what_is_too_old_is_given_up() -> None:
    """And counted; what came later goes on."""
    async with World() as world:
        world.client.always = DeliveryFailed("it cannot be reached")
        with capture_logs() as logs:
            world.tell("ann")
            await world.clock.elapse(200)
            world.tell("ben")
            await world.clock.elapse(135)
            assert world.outcomes == {"given_up": 1}
            world.client.always = None
            await world.clock.elapse(35)
        assert world.client.users == ["ben"]
        told = [line["event"] for line in logs]
        assert told == ["notices_not_taken", "notices_taken_again"]


async def test_the_oldest_is_dropped_when_too_many_wait() -> None:
    """What is under way is not."""
    async with World(max_waiting=3) as world:
        world.client.gate.clear()
        world.tell("ann")
        await settle()
        world.tell("ben", "cid", "dan", "eve")
        assert world.notices.waiting == 3
        world.client.gate.set()
        await settle()
        assert world.client.users == ["ann", "dan", "eve"]
        assert world.outcomes == {"dropped": 2, "delivered": 3}


async def test_a_notice_that_is_refused_does_not_hold_the_others() -> None:
    """Each is sent alone then, and the one that is not wanted is counted."""
    async with World() as world:
        world.client.refuses = "ben"
        world.tell("ann", "ben", "cid")
        await settle()
        assert world.client.users == ["ann", "cid"]
        assert world.outcomes == {"delivered": 2, "refused": 1}
        world.tell("dan")
        await settle()
        assert world.client.users[-1] == "dan"


async def test_closing_delivers_what_is_quick() -> None:
    """The last goodbyes of a server that stops."""
    async with World() as world:
        world.tell("ann", "ben")
    assert world.client.users == ["ann", "ben"]


async def test_closing_waits_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lost is counted, and in the log."""
    monkeypatch.setattr(notices_room, "FLUSH_S", 0.05)
    with capture_logs() as logs:
        async with World() as world:
            world.client.always = DeliveryFailed("it cannot be reached")
            world.tell("ann", "ben")
            await settle()
    assert world.outcomes == {"lost": 2}
    assert {"event": "notices_lost", "notices": 2, "log_level": "warning"} in logs
