"""
Comparing every cell with the oracle, through the server's HTTP interface.

Exact measures must be equal. A unique count must be what HyperLogLog says of exactly
the right members: it is compared with a Valkey of its own that is given those members
once, and with the true cardinality within three standard errors. (Of small sets single
collisions show: whole members are missing, more often than a normal distribution says.
There the first comparison is the strict one.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from realtime.testing.servers import ValkeyServer
from tests.proof.oracle import Answer

STANDARD_ERROR = 0.0081  # of HyperLogLog with 16,384 registers, one sigma
SIGMAS = 3
SMALL = 200  # below, a set may lack this many members to collisions:
COLLISIONS = 3
ROUNDING = 1  # several shards are merged and rounded by us, one by Valkey
PARALLEL = 16


@dataclass(slots=True)
class Row:
    """One line of the table: a counter and window, and how its cells compare."""

    counter: str
    measure: str
    window: str
    cells: int = 0
    wrong: int = 0
    worst: float = 0.0  # relative error of the worst cell
    examples: list[str] = field(default_factory=list)


async def compare(
    url: str, answers: Sequence[Answer], reference: ValkeyServer
) -> list[Row]:
    """
    Ask the server at *url* for every answer; return a row per counter and window.

    *reference* is a server of the check's own, for the estimates of unique counts.
    """
    rows: dict[tuple[str, str], Row] = {}
    waiting = iter(answers)
    limits = httpx.Limits(max_connections=PARALLEL)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:

        async def work() -> None:
            for answer in waiting:
                key = (answer.counter, answer.window)
                row = rows.setdefault(
                    key, Row(answer.counter, answer.measure, answer.window)
                )
                _judge(row, answer, await _ask(client, answer), reference)

        await asyncio.gather(*(work() for _ in range(PARALLEL)))
    return list(rows.values())


async def _ask(client: httpx.AsyncClient, answer: Answer) -> float | None:
    parameters: dict[str, str | float] = {**answer.dims, "window": answer.window}
    if answer.at is not None:
        parameters["at"] = answer.at
    path = f"/v1/counters/{answer.counter}"
    try:
        response = await client.get(path, params=parameters)
    except httpx.TransportError:
        # The server closes an idle connection while the request is on its way: HTTP
        # leaves it to the client to ask again (RFC 9110, 9.2.2).
        response = await client.get(path, params=parameters)
    response.raise_for_status()
    value = response.json()["value"]
    return None if value is None else float(value)


def _judge(
    row: Row, answer: Answer, value: float | None, reference: ValkeyServer
) -> None:
    row.cells += 1
    error = abs((value or 0.0) - answer.value)
    row.worst = max(row.worst, error / max(abs(answer.value), 1.0))
    if (
        value is None
        or error > _allowed(answer)
        or not _expected(answer, value, reference)
    ):
        row.wrong += 1
        where = {**answer.dims, "at": answer.at}
        row.examples.append(f"{where}: {value}, exactly {answer.value}")


def _expected(answer: Answer, value: float, reference: ValkeyServer) -> bool:
    if answer.measure != "unique":
        return True
    return abs(value - _estimate(answer, reference)) <= ROUNDING


def _estimate(answer: Answer, reference: ValkeyServer) -> int:
    """What one HyperLogLog says that has seen exactly the right members."""
    reference.command("DEL", "reference")
    reference.command("PFADD", "reference", *answer.members)
    return int(reference.command("PFCOUNT", "reference"))


def _allowed(answer: Answer) -> float:
    if answer.measure == "unique":
        small = COLLISIONS if answer.value < SMALL else 0
        return max(SIGMAS * STANDARD_ERROR * answer.value, small)
    if answer.measure == "mean":
        return 1e-12 * max(abs(answer.value), 1.0)  # two exact integers, one division
    return 0.0
