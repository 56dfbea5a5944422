"""
Orders to every node: given once, obeyed everywhere, and it is known by whom.

Who gives an order obeys it first, then publishes it and waits until every living node
has answered. What is not answered in time is sent once more to who did not: a control
message may be lost like any publication, and every order may arrive twice. Nodes that
still say nothing are named, so that the order can be given again.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import structlog

from realtime.adapters.registry.port import Registry
from realtime.engine.control_messages import (
    CONTROL,
    VERSION,
    Answer,
    Order,
    answers_channel,
    pack,
    read_answer,
    read_order,
)
from realtime.engine.metrics import Metrics
from realtime.engine.orders import HANDLERS, QUESTIONS, Arguments, Orders, Result
from realtime.errors import RATE_LIMITED, CommandError, Unavailable
from realtime.types import Channel, NodeId, Publication

log = structlog.get_logger(__name__)

ANSWER_S = 1.0
"""How long answers are waited for, each time the order is sent."""

TRIES = 2

MAX_WAITING = 100
"""Orders given here that wait for answers; further ones are refused."""

MAX_REMEMBERED = 256
"""Answers that are kept in case the same order comes again."""

UNKNOWN = "does not know this order"
FAILED = "failed; its log says why"
SILENT = "did not answer"

Listen = Callable[[Channel, Callable[[Publication], None]], Awaitable[None]]


class Sender(Protocol):
    """What control needs of a broker."""

    async def publish(self, publication: Publication, /) -> object:
        """Hand over one publication. Raises BrokerUnavailable."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What came of an order: the *results* of the nodes that obeyed, and what is wrong
    with the others.
    """

    results: Mapping[NodeId, Mapping[str, Any]]
    problems: Mapping[NodeId, str]

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return len(self.results) + len(self.problems)

    @property
    def done(self) -> int:
        """How many connections it hit, on all nodes."""
        return sum(result.get("done", 0) for result in self.results.values())


class Waiting:
    """An order whose answers are still coming."""

    __slots__ = ("answers", "missing", "wake")

    def __init__(self, nodes: set[NodeId]) -> None:
        self.missing = nodes
        self.answers: dict[NodeId, Answer] = {}
        self.wake = asyncio.Event()

    def take(self, answer: Answer) -> None:
        """Note an answer; the first of each node counts."""
        if answer.node in self.missing:
            self.missing.discard(answer.node)
            self.answers[answer.node] = answer
        if not self.missing:
            self.wake.set()


class Control:
    """Gives orders to all nodes, and obeys those of others. See the module."""

    def __init__(
        self,
        orders: Orders,
        sender: Sender,
        registry: Registry,
        metrics: Metrics,
    ) -> None:
        self._node = orders.node
        self._orders = orders
        self._sender = sender
        self._registry = registry
        self._clock = orders.clock
        self._metrics = metrics
        self._tasks = orders.tasks
        self._waiting: dict[str, Waiting] = {}
        self._stopped = False
        self._remembered: OrderedDict[str, Answer] = OrderedDict()

    async def start(self, listen: Listen) -> None:
        """
        Begin to hear orders and answers.

        Raises:
            BrokerUnavailable: If the broker does not answer.
        """
        await listen(CONTROL, self._ordered)
        await listen(answers_channel(self._node), self._answered)

    def stop(self) -> None:
        """Obey nobody any more: the node is closing."""
        self._stopped = True

    # -- giving orders -----------------------------------------------------------

    async def order(self, name: str, arguments: Arguments) -> Outcome:
        """
        Have every living node obey, this one first.

        Raises:
            CommandError: RATE_LIMITED when too many orders wait for answers.
            Unavailable: If it is not known which nodes there are, or they cannot be
                reached. It was obeyed here, and perhaps elsewhere.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise CommandError(
                RATE_LIMITED,
                f"{MAX_WAITING} orders wait for answers, which is the most",
                retry_after_s=ANSWER_S,
            )
        order = Order(secrets.token_hex(8), self._node, name, arguments)
        waiting = self._waiting[order.id] = Waiting(set())
        try:
            own = await self._obey(order)
            waiting.missing = await self._others()
            await self._send(order, waiting)
            if waiting.missing:  # who has said goodbye meanwhile has nothing to do
                waiting.missing &= await self._others()
        finally:
            del self._waiting[order.id]
        outcome = _outcome(own, waiting)
        told = "incomplete" if outcome.problems else "done"
        self._metrics.orders.labels(name, told).inc()
        return outcome

    async def _others(self) -> set[NodeId]:
        return {report.node for report in await self._registry.nodes()} - {self._node}

    async def _send(self, order: Order, waiting: Waiting) -> None:
        for _ in range(TRIES):
            if not waiting.missing:
                return
            message = pack(replace(order, only=sorted(waiting.missing)))
            await self._sender.publish(Publication(CONTROL, message))
            timer = self._clock.call_later(ANSWER_S, waiting.wake.set)
            try:
                await waiting.wake.wait()
            finally:
                timer.cancel()
                waiting.wake.clear()

    def _answered(self, publication: Publication) -> None:
        answer = read_answer(publication.data)
        waiting = None if answer is None else self._waiting.get(answer.id)
        if answer is not None and waiting is not None:
            waiting.take(answer)

    # -- obeying -----------------------------------------------------------------

    def _ordered(self, publication: Publication) -> None:
        order = read_order(publication.data)
        if order is None or order.origin == self._node or self._stopped:
            return
        if order.only is None or self._node in order.only:
            self._tasks.spawn(self._reply(order))

    async def _reply(self, order: Order) -> None:
        answer = self._remembered.get(order.id) or await self._obey(order)
        if order.name not in QUESTIONS:
            self._remembered[order.id] = answer
            while len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        channel = answers_channel(order.origin)
        try:
            await self._sender.publish(Publication(channel, pack(answer)))
        except Unavailable as exc:  # then it is asked again
            log.info("answer_not_sent", order=order.name, error=str(exc))

    async def _obey(self, order: Order) -> Answer:
        handler = HANDLERS.get(order.name)
        if handler is None or order.version > VERSION:
            return Answer(order.id, self._node, problem=UNKNOWN)
        try:
            result = handler(self._orders, order.arguments)
            if inspect.isawaitable(result):
                result = await result
        except Exception:  # a defect, or another version's idea of the arguments
            log.exception("order_failed", order=order.name)
            return Answer(order.id, self._node, problem=FAILED)
        return Answer(order.id, self._node, result)


def _outcome(own: Answer, waiting: Waiting) -> Outcome:
    answers = {own.node: own, **waiting.answers}
    results: dict[NodeId, Result] = {}
    problems: dict[NodeId, str] = dict.fromkeys(sorted(waiting.missing), SILENT)
    for node, answer in sorted(answers.items()):
        if answer.result is None:
            problems[node] = answer.problem or FAILED
        else:
            results[node] = dict(answer.result)
    return Outcome(results, problems)
