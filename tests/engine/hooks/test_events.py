"""Hooks that look at events before they are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from realtime.core.naming import parse_live
from realtime.engine.node import Node
from tests.engine.hooks.support import Answers, hooked, until
from tests.engine.support import PHONE, TICK_S

pytestmark = pytest.mark.anyio

SOURCE = """
import asyncio
import threading

from realtime.hooks import ChangeEvent, Deny, EventBatch, RejectEvent

batches: list[EventBatch] = []
gate = threading.Event()
gate.set()

async def on_events(batch: EventBatch):
    batches.append(batch)
    while not gate.is_set():
        await asyncio.sleep(0.002)
    return [answer(event) for event in batch.events]

def answer(event):
    match event.properties.get("do"):
        case "reject":
            return RejectEvent("not today")
        case "deny":
            raise Deny("nothing at all")
        case "enrich":
            return ChangeEvent({**event.properties, "post": "enriched"})
        case "spoil":
            return ChangeEvent({"post": object()})
        case "fail":
            raise ValueError("a bug of the developer's")
    return None
"""


def events(*todo: str | None) -> list[dict[str, Any]]:
    """Likes that tell the hook what to do with them."""
    return [
        {"name": "like", "properties": {"post": "1", **({"do": do} if do else {})}}
        for do in todo
    ]


async def likes(node: Node, post: str) -> float | None:
    """How many likes of a post are counted."""
    name = parse_live(f"live:likes;post={post};window=total", node.counters)
    return (await node.read_live(name, None)).value


async def tracked(client: Answers, first: int, *todo: str | None) -> None:
    """Send events."""
    await client.send("track", first=first, events=events(*todo))


async def test_a_hook_keeps_changes_and_rejects(tmp_path: Path) -> None:
    """Every number is used up, and what it has made of an event is what counts."""
    async with hooked(tmp_path, SOURCE) as (node, clock, module):
        client = Answers(node)
        await client.say("hello", **PHONE)
        await tracked(client, 1, None, "reject", "enrich", "spoil")
        ack = await client.hear(clock)
        assert ack["acked"] == 4
        assert [(one["seq"], one["name"]) for one in ack["rejected"]] == [
            (2, "event_refused"),
            (4, "bad_properties"),
        ]
        assert ack["rejected"][0]["reason"] == "not today"
        assert (await likes(node, "1"), await likes(node, "enriched")) == (1, 1)
        [batch] = module.batches
        assert (batch.device, batch.user) == ("phone", None)
        assert [event.seq for event in batch.events] == [1, 2, 3, 4]
        assert batch.events[0].properties == {"post": "1"}


async def test_a_whole_batch_can_be_refused(tmp_path: Path) -> None:
    """By Deny: the device gives up those numbers."""
    async with hooked(tmp_path, SOURCE) as (node, clock, _):
        client = Answers(node)
        await client.say("hello", **PHONE)
        await tracked(client, 1, None, "deny")
        ack = await client.hear(clock)
        assert ack["acked"] == 2
        assert {one["reason"] for one in ack["rejected"]} == {"nothing at all"}
        assert await likes(node, "1") in (0, None)


async def test_what_is_wrong_anyway_is_not_asked_about(tmp_path: Path) -> None:
    """It is told as ever, among the others in its place."""
    async with hooked(tmp_path, SOURCE) as (node, clock, module):
        client = Answers(node)
        await client.say("hello", **PHONE)
        wrong = [7, {"name": "?"}, *events("reject", None)]
        await client.send("track", first=1, events=wrong)
        ack = await client.hear(clock)
        assert [one["seq"] for one in ack["rejected"]] == [1, 2, 3]
        assert [event.seq for event in module.batches[0].events] == [3, 4]


async def test_a_hook_that_fails_takes_nothing(tmp_path: Path) -> None:
    """The device is told to slow down, sends again, and nothing is lost or double."""
    async with hooked(tmp_path, SOURCE) as (node, clock, _):
        client = Answers(node)
        await client.say("hello", **PHONE)
        await tracked(client, 1, None, "fail")
        answer = await client.hear()
        assert (answer["type"], answer["first"]) == ("slow_down", 1)
        assert "on_events" in answer["reason"]
        assert answer["retry_after_s"] >= 1.0
        await tracked(client, 1, None, None)
        assert (await client.hear(clock))["acked"] == 2
        assert await likes(node, "1") == 2


async def test_with_allow_events_are_kept_when_the_hook_fails(tmp_path: Path) -> None:
    """As if there was no hook."""
    async with hooked(tmp_path, SOURCE, 'on_failure = "allow"') as (node, clock, _):
        client = Answers(node)
        await client.say("hello", **PHONE)
        await tracked(client, 1, None, "fail")
        assert (await client.hear(clock))["acked"] == 2
        assert await likes(node, "1") == 2


async def test_a_batch_that_comes_again_is_counted_once(tmp_path: Path) -> None:
    """Though the hook is asked again, and even if it answers otherwise."""
    async with hooked(tmp_path, SOURCE) as (node, clock, module):
        first = Answers(node)
        await first.say("hello", **PHONE)
        await tracked(first, 1, None, "enrich")
        await until(lambda: module.batches)
        await until(lambda: node.ingest.pending_events)
        first.client.lose()  # before the acknowledgement
        second = Answers(node)
        await second.say("hello", **PHONE)
        await tracked(second, 1, None, "reject")
        ack = await second.hear(clock)
        assert (ack["acked"], ack.get("rejected", [])) == (2, [])
        assert (await likes(node, "1"), await likes(node, "enriched")) == (1, 1)
        assert len(module.batches) == 2


async def test_batches_keep_their_order_while_a_hook_takes_its_time(
    tmp_path: Path,
) -> None:
    """The second is asked about after the first; ping is answered at once."""
    async with hooked(tmp_path, SOURCE) as (node, clock, module):
        client = Answers(node)
        await client.say("hello", **PHONE)
        module.gate.clear()
        for first in (1, 3, 5):
            await tracked(client, first, None, None)
        await until(lambda: module.batches)
        assert (await client.say("ping"))["type"] == "pong"
        assert len(module.batches) == 1
        module.gate.set()
        await until(lambda: node.ingest.pending_events == 6)
        assert (await client.hear(clock))["acked"] == 6
        asked = [[event.seq for event in batch.events] for batch in module.batches]
        assert asked == [[1, 2], [3, 4], [5, 6]]


async def test_a_gap_that_shows_meanwhile_is_told(tmp_path: Path) -> None:
    """What the ledger has refused behind the hook's back is sent again."""
    async with hooked(tmp_path, SOURCE) as (node, clock, module):
        client = Answers(node)
        await client.say("hello", **PHONE)
        await tracked(client, 1, None)
        await until(lambda: node.ingest.pending_events == 1)
        module.gate.clear()
        await tracked(client, 2, None)
        await until(lambda: len(module.batches) == 2)
        client.client.peer.refused(1)  # as the ledger would after it lost a mark
        assert (await client.hear())["name"] == "gap"
        module.gate.set()
        answer = await client.hear()
        assert (answer["name"], answer["expected"]) == ("gap", 1)
        assert node.ingest.pending_events == 1
        await clock.elapse(TICK_S)


async def test_a_connection_that_is_lost_meanwhile_counts_nothing(
    tmp_path: Path,
) -> None:
    """Its device sends the batch again elsewhere."""
    async with hooked(tmp_path, SOURCE) as (node, clock, module):
        client = Answers(node)
        await client.say("hello", **PHONE)
        module.gate.clear()
        await tracked(client, 1, None)
        await until(lambda: module.batches)
        client.client.lose()
        module.gate.set()
        await clock.elapse(TICK_S)
        assert node.ingest.pending_events == 0
        assert node.hooks._calls.waiting == 0


async def test_without_a_hook_events_are_taken_at_once(tmp_path: Path) -> None:
    """No task is made and nothing is awaited."""
    source = "async def on_connect(connection):\n    pass\n"
    async with hooked(tmp_path, source) as (node, clock, _):
        client = Answers(node)
        await client.say("hello", **PHONE)
        client.client.send_raw(
            b'{"type":"track","first":1,"events":[{"name":"like"},{"name":"like"}]}'
        )
        assert node.ingest.pending_events == 2
        await clock.elapse(TICK_S)
