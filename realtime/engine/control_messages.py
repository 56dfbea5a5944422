"""
What travels between nodes on the control channels, as MessagePack.

An order goes to everybody on ``@control``, an answer to who asked on
``@control:<node>``. Each is a map that begins with the version; a node that is given an
order of a later version, or one that it does not know, answers that, so that nobody
waits in vain during a deploy. The names of the fields never change meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from realtime.types import Channel, JSONText, NodeId

VERSION = 1

CONTROL = Channel("@control")


def answers_channel(node: NodeId) -> Channel:
    """Return the channel on which *node* is answered."""
    return Channel(f"{CONTROL}:{node}")


@dataclass(frozen=True, slots=True)
class Order:
    """
    *id* is the same when it is repeated. *only*: who it is for; None is everybody.
    """

    id: str
    origin: NodeId
    name: str
    arguments: Mapping[str, Any]
    only: Sequence[NodeId] | None = None
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Answer:
    """What *node* says to the order *id*: a result, or the problem it has with it."""

    id: str
    node: NodeId
    result: Mapping[str, Any] | None = None
    problem: str | None = None


def pack(message: Order | Answer) -> JSONText:
    """Return the bytes that travel in the place of a publication's data."""
    if isinstance(message, Order):
        fields = {
            "v": VERSION,
            "id": message.id,
            "from": message.origin,
            "order": message.name,
            "with": dict(message.arguments),
            "only": message.only,
        }
    else:
        fields = {
            "v": VERSION,
            "id": message.id,
            "node": message.node,
            "result": message.result,
            "problem": message.problem,
        }
    return JSONText(msgpack.packb(fields))


def read_order(data: bytes) -> Order | None:
    """Return the order in *data*; None if it is none that could be answered."""
    found = _read(data)
    try:
        return Order(
            found["id"],
            NodeId(found["from"]),
            str(found.get("order")),
            found.get("with") or {},
            found.get("only"),
            found["v"],
        )
    except KeyError:
        return None


def read_answer(data: bytes) -> Answer | None:
    """Return the answer in *data*; None if it is none."""
    found = _read(data)
    try:
        return Answer(
            found["id"],
            NodeId(found["node"]),
            found.get("result"),
            found.get("problem"),
        )
    except KeyError:
        return None


def _read(data: bytes) -> Mapping[str, Any]:
    try:
        found = msgpack.unpackb(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
