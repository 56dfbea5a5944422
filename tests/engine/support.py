"""A node in memory with a few counters and channels, and clients to talk to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt

from realtime.engine.node import Node
from realtime.testing.client import MemoryClient
from realtime.testing.clock import ManualClock
from realtime.testing.nodes import memory_node

SECRET = "a secret of thirty-two bytes or more"
PHONE = {"device": "phone", "secret": "0123456789abcdef"}
TICK_S = 0.1
CONFIG = f"""
[auth]
hmac_secret = "{SECRET}"
anonymous = true

[events]
track = "anyone"

[limits]
max_subscriptions = 3
max_errors = 5
max_publication = 100

[namespaces.chat]
subscribe = "anyone"
publish = "user"

[namespaces.secret]

[counters.likes]
event = "like"
by = ["post"]
windows = ["total", "10s"]
lateness = "5s"
watch = "anyone"

[counters.trend]
event = "like"
windows = ["10s/1s"]
watch = "anyone"

[counters.fans]
event = "like"
measure = "unique"
of = "device"
windows = ["total"]
watch = "anyone"

[counters.sales]
event = "sale"
measure = "sum"
of = "amount"
windows = ["total"]
watch = "user"
"""


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Node, ManualClock]]:
    """A node whose time stands still between two ticks."""
    async with memory_node(CONFIG, ManualClock(1_700_000_000.04, 1000.04)) as both:
        yield both


def token(
    clock: ManualClock, user: str = "ann", lives_s: float = 60, **grants: Any
) -> str:
    """A token that the node believes."""
    claims = {"sub": user, "exp": int(clock.time() + lives_s), "realtime": grants}
    return jwt.encode(claims, SECRET, "HS256")


async def phone(node: Node, **fields: Any) -> MemoryClient:
    """An anonymous client with a device, welcomed."""
    client = MemoryClient(node)
    assert (await client.hello(**{**PHONE, **fields}))["type"] == "welcome"
    return client
