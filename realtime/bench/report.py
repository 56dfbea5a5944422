"""Numbers for people: percentiles, medians over turns, tables, progress."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from statistics import median


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which *share* of *ordered* lies; NaN if it is empty."""
    if not ordered:
        return float("nan")
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def spread(latencies: Iterable[float]) -> tuple[float, float, float]:
    """Return p50, p99 and p99.9."""
    ordered = sorted(latencies)
    return (
        percentile(ordered, 0.5),
        percentile(ordered, 0.99),
        percentile(ordered, 0.999),
    )


class Turns:
    """
    What was found, turn by turn; a turn measures everything once.

    What is compared is measured by turns, so that whatever else the machine does hits
    all alike; medians over the turns forget the turn that was hit most.
    """

    def __init__(self) -> None:
        self._found: dict[str, dict[str, list[float]]] = {}

    def add(self, row: str, **found: float) -> None:
        """Keep what one turn has found for *row*."""
        columns = self._found.setdefault(row, {})
        for name, value in found.items():
            columns.setdefault(name, []).append(value)

    def medians(self, row: str) -> Mapping[str, float]:
        """Return the medians of *row*, by column; empty if it was not measured."""
        return {name: median(all) for name, all in self._found.get(row, {}).items()}


def number(value: float | None, digits: int = 2) -> str:
    """Return *value* as text; a dash if there is none."""
    if value is None or value != value:
        return "-"
    return f"{value:.{digits}f}"


def ratio(value: float | None, floor: float | None) -> str:
    """Return how many times the floor *value* is."""
    return number(value / floor) if value is not None and floor else "-"


def counted(count: int, what: str) -> str:
    """Return ``3 connections failed``, and for one ``1 connection failed``."""
    if count == 1:
        first, space, rest = what.partition(" ")
        one = "process" if first == "processes" else first.removesuffix("s")
        what = f"{one}{space}{rest}"
    return f"{count} {what}"


def print_table(*rows: Sequence[str]) -> None:
    """Print *rows*, the first being the names of the columns, in columns of tabs."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("\t".join(cells).rstrip())
    sys.stdout.flush()


def say(text: str) -> None:
    """Tell the person who waits, on standard error."""
    print(text, file=sys.stderr, flush=True)
