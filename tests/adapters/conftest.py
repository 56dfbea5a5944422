"""Servers for the tests of the Redis forms: shared ones, and ones to be broken."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from realtime.adapters.redis.backoff import Backoff
from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.pubsub import PubSub
from realtime.settings import RedisSettings
from realtime.testing.servers import ValkeyCluster, ValkeyServer
from tests.contracts.conftest import valkey

__all__ = ["valkey"]

MakeLink = Callable[..., RedisLink]
MakePubSub = Callable[[RedisLink], PubSub]


@pytest.fixture
def victim() -> Iterator[ValkeyServer]:
    """A server of one test's own, durable, to be paused and killed."""
    with ValkeyServer(appendonly=True, fsync="always") as server:
        yield server


@pytest.fixture(scope="session")
def shaky() -> Iterator[ValkeyCluster]:
    """A cluster whose slots may be moved and whose masters may be killed."""
    with ValkeyCluster() as servers:
        yield servers


@pytest.fixture
async def make_link() -> AsyncIterator[MakeLink]:
    """Make links that are closed after the test; they give up after a second."""
    links: list[RedisLink] = []

    def make(url: str, timeout_s: float = 1.0, prefix: str = "realtime") -> RedisLink:
        settings = RedisSettings(url, prefix=prefix, timeout_s=timeout_s)
        links.append(RedisLink(settings, backoff=Backoff(cap_s=0.1)))
        return links[-1]

    yield make
    for link in links:
        await link.aclose()


@pytest.fixture
async def make_pubsub() -> AsyncIterator[MakePubSub]:
    """Make pub/subs that are closed after the test."""
    made: list[PubSub] = []

    def make(link: RedisLink) -> PubSub:
        made.append(PubSub(link, "realtime"))
        return made[-1]

    yield make
    for pubsub in made:
        await pubsub.aclose()
