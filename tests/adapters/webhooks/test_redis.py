"""Notices that wait in Redis: in order over all nodes, and outliving them."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from realtime.adapters.redis.backoff import Backoff
from realtime.adapters.redis.client import RedisLink
from realtime.adapters.webhooks import redis as redis_room
from realtime.adapters.webhooks.notices import Notices
from realtime.adapters.webhooks.queue import Notice
from realtime.adapters.webhooks.redis import RedisQueue
from realtime.adapters.webhooks.signed import DeliveryFailed
from realtime.clock import SystemClock
from realtime.settings import RedisSettings, WebhookSettings
from realtime.testing.servers import ValkeyServer
from tests.adapters.conftest import MakeLink
from tests.adapters.webhooks.test_notices import Client
from tests.engine.hooks.support import until

pytestmark = pytest.mark.anyio

NUMBERS = itertools.count()


class Node:
    """One node's notices, all of them to the same backend."""

    def __init__(self, link: RedisLink, prefix: str, name: str, client: Client) -> None:
        self.outcomes: dict[str, int] = {}
        self.queue = RedisQueue(link, prefix, name, 100, SystemClock())
        settings = WebhookSettings(events=("user_online",), give_up_s=300.0)
        backoff = Backoff(0.01, 0.05)
        self.notices = Notices(settings, client, self.queue, SystemClock(), backoff)
        self.notices.on_settled = self._settled

    def _settled(self, outcome: str, number: int) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + number

    def tell(self, *users: str) -> None:
        """These have come online."""
        for user in users:
            self.notices.put("user_online", {"user": user})

    async def die(self) -> None:
        """End as a killed process does: nothing is finished, nothing given back."""
        tasks = [*self.queue._tasks, self.notices._running]
        for task in tasks:
            assert task is not None
            task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases of tests are short."""
    monkeypatch.setattr(redis_room, "LEASE_S", 1.0)
    monkeypatch.setattr(redis_room, "POLL_S", 0.01)
    monkeypatch.setattr(redis_room, "IDLE_S", 0.02)
    monkeypatch.setattr(redis_room, "RETRY_S", 0.05)


Cluster = Callable[[], Node]


@asynccontextmanager
async def nodes(
    make_link: MakeLink, url: str, client: Client
) -> AsyncIterator[Cluster]:
    """Make nodes of one deployment; those that still live are closed at the end."""
    prefix = f"notices-{os.getpid()}-{next(NUMBERS)}"
    link = make_link(url)
    await link.start()
    made: list[Node] = []

    def make() -> Node:
        node = Node(link, prefix, f"n{len(made)}", client)
        node.notices.start()
        made.append(node)
        return node

    yield make
    for node in made:
        await node.notices.aclose()


async def test_notices_of_all_nodes_are_delivered_by_one(
    make_link: MakeLink, valkey: ValkeyServer
) -> None:
    """In the order in which they were written, each once."""
    client = Client()
    async with nodes(make_link, valkey.url, client) as make:
        one, other = make(), make()
        for number in range(20):
            (one, other)[number % 2].tell(str(number))
            await until(lambda: not (one.queue._unwritten or other.queue._unwritten))
        await until(lambda: len(client.taken) == 20)
        assert client.users == [str(number) for number in range(20)]
        assert sorted(map(bool, (one.outcomes, other.outcomes))) == [False, True]


async def test_what_a_killed_node_has_left_is_delivered_by_another(
    make_link: MakeLink, valkey: ValkeyServer
) -> None:
    """When its lease has expired; what it was sending comes again, by the same id."""
    client = Client()
    async with nodes(make_link, valkey.url, client) as make:
        first = make()
        await until(lambda: first.queue._leads)
        client.gate.clear()
        first.tell("ann", "ben")
        await until(lambda: client.posts == 1)
        await first.die()
        client.gate.set()
        make()
        await until(lambda: len(client.taken) == 2)
        assert client.users == ["ann", "ben"]


async def test_who_ends_in_order_hands_over_at_once(
    make_link: MakeLink, valkey: ValkeyServer
) -> None:
    """After it has delivered what there was."""
    client = Client()
    async with nodes(make_link, valkey.url, client) as make:
        first, second = make(), make()
        await until(lambda: first.queue._leads or second.queue._leads)
        leader = first if first.queue._leads else second
        heir = second if leader is first else first
        leader.tell("ann")
        await leader.notices.aclose()
        assert client.users == ["ann"]
        assert "lost" not in leader.outcomes
        heir.tell("ben")
        await until(lambda: client.users == ["ann", "ben"])


async def test_a_lease_is_kept_while_a_backend_is_slow(
    make_link: MakeLink, valkey: ValkeyServer
) -> None:
    """Nobody else sends the same meanwhile."""
    client = Client()
    async with nodes(make_link, valkey.url, client) as make:
        first, second = make(), make()
        client.gate.clear()
        first.tell("ann")
        await until(lambda: client.posts == 1)
        began = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > began + 2.0)
        assert client.posts == 1
        client.gate.set()
        await until(lambda: client.taken)
        assert client.users == ["ann"]
        assert first.queue._leads != second.queue._leads


async def test_while_redis_is_away_notices_wait_here(
    make_link: MakeLink, victim: ValkeyServer
) -> None:
    """And are delivered when it is back."""
    client = Client()
    async with nodes(make_link, victim.url, client) as make:
        node = make()
        await until(lambda: node.queue._leads)
        victim.kill()
        node.tell("ann", "ben")
        await until(lambda: not node.queue._leads)
        assert node.notices.waiting == 2
        victim.start()
        await until(lambda: len(client.taken) == 2)
        assert client.users == ["ann", "ben"]
        assert node.notices.waiting == 0


async def test_the_stream_is_bounded(make_link: MakeLink, valkey: ValkeyServer) -> None:
    """The oldest are dropped, and counted."""
    client = Client()
    client.always = DeliveryFailed("it cannot be reached")
    async with nodes(make_link, valkey.url, client) as make:
        node = make()
        for number in range(4):
            node.tell(*(str(number) for _ in range(50)))
            await until(lambda: not node.queue._unwritten)
        assert node.outcomes == {"dropped": 100}
        client.always = None
        await until(lambda: client.taken and client.users[-1] == "3")


async def test_what_was_written_twice_is_delivered_once(
    make_link: MakeLink, valkey: ValkeyServer
) -> None:
    """As after an answer of Redis that was lost."""
    client = Client()
    client.gate.clear()
    async with nodes(make_link, valkey.url, client) as make:
        node = make()
        notice = Notice("n1", "user_online", 1e10, {"user": "ann"})
        node.queue.put(notice)
        node.queue.put(notice)
        await until(lambda: not node.queue._unwritten)
        client.gate.set()
        await until(lambda: client.taken and node.notices.waiting == 0)
        await node.queue.drained()
        ids: set[Any] = {one["id"] for one in client.taken}
        assert ids == {"n1"}


async def test_a_cluster_keeps_it_all_in_one_slot(make_link: MakeLink) -> None:
    """Stream and lease belong together."""
    settings = RedisSettings("redis://127.0.0.1:1", prefix="realtime")
    link = RedisLink(settings)
    queue = RedisQueue(link, "realtime", "n1", 10, SystemClock())
    tag = b"{realtime:notices}"
    assert queue._stream.startswith(tag)
    assert queue._lease.startswith(tag)
