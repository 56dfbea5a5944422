"""What a node answers to events: after the commit, and of each bad one why."""

from __future__ import annotations

import pytest

from realtime.testing.client import MemoryClient
from tests.engine.support import PHONE, TICK_S, phone, running

pytestmark = pytest.mark.anyio


async def test_events_are_acknowledged_after_the_commit() -> None:
    """Nothing comes back before the tick."""
    async with running() as (node, clock):
        client = await phone(node)
        assert await client.track(1, "like", "like") == []
        await clock.elapse(TICK_S)

        assert client.take() == [{"type": "ack", "acked": 2}]


async def test_a_bad_event_is_named_and_the_others_count() -> None:
    """Rejections come with the acknowledgement."""
    async with running() as (node, clock):
        client = await phone(node)
        events = [
            {"name": "like"},
            {"name": "!"},
            {"name": "sale", "properties": {"amount": "x"}},
        ]
        await client.say("track", first=1, events=events)
        await clock.elapse(TICK_S)

        [ack] = client.take()
        assert ack["acked"] == 3
        assert {one["seq"]: one["name"] for one in ack["rejected"]} == {
            2: "bad_event_name",
            3: "bad_value",
        }


async def test_a_hole_is_answered_with_the_number_expected() -> None:
    """The device resends from there."""
    async with running() as (node, _):
        client = await phone(node)
        [answer] = await client.track(5, "like")

        assert (answer["name"], answer["expected"]) == ("gap", 1)
        assert answer["retry"] == "resend"


async def test_a_number_that_goes_backwards_is_acknowledged_and_not_counted() -> None:
    """What was counted is not counted again."""
    async with running() as (node, clock):
        client = await phone(node)
        await client.track(1, "like", "like")
        await clock.elapse(TICK_S)
        client.take()

        assert await client.track(1, "like") == [{"type": "ack", "acked": 2}]
        assert node.metrics.total(node.metrics.events_counted) == 2


async def test_a_reconnected_device_goes_on_where_it_stood() -> None:
    """Welcome tells the mark; the resent part counts once."""
    async with running() as (node, clock):
        first = await phone(node)
        await first.track(1, "like", "like")
        first.lose()
        await clock.elapse(TICK_S)
        again = MemoryClient(node)
        assert (await again.hello(**PHONE))["acked"] == 2
        await again.track(1, "like", "like", "like")
        await clock.elapse(TICK_S)

        assert again.take() == [{"type": "ack", "acked": 3}]
        assert node.metrics.total(node.metrics.events_counted) == 3


async def test_a_session_without_a_device_cannot_track() -> None:
    """The error says what hello lacked."""
    async with running() as (node, _):
        client = MemoryClient(node)
        await client.hello()
        [answer] = await client.track(1, "like")

        assert answer["name"] == "no_device"
