"""Orders between nodes: lost messages, nodes that are silent, gone or of a version."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from structlog.testing import capture_logs

from realtime.engine import control, orders
from realtime.engine.control import ANSWER_S, MAX_WAITING, TRIES, Outcome
from realtime.engine.control_messages import (
    CONTROL,
    Answer,
    Order,
    answers_channel,
    pack,
    read_answer,
    read_order,
)
from realtime.engine.node import Node
from realtime.errors import BrokerUnavailable, CommandError, Unavailable
from realtime.testing.clock import settle
from realtime.types import JSONText, NodeId, Publication
from tests.engine.orders_support import ANN, Cluster, cluster

pytestmark = pytest.mark.anyio

Lose = Callable[[Publication], bool]


def lose(nodes: Cluster, doomed: Lose) -> list[Publication]:
    """Let publications get lost on the way; return the list of those."""
    lost: list[Publication] = []
    deliver = nodes.shared.bus.deliver

    def deliver_or_not(publication: Publication) -> None:
        if doomed(publication):
            lost.append(publication)
        else:
            deliver(publication)

    nodes.shared.bus.deliver = deliver_or_not  # type: ignore[method-assign]
    return lost


def first(matches: Lose) -> Lose:
    """The first publication that matches."""
    seen: list[Publication] = []

    def doomed(publication: Publication) -> bool:
        if matches(publication) and not seen:
            seen.append(publication)
            return True
        return False

    return doomed


def deaf(nodes: Cluster, node: Node) -> None:
    """Let *node* hear nothing: it lives, reports, and does not answer."""
    broker: Any = node.parts.broker
    broker.receive = lambda publication: None


async def disconnect(nodes: Cluster) -> Outcome:
    """Give an order, and let so much time pass as it takes."""
    task = asyncio.create_task(nodes.admin.disconnect(ANN))
    for _ in range(100):
        await settle()
        if task.done():
            break
        await nodes.clock.elapse(0.1)
    return await task


# -- what gets lost --------------------------------------------------------------------


async def test_an_order_that_is_lost_is_sent_again() -> None:
    """After a second; nobody notices but by the time it takes."""
    async with cluster() as nodes:
        clients = await nodes.everywhere()
        lost = lose(nodes, first(lambda one: one.channel == CONTROL))
        outcome = await disconnect(nodes)

        assert len(lost) == 1
        assert (outcome.done, dict(outcome.problems)) == (3, {})
        assert {client.close_code for client in clients} == {4504}


async def test_an_answer_that_is_lost_is_given_again() -> None:
    """The same one: the connections are not there any more, and yet are counted."""
    async with cluster() as nodes:
        clients = await nodes.everywhere()
        own = answers_channel(nodes.nodes[0].id)
        lost = lose(nodes, first(lambda one: one.channel == own))
        task = asyncio.create_task(disconnect(nodes))
        await settle()
        for client in clients:
            client.lose()
        outcome = await task

        assert len(lost) == 1
        assert (outcome.done, dict(outcome.problems)) == (3, {})


async def test_only_who_has_not_answered_is_asked_again() -> None:
    """The others have nothing to do with the repetition."""
    async with cluster() as nodes:
        sent: list[Any] = []
        lose(nodes, lambda one: one.channel == CONTROL and sent.append(one) is not None)
        deaf(nodes, nodes.nodes[2])
        await disconnect(nodes)
        asked = [read_order(one.data) for one in sent]

        silent = [nodes.nodes[2].id]
        others = sorted(node.id for node in nodes.nodes[1:])
        assert [one.only for one in asked if one] == [others, silent]
        assert len({one.id for one in asked if one}) == 1


async def test_who_says_nothing_is_named() -> None:
    """The others have obeyed all the same; the order may be given again."""
    async with cluster() as nodes:
        clients = await nodes.everywhere()
        deaf(nodes, nodes.nodes[1])
        before = nodes.clock.monotonic()
        outcome = await disconnect(nodes)

        assert (outcome.nodes, len(outcome.results), outcome.done) == (3, 2, 2)
        assert outcome.problems == {nodes.nodes[1].id: "did not answer"}
        assert [client.close_code for client in clients] == [4504, None, 4504]
        assert nodes.clock.monotonic() - before < TRIES * ANSWER_S + 0.5


async def test_who_has_said_goodbye_is_not_waited_for() -> None:
    """A node that stopped while it was asked has no connections left."""
    async with cluster() as nodes:
        gone = nodes.nodes[1]
        deaf(nodes, gone)
        task = asyncio.create_task(disconnect(nodes))
        await settle()
        await gone.parts.registry.remove(gone.id)
        gone._stats.report = _never  # type: ignore[method-assign]
        outcome = await task

        assert (outcome.nodes, dict(outcome.problems)) == (2, {})


async def _never() -> None:
    """Report no more."""


async def test_without_the_registry_it_is_obeyed_here_and_said() -> None:
    """Nobody knows who else there is."""
    async with cluster() as nodes:
        clients = await nodes.everywhere()

        async def fail() -> list[Any]:
            raise Unavailable("down")

        nodes.nodes[0].parts.registry.nodes = fail  # type: ignore[method-assign]
        with pytest.raises(Unavailable):
            await nodes.admin.disconnect(ANN)
        assert [client.close_code for client in clients] == [4504, None, None]
        assert not nodes.admin._control._waiting


async def test_without_the_broker_it_is_obeyed_here_and_said() -> None:
    """The order reaches nobody else; giving it again is safe."""
    async with cluster() as nodes:
        clients = await nodes.everywhere()

        async def fail(*_: object) -> None:
            raise BrokerUnavailable("down")

        nodes.nodes[0].parts.broker.publish = fail  # type: ignore
        with pytest.raises(Unavailable):
            await nodes.admin.disconnect(ANN)
        assert [client.close_code for client in clients] == [4504, None, None]


# -- bounds ----------------------------------------------------------------------------


async def test_too_many_orders_at_once_are_refused() -> None:
    """Those under way are finished."""
    async with cluster(2) as nodes:
        deaf(nodes, nodes.nodes[1])
        tasks = [
            asyncio.create_task(nodes.admin.disconnect(ANN)) for _ in range(MAX_WAITING)
        ]
        await settle()
        with pytest.raises(CommandError, match="rate_limited"):
            await nodes.admin.disconnect(ANN)
        await nodes.clock.elapse(TRIES * ANSWER_S + 1)

        outcomes = await asyncio.gather(*tasks)
        assert all(outcome.problems for outcome in outcomes)
        assert not nodes.admin._control._waiting


async def test_answers_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the last ones, in case they were lost."""
    monkeypatch.setattr(control, "MAX_REMEMBERED", 5)
    async with cluster(2) as nodes:
        for _ in range(12):
            await nodes.admin.disconnect(ANN)
        assert len(nodes.nodes[1].admin._control._remembered) == 5


async def test_a_node_that_closes_obeys_nobody() -> None:
    """And leaves no task behind."""
    async with cluster(2) as nodes:
        nodes.nodes[1].admin.stop()
        outcome = await disconnect(nodes)
        assert list(outcome.problems) == [nodes.nodes[1].id]


# -- versions and defects --------------------------------------------------------------


async def test_an_order_that_is_not_known_is_answered_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody waits for a node of an older version; it is named at once."""
    async with cluster(2) as nodes:
        known = {name: one for name, one in orders.HANDLERS.items() if name != "later"}
        monkeypatch.setattr(control, "HANDLERS", known)
        before = nodes.clock.monotonic()
        outcome = await nodes.admin._control.order("later", {})

        assert set(outcome.problems.values()) == {"does not know this order"}
        assert outcome.nodes == 2
        assert nodes.clock.monotonic() == before


async def test_an_order_of_a_later_version_is_answered_so() -> None:
    """Whatever else there is in it."""
    async with cluster(1) as nodes:
        [node] = nodes.nodes
        heard: list[Publication] = []
        channel = answers_channel(NodeId("newer"))
        await node._subscriptions.listen(channel, heard.append)
        fields = {"v": 2, "id": "1", "from": "newer", "what": ["else", 7]}
        data = JSONText(msgpack.packb(fields))
        await node.parts.broker.publish(Publication(CONTROL, data))
        await settle()

        [answer] = [read_answer(one.data) for one in heard]
        assert answer is not None
        assert (answer.id, answer.node) == ("1", node.id)
        assert answer.problem == "does not know this order"


async def test_a_node_that_fails_is_named() -> None:
    """The defect is in that node's log, and the others have obeyed."""
    async with cluster(2) as nodes:

        def fail(*_: object) -> None:
            raise ZeroDivisionError("a mistake")

        nodes.nodes[1].directory.of = fail  # type: ignore
        with capture_logs() as logs:
            outcome = await nodes.admin.disconnect(ANN)
        assert outcome.problems == {nodes.nodes[1].id: "failed; its log says why"}
        assert "order_failed" in [line["event"] for line in logs]


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"\xc1", b"7", b'"text"', b"\x80", b'[{"v":1}]']
)
async def test_what_is_no_message_is_ignored(data: bytes) -> None:
    """On both channels; the node goes on."""
    async with cluster(2) as nodes:
        for channel in (CONTROL, answers_channel(nodes.nodes[0].id)):
            publication = Publication(channel, JSONText(data))
            await nodes.nodes[1].parts.broker.publish(publication)
        await settle()
        assert (await nodes.admin.disconnect(ANN)).nodes == 2


def test_messages_are_read_as_they_were_written() -> None:
    """Every field, of both kinds; and neither is taken for the other."""
    order = Order("1", NodeId("a"), "block", {"user": "ü", "at": 1.5}, [NodeId("b")])
    answer = Answer("1", NodeId("b"), {"done": 3}, None)
    assert read_order(pack(order)) == order
    assert read_answer(pack(answer)) == answer
    assert read_order(pack(answer)) is None
    assert read_answer(pack(order)) is None


async def test_orders_are_measured() -> None:
    """By what came of them, never by whom they are about."""
    async with cluster(2) as nodes:
        await nodes.admin.disconnect(ANN)
        deaf(nodes, nodes.nodes[1])
        await disconnect(nodes)

        def value(outcome: str) -> float | None:
            labels = {"order": "disconnect", "outcome": outcome}
            registry = nodes.nodes[0].metrics.registry
            return registry.get_sample_value("realtime_orders_total", labels)

        assert (value("done"), value("incomplete")) == (1, 1)
