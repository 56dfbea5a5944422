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


async def test_who_may_track_nothing_leaves_no_mark() -> None:
    """Else a stranger could fill the ledger with devices, one hello after another."""
    clock = ManualClock(1_700_000_000.04, 1000.04)
    async with memory_node(CONFIG, clock) as (node, _):
        client = MemoryClient(node)
        welcome = await client.hello(device="phone", token=token(clock))
        [refused] = await client.track(1, "like")
        other = MemoryClient(node)
        mine = await other.hello(
            device="phone", token=token(clock, user="bob", track=["like"])
        )

        assert (welcome["type"], "acked" in welcome) == ("welcome", False)
        assert refused["name"] == "no_device"
        assert (mine["type"], mine["acked"]) == ("welcome", 0)


async def test_a_device_still_needs_a_proof() -> None:
    """Whether or not it may track, a device without user and secret is a mistake."""
    config = CONFIG + "anonymous = true\n"
    clock = ManualClock(1_700_000_000.04, 1000.04)
    async with memory_node(config, clock) as (node, _):
        answer = await MemoryClient(node).hello(device="phone")
        assert (answer["name"], answer["field"]) == ("unauthorized", "secret")
