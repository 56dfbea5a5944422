"""
What one of each thing costs, as it was measured; the only place for such numbers is a
file, ``costs.toml`` beside this module or one of the caller's own.

Microseconds are processor time, of the node or of Redis; KiB are memory of the node's
process or of the kernel; bytes are those on the wire, with the headers of TCP and IP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from statistics import median
from typing import Any, Self

JOINED = 8
"""How many frames leave in one write where ``frame_joined_us`` was measured."""


BATCH = 20
"""How many events were in a frame where ``event_batched_us`` was measured."""


class CostError(ValueError):
    """A file of costs does not say what it must; the sentence names the key."""


@dataclass(frozen=True, slots=True)
class Costs:
    """The price of everything that the model counts."""

    # Processor time of a node.
    frame_lone_us: float  # a frame to one subscriber, in a write of its own
    frame_joined_us: float  # the same when eight leave in one write
    publication_us: float  # taking one publication from Redis, encoding it once
    value_us: float  # taking one change of a watched cell from Redis
    connect_us: float  # accept, upgrade, token, hello, one subscribe
    disconnect_us: float
    refuse_us: float  # accept, read the request, answer 503
    event_single_us: float  # one event in a frame of its own, acknowledged
    event_batched_us: float  # one of twenty in a frame
    ping_us: float  # ping and pong of one connection
    node_idle_us: float  # a node with nothing to do, a second
    # Memory.
    connection_kib: float  # of the process, a connection with one subscription
    socket_kib: float  # of the kernel, an idle socket
    node_kib: float  # of a process without connections
    # Processor time of Redis.
    redis_commit_us: float  # a commit, whatever is in it
    redis_mark_us: float  # a device in a commit
    redis_cell_us: float  # a cell that a commit changes
    redis_notice_us: float  # a changed cell that somebody watches: composing, sending
    redis_copy_us: float  # handing one message to one node
    redis_publish_us: float  # a publication without a history
    redis_append_us: float  # a publication with a history
    redis_read_us: float  # one read of a history or of a cell
    redis_hello_us: float  # a device that says hello
    redis_subscribe_us: float  # a channel that a node begins to listen to
    redis_check_us: float  # comparing the position of one channel
    # Bytes.
    frame_bytes: float  # a frame to a subscriber
    event_bytes: float  # an event on its way up, in a batch
    frame_in_bytes: float  # what a frame with events has beside them
    ack_bytes: float
    ping_bytes: float  # ping, pong and what TCP adds
    connect_bytes: float  # to the client, until it is subscribed
    message_bytes: float  # a publication or value between Redis and a node

    @property
    def write_us(self) -> float:
        """What a write costs beside its frames."""
        return (self.frame_lone_us - self.frame_joined_us) * JOINED / (JOINED - 1)

    def frame_us(self, joined: float) -> float:
        """Return the time of a frame when *joined* frames leave in one write."""
        per_frame_us = self.frame_lone_us - self.write_us
        return per_frame_us + self.write_us / max(joined, 1.0)

    def event_us(self, batch: float) -> float:
        """Return the time of an event when *batch* events come in one frame."""
        frame_us = (self.event_single_us - self.event_batched_us) * BATCH / (BATCH - 1)
        together = min(max(batch, 1.0), float(BATCH))
        return self.event_single_us - frame_us + frame_us / together

    @classmethod
    def of(cls, *sources: Mapping[str, Any]) -> Self:
        """
        Make costs from files that were read; what stands in a later one holds.

        A cost is a number, or a table with ``value`` (and ``source``, ``date``).

        Raises:
            CostError: If a key is missing or unknown, or its value no such number.
        """
        known = {field.name for field in fields(cls)}
        values: dict[str, float] = {}
        for source in sources:
            for name, given in source.items():
                if name not in known:
                    raise CostError(f"{name} is not a cost: {', '.join(sorted(known))}")
                values[name] = _number(name, given)
        missing = known - values.keys()
        if missing:
            raise CostError(f"there is no {', '.join(sorted(missing))}")
        return cls(**values)


def _number(name: str, given: object) -> float:
    value = given.get("value") if isinstance(given, Mapping) else given
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CostError(
            f"{name} is {given!r}: a number, or a table with value = NUMBER"
        )
    if not 0 <= value < float("inf"):
        raise CostError(f"{name} is {value}: it must be 0 or more")
    return float(value)


def costs_of_result(
    scenario: str, rows: Iterable[Mapping[str, object]]
) -> Mapping[str, float]:
    """Return the costs that the *rows* of another scenario's result tell: medians."""
    found: dict[str, list[float]] = {}
    for row in rows:
        for cost, value in _told(scenario, row):
            if isinstance(value, int | float) and not isinstance(value, bool):
                found.setdefault(cost, []).append(float(value))
    return {cost: median(values) for cost, values in found.items()}


def _told(
    scenario: str, row: Mapping[str, object]
) -> Iterable[tuple[str, object | None]]:
    us = row.get("server_us")
    if scenario == "connect":
        return [("connect_us", us), ("connection_kib", row.get("each_kib"))]
    if scenario == "fanout":
        return [("frame_lone_us", us)]
    if scenario == "ingest" and row.get("batch") == 1:
        return [("event_single_us", us)]
    if scenario == "ingest" and row.get("batch") == BATCH:
        return [("event_batched_us", us)]
    return []
