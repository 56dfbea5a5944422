"""What one connection may do how often, and how it is asked to leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from realtime.engine.node import Node
from realtime.errors import GOING_AWAY, ROTATED
from realtime.testing.client import MemoryClient
from realtime.testing.clock import settle
from realtime.testing.nodes import memory_node
from realtime.wire.messages import Goodbye
from realtime.wire.native import JSON_V1
from tests.engine.support import CONFIG, PHONE, phone, running, token

pytestmark = pytest.mark.anyio

RATED = CONFIG.replace("[limits]", "[limits]\npublish_rate = 5")


# -- publish_rate ----------------------------------------------------------------------


async def test_too_many_publications_are_refused_and_told_when() -> None:
    """A second's worth passes; the next one after the delay that was told."""
    async with memory_node(RATED) as (node, clock):
        client = MemoryClient(node)
        await client.hello(token=token(clock))
        answers = [await publish(client, number) for number in range(7)]
        assert [answer["type"] for answer in answers] == ["published"] * 5 + [
            "error"
        ] * 2
        error = answers[5]
        assert (error["name"], error["retry"]) == ("rate_limited", "later")
        assert error["retry_after_s"] == 0.2
        clock.advance(0.2)
        assert (await publish(client, 8))["type"] == "published"
        assert (await publish(client, 9))["type"] == "error"


async def test_the_rate_is_that_of_one_connection() -> None:
    """Another one of the same user has its own; errors do not close either."""
    async with memory_node(RATED) as (node, clock):
        clients = [MemoryClient(node) for _ in range(2)]
        for client in clients:
            await client.hello(token=token(clock))
        for number in range(50):
            await publish(clients[0], number)

        assert (await publish(clients[1], 1))["type"] == "published"
        assert clients[0].close_code is None


async def publish(client: MemoryClient, number: int) -> dict[str, Any]:
    """Publish to a channel that nobody watches; return the answer."""
    [answer] = await client.say("publish", channel="chat:1", data=number, id=number)
    return answer


# -- goodbye ---------------------------------------------------------------------------


async def test_a_goodbye_says_when_to_come_back() -> None:
    """It is one message, and the connection stays open until it is closed."""
    async with running() as (node, _):
        client = await phone(node)
        client.peer.goodbye(2.5, GOING_AWAY.meaning)

        assert client.take() == [
            {"type": "goodbye", "after_s": 2.5, "reason": GOING_AWAY.meaning}
        ]
        assert client.close_code is None


async def test_events_under_way_keep_a_connection_from_being_quiet() -> None:
    """Until their acknowledgement is sent, which is before the close."""
    async with running() as (node, clock):
        client = await phone(node)
        assert client.peer.quiet
        await client.track(1, "like", "like")
        assert not client.peer.quiet

        await clock.elapse(0.1)
        assert client.peer.quiet
        assert client.take() == [{"type": "ack", "acked": 2}]


async def test_a_command_under_way_keeps_a_connection_from_being_quiet() -> None:
    """And one that is gone waits for nothing."""
    async with running() as (node, _):
        client = await phone(node)
        client.send_raw(b'{"type":"subscribe","channel":"live:likes;post=1"}')
        assert not client.peer.quiet
        await settle()
        assert client.peer.quiet

        client.send_raw(b'{"type":"subscribe","channel":"live:likes;post=2"}')
        client.lose()
        assert client.peer.quiet


@dataclass(frozen=True, slots=True)
class Curt:
    """A dialect that has no word for goodbye."""

    name = "curt"
    opcode = JSON_V1.opcode
    frame_key = JSON_V1.frame_key
    decode = staticmethod(JSON_V1.decode)
    encode = staticmethod(JSON_V1.encode)

    def frame(self, message: Any) -> bytes:
        """Return nothing for what it cannot say."""
        return b"" if isinstance(message, Goodbye) else JSON_V1.frame(message)


async def test_a_dialect_without_a_goodbye_sends_nothing() -> None:
    """Its clients are closed in their turn, and that is all they see."""
    async with running() as (node, _):
        client = await phone(node)
        client.peer.dialect = Curt()
        client.peer.goodbye(1.0, "")

        assert client.take() == []


# -- all of a node ---------------------------------------------------------------------


async def test_a_node_that_drains_commits_what_was_sent_before_it_closes() -> None:
    """Goodbye, acknowledgement, close: in this order, whatever the ledger takes."""
    async with running() as (node, clock):
        client = await phone(node)
        await client.track(1, "like")
        drained = node.drain.run([node.services.connections], lambda: None)
        node.play(lambda: drained)
        await settle()
        assert [message["type"] for message in client.take()] == ["goodbye"]
        assert client.close_code is None
        await clock.elapse(0.3)

        assert client.take() == [{"type": "ack", "acked": 1}]
        assert client.close_code == 1001


async def test_old_connections_are_rotated() -> None:
    """Told when to come back, and closed as rotated: it means that they may."""
    text = CONFIG + '\n[drain]\nmax_age = "100s"\nreturn = "3s"\n'
    async with memory_node(text) as (node, clock):
        client = await hello(node)
        await clock.elapse(60)
        assert client.close_code is None
        await clock.elapse(80)
        [message] = client.take()

        assert message["type"] == "goodbye"
        assert 0 <= message["after_s"] <= 3
        assert message["reason"] == ROTATED.meaning
        assert client.close_code == ROTATED.code


async def hello(node: Node) -> MemoryClient:
    """A client that asks for no keepalive within the test."""
    client = MemoryClient(node)
    await client.hello(**PHONE, keepalive_s=1800)
    return client
