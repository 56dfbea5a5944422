"""The usual message goes straight through, and nobody can tell by what is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.core import usual
from realtime.engine import batches, ingest, straight
from realtime.engine.node import Node
from realtime.errors import BAD_FRAME
from realtime.native import built
from realtime.testing.client import JSON_V1, MSGPACK_V1, MemoryClient
from realtime.testing.clock import ManualClock
from realtime.testing.nodes import memory_node
from realtime.wire.messages import Ack
from realtime.wire.native import DIALECTS

pytestmark = pytest.mark.anyio

TICK_S = 0.1
PHONE = {"device": "phone", "secret": "0123456789abcdef"}
CONFIG = """
[auth]
anonymous = true

[events]
track = "anyone"

[counters.likes]
event = "like"
by = ["post"]
windows = ["total", "10s"]
lateness = "5s"

[counters.trend]
event = "like"
windows = ["7s", "10s/1s"]

[counters.views]
event = "view"

[counters.sales]
event = "sale"
measure = "sum"
of = "amount"
windows = ["total"]
"""

FORMS = {
    "general": None,
    "python": usual.count_usual_in_python,
    "native": built("usual", "count"),
}

POSTS = st.sampled_from(["1", "2", 3, None, 4.5, "a b", True, "x" * 200])
EVENTS = st.fixed_dictionaries(
    {"name": st.sampled_from(["like", "sale", "view", "!"])},
    optional={
        "at": st.sampled_from(
            [1_700_000_000, 1_699_999_990.5, 1_699_000_000, None, ""]
        ),
        "properties": st.fixed_dictionaries(
            {"post": POSTS}, optional={"amount": st.sampled_from([1, 2.5, "five"])}
        ),
        "odd": st.none(),
    },
)
# How the numbers go on from those before, and the fields beside them.
STEPS = st.sampled_from([0, 0, 0, 0, -1, -2, 1, 10])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "sent_at": st.sampled_from([1_700_000_000.0, 1_700_000_000, None, "now"]),
        "id": st.sampled_from([7, -1, "7"]),
        "lost": st.sampled_from([0, 1, 2]),
        "odd": st.none(),
    },
)
MESSAGES = st.tuples(STEPS, st.lists(EVENTS, max_size=3), FIELDS, st.booleans())


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Node, ManualClock]]:
    """A node whose time stands still between two ticks."""
    async with memory_node(CONFIG, ManualClock(1_700_000_000.04, 1000.04)) as both:
        yield both


async def phone(node: Node) -> MemoryClient:
    """An anonymous client with a device, welcomed."""
    client = MemoryClient(node)
    assert (await client.hello(**PHONE))["type"] == "welcome"
    return client


class Said:
    """All that one node answers to some messages, and what it has counted."""

    def __init__(self, node: Node, clock: ManualClock, subprotocol: str) -> None:
        self.node = node
        self.clock = clock
        self.client = MemoryClient(node, subprotocol)
        self.answers: list[list[dict[str, Any]]] = []
        self.next = 1

    async def say(self, message: tuple[int, list[Any], dict[str, Any], bool]) -> None:
        """Send a message; the last of it says whether to wait for the tick."""
        step, events, fields, wait = message
        first = max(self.next + step, 1)
        fields = {"first": first, "events": events, **fields}
        self.answers.append(await self.client.say("track", **fields))
        self.next = max(self.next, first + len(events))
        if wait:
            await self.tick()

    async def tick(self) -> None:
        """Let everything be committed."""
        await self.clock.elapse(TICK_S)
        self.answers.append(self.client.take())

    def cells(self) -> dict[Any, Any]:
        """Return the state of every cell there is."""
        buckets = self.node.parts.ledger._store.buckets  # type: ignore[attr-defined]
        return {
            (*bucket, dims): (cell.state, cell.members and cell.members.count())
            for bucket, cells in buckets.items()
            for dims, cell in cells.items()
        }


async def answers_of(
    form: str, messages: list[Any], subprotocol: str
) -> tuple[list[Any], dict[Any, Any]]:
    """Say *messages* to a node that counts in one of the forms."""
    with pytest.MonkeyPatch.context() as patch:
        count = FORMS[form]
        if count is None:
            patch.setattr(straight, "track", lambda *_: False)
            count = usual.count_usual_in_python
        for module in (straight, batches, ingest):
            patch.setattr(module, "count_usual", count)
        async with running() as (node, clock):
            said = Said(node, clock, subprotocol)
            await said.client.hello(**PHONE)
            for message in messages:
                await said.say(message)
            await said.tick()
            return said.answers, said.cells()


@given(
    messages=st.lists(MESSAGES, max_size=6),
    subprotocol=st.sampled_from([JSON_V1, MSGPACK_V1]),
)
@settings(max_examples=40, deadline=None)
async def test_every_form_answers_and_counts_alike(
    messages: list[Any], subprotocol: str
) -> None:
    """Acknowledgements, rejections, errors and cells are those of the general way."""
    expected = await answers_of("general", messages, subprotocol)
    for form in ("python", "native"):
        if FORMS[form] is not None:
            assert await answers_of(form, messages, subprotocol) == expected


async def test_the_second_message_is_usual() -> None:
    """The first one teaches what there is to know."""
    async with running() as (node, clock):
        client = await phone(node)
        seen = []
        with pytest.MonkeyPatch.context() as patch:
            track = straight.track
            patch.setattr(
                straight, "track", lambda *each: seen.append(track(*each)) or seen[-1]
            )
            for first in (1, 2, 3):
                await client.track(first, "view")
        await clock.elapse(TICK_S)

        assert (seen, client.take()) == (
            [False, True, True],
            [{"type": "ack", "acked": 3}],
        )


@pytest.mark.parametrize("mark", [2, 4])
async def test_an_overlap_is_read_again(mark: int) -> None:
    """What was counted over another connection is not counted twice."""
    async with running() as (node, clock):
        one = await phone(node)
        other = await phone(node)
        await other.track(1, *["view"] * mark)
        await clock.elapse(TICK_S)
        await one.track(1, "view")
        for first in (2, 3, 4, 5):
            await one.track(first, "view")
        await clock.elapse(TICK_S)

        assert one.take() == [{"type": "ack", "acked": 5}]
        metrics = node.metrics
        assert metrics.total(metrics.events_counted) == 5
        assert metrics.total(metrics.events_duplicate) == mark


async def test_no_more_is_kept_than_events_may_have() -> None:
    """Neither what surrounds an event in its message, nor one that is refused."""
    async with running() as (node, clock):
        client = await phone(node)
        await client.track(1, "view")
        large = {"name": "view", "properties": {"x": "y" * 100_000}}
        client.send_raw(
            b'{"type":"track","first":2,"events":[{"name":"view"}]%100000b}' % b""
        )
        client.send_raw(orjson.dumps({"type": "track", "first": 3, "events": [large]}))
        assert client.peer.batch is not None
        kept = sum(len(repr(part[2])) for part in client.peer.batch.parts)
        other = await phone(node)
        await other.track(1, "view")
        await clock.elapse(TICK_S)

        assert kept < 1000
        assert [one["acked"] for one in client.take()] == [3]
        assert node.metrics.total(node.metrics.events_counted) == 2


async def test_deep_nesting_closes_as_ever() -> None:
    """A message whose events are looked at before its depth is still refused whole."""
    async with running() as (node, clock):
        client = await phone(node)
        await client.track(1, "like")
        deep: object = 1
        for _ in range(40):
            deep = [deep]
        events = [{"name": "like"}, {"name": "like", "properties": deep}]
        await client.say("track", first=2, events=events)
        await clock.elapse(TICK_S)

        assert client.close_code == BAD_FRAME.code
        assert node.metrics.total(node.metrics.events_counted) == 1


@pytest.mark.parametrize("name", DIALECTS)
async def test_events_are_read_out_of_the_message(name: str) -> None:
    """A dialect finds in a message what it was taken for."""
    pack = orjson.dumps if name == JSON_V1 else msgpack.packb
    message = pack({"type": "track", "first": 1, "events": [{"name": "like"}]})
    assert DIALECTS[name].events(message) == [{"name": "like"}]


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("mark", [0, 1, 127, 128, 65_536, 2**32, 2**53 - 1])
async def test_an_acknowledgement_is_written_as_it_is_encoded(
    name: str, mark: int
) -> None:
    """Its bytes are those of the message that it is."""
    assert DIALECTS[name].ack(mark) == DIALECTS[name].frame(Ack(mark))


async def test_the_bytes_of_an_acknowledgement() -> None:
    """They are these."""
    json, packed = DIALECTS[JSON_V1].ack(42), DIALECTS[MSGPACK_V1].ack(42)
    assert json == b'\x81\x19{"type":"ack","acked":42}'
    assert packed == b"\x82\x11\x82\xa4type\xa3ack\xa5acked\x2a"
