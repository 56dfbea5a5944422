"""Which events a session may send, while its token changes."""

from __future__ import annotations

import pytest

from realtime.testing.client import MemoryClient
from realtime.testing.clock import ManualClock
from realtime.testing.nodes import memory_node
from tests.engine.support import SECRET, TICK_S, token

pytestmark = pytest.mark.anyio

CONFIG = f"""
[auth]
hmac_secret = "{SECRET}"
"""


async def test_a_new_token_decides_about_the_events_after_it() -> None:
    """What the old one granted is forgotten."""
    clock = ManualClock(1_700_000_000.04, 1000.04)
    async with memory_node(CONFIG, clock) as (node, _):
        client = MemoryClient(node)
        await client.hello(device="phone", token=token(clock, track=["like"]))
        await client.track(1, "like", "view")
        await clock.elapse(TICK_S)
        [before] = client.take()
        await client.say("refresh", token=token(clock, track=["view"]))
        await client.track(3, "like", "view")
        await clock.elapse(TICK_S)
        [after] = client.take()

        assert [one["seq"] for one in before["rejected"]] == [2]
        assert [one["seq"] for one in after["rejected"]] == [3]
