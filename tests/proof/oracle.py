"""
The exact answers, from DuckDB: independent of everything that counts in ``realtime``.

Each counter and grain becomes one GROUP BY over the whole data set; sliding windows are
sums over their steps, joined by SQL as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

from tests.proof.data import Dataset

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

AGGREGATES = {
    "count": "count(*)",
    "sum": "sum({of}::decimal(38, 6))",
    "min": "min({of})",
    "max": "max({of})",
    "mean": "avg({of})",
    "unique": "list(distinct {of})",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """The exact value of one cell; ``at`` lies inside its window's instance."""

    counter: str
    measure: str
    dims: dict[str, str]
    window: str
    at: float | None
    value: float
    members: tuple[str, ...] = ()  # of unique counts


def answers(data: Dataset) -> Iterator[Answer]:
    """Yield the answer of every cell of every counter and window that has events."""
    connection = duckdb.connect()
    connection.register("events", data.frame)
    for name, counter in data.counters.items():
        for window in counter["windows"]:
            yield from _cells(connection, name, counter, window)


def _cells(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    counter: dict[str, Any],
    window: str,
) -> Iterator[Answer]:
    by = counter.get("by", [])
    rows = connection.sql(_query(counter, window)).fetchall()
    measure = counter["measure"]
    for bucket, *dims, value in rows:
        if value is None:
            continue
        at = None if bucket is None else float(bucket) + 0.5
        texts = {column: str(text) for column, text in zip(by, dims, strict=True)}
        if measure == "unique":
            members = tuple(map(str, value))
            yield Answer(name, measure, texts, window, at, len(members), members)
        else:
            yield Answer(name, measure, texts, window, at, float(value))


def _query(counter: dict[str, Any], window: str) -> str:
    size, _, step = window.partition("/")
    by = counter.get("by", [])
    aggregate = AGGREGATES[counter["measure"]].format(of=counter.get("of"))
    where = " and ".join(
        f"{column} in ({', '.join(map(str, values))})"
        for column, values in counter.get("where", {}).items()
    )
    source = "events"
    bucket = "null"
    if size != "total":
        grain_s = _seconds(step or size)
        steps = _seconds(size) // grain_s
        # An event at t is part of every instance that ends within `size` after it;
        # an instance is named by the beginning of its last step.
        source = (
            f'(select *, (floor("at" / {grain_s}) + k) * {grain_s} as bucket '
            f"from events, range({steps}) as steps(k))"
        )
        bucket = "bucket"
    columns = ", ".join([bucket, *by, aggregate])
    grouped = ", ".join(column for column in [bucket, *by] if column != "null")
    return (
        f"select {columns} from {source} "
        + (f"where {where} " if where else "")
        + (f"group by {grouped}" if grouped else "")
    )


def _seconds(text: str) -> int:
    return int(text[:-1]) * SECONDS[text[-1]]
