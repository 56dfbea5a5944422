"""Nodes that share one memory, whose channels have histories, and losses on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from realtime.adapters.broker.memory import MemoryBroker
from realtime.engine.node import Node
from realtime.testing.client import MemoryClient
from realtime.testing.clock import settle
from realtime.testing.nodes import SharedMemory, memory_nodes
from realtime.types import Channel, JSONText, Publication

SIZE = 20
PAGE = 4
MOST = 110
CHECK_S = 10.0
CONFIG = f"""
[auth]
anonymous = true

[limits]
publish_rate = 0
max_subscriptions = {MOST}

[history]
max_page = {PAGE}
check = "{CHECK_S:g}s"

[namespaces.chat]
subscribe = "anyone"
publish = "anyone"
history = "anyone"
history_size = {SIZE}

[namespaces.price]
subscribe = "anyone"
publish = "anyone"
last_value = true

[namespaces.plain]
history = "anyone"
subscribe = "anyone"
publish = "anyone"

[namespaces.hall]
subscribe = "anyone"
presence = true
"""

A = Channel("chat:a")


@asynccontextmanager
async def cluster(
    count: int = 2, more: str = ""
) -> AsyncIterator[tuple[list[Node], SharedMemory]]:
    """Some nodes that share everything."""
    async with memory_nodes(CONFIG + more, count) as (nodes, shared):
        yield list(nodes), shared


def broker_of(node: Node) -> MemoryBroker:
    """The node's own end of what the nodes share."""
    broker = node.parts.broker
    assert isinstance(broker, MemoryBroker)
    return broker


@contextmanager
def deaf(
    node: Node, drops: Callable[[Publication], bool] = lambda _: True
) -> Iterator[None]:
    """Lose publications on their way to *node*, and nobody notices."""
    broker = broker_of(node)
    receive = broker.receive

    def lossy(publication: Publication) -> None:
        if not drops(publication):
            receive(publication)

    broker.receive = lossy  # type: ignore[method-assign]
    try:
        yield
    finally:
        broker.receive = receive  # type: ignore[method-assign]


async def publish(node: Node, *values: int, channel: Channel = A) -> None:
    """Publish numbers, and let them arrive."""
    for value in values:
        await node.publish(channel, JSONText(b"%d" % value))
    await settle()


async def guest(node: Node, **hello: Any) -> MemoryClient:
    """A client who has been welcomed, by the messages that it has not looked at."""
    client = MemoryClient(node)
    [welcome, *others] = await client.say("hello", **hello)
    assert welcome["type"] == "welcome"
    assert others == []
    return client


async def subscriber(
    node: Node, channel: Channel = A, **fields: Any
) -> tuple[MemoryClient, dict[str, Any]]:
    """A client that is subscribed, and what it was told."""
    client = await guest(node)
    [told] = await client.say("subscribe", channel=channel, **fields)
    return client, told


def data(messages: list[dict[str, Any]]) -> list[Any]:
    """What was pushed, or ``gap`` where one was told."""
    return [
        message["data"] if message["type"] == "push" else message["type"]
        for message in messages
    ]


def since(told: dict[str, Any], offset: int | None = None) -> dict[str, Any]:
    """A position, as it was told, or further on."""
    place = told["offset"] if offset is None else offset
    return {"offset": place, "epoch": told["epoch"]}
