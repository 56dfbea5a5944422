"""
What a run has found: rows for a table, series for plots, and what it was run with.

``to_json`` and ``from_json`` are inverse, so that results can be kept and compared.
"""

from __future__ import annotations

import math
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson

from realtime import __version__
from realtime.bench.errors import BenchError
from realtime.bench.machine import facts_of_machine

Cell = str | int | float | None
Row = Mapping[str, Cell]

FORMAT = 1
_SECRET_OPTIONS = ("--token", "--secret", "--api-key")
_PASSWORD = re.compile("(?<=://)[^/@]*@")
_SHOWN_VERSIONS = ("uvloop", "websockets", "orjson", "redis", "hiredis")


@dataclass(frozen=True, slots=True)
class Series:
    """
    One line of a plot: *points* of (x, y), in the plot named *chart*.

    Lines with the same *chart* are drawn into one plot, whose axes are *x* and *y*
    (with units); *log* makes y logarithmic.
    """

    chart: str
    name: str
    x: str
    y: str
    points: tuple[tuple[float, float], ...]
    log: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """
    One run of one scenario.

    *columns* maps the keys of *rows* to headings (with units); keys that are no columns
    are only in the JSON. *warnings* are sentences about what makes the numbers
    doubtful, *stopped* is why the run ended early, empty if it did not.
    """

    scenario: str
    columns: Mapping[str, str]
    rows: Sequence[Row]
    series: Sequence[Series] = ()
    warnings: Sequence[str] = ()
    stopped: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=facts_of_machine)
    versions: Mapping[str, str] = field(default_factory=lambda: versions())
    started_at: str = field(default_factory=lambda: now_text())
    command: str = field(default_factory=lambda: command_line())

    def table(self) -> list[list[str]]:
        """Return the cells of the table as text, the headings first."""
        used = [
            key
            for key in self.columns
            if any(row.get(key) is not None for row in self.rows)
        ]
        body = [[shown(row.get(key)) for key in used] for row in self.rows]
        return [[self.columns[key] for key in used], *body]

    def to_json(self) -> bytes:
        """Return all of it."""
        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps({"format": FORMAT, **asdict(self)}, option=options)

    @classmethod
    def from_json(cls, text: bytes) -> Result:
        """
        Return what ``to_json`` was called on (missing numbers are None afterwards).

        Raises:
            BenchError: If it is no result.
        """
        try:
            data = orjson.loads(text)
            if data.pop("format") != FORMAT:
                raise BenchError(f"this is no result in format {FORMAT}")
            lines = [
                Series(**{**one, "points": tuple(map(tuple, one["points"]))})
                for one in data.pop("series")
            ]
            return cls(**data, series=lines)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as exc:
            raise BenchError(f"this is no result of a benchmark: {exc!r}") from exc

    def write(self, path: str) -> None:
        """Write the JSON. Raises BenchError if the file cannot be written."""
        try:
            Path(path).write_bytes(self.to_json())
        except OSError as exc:
            raise BenchError(f"--json {path} cannot be written: {exc}") from exc


def lines_of(
    rows: Sequence[Row], key: str, x: str, lines: Sequence[tuple[str, str, str, str]]
) -> list[Series]:
    """
    Return series of columns over the column *key*, whose axis is named *x*.

    *lines* are (chart, name of the line, column, unit). Times are drawn on a
    logarithmic axis, for tails are far away from medians.
    """
    found = []
    for chart, name, column, unit in lines:
        points = tuple(
            (float(at), float(value))
            for at, value in ((row.get(key), row.get(column)) for row in rows)
            if isinstance(at, int | float) and isinstance(value, int | float)
        )
        if points:
            found.append(Series(chart, name, x, unit, points, log=unit == "ms"))
    return found


def shown(value: Cell) -> str:
    """Return a cell as text: numbers with three digits that count, at least."""
    if value is None:
        return "-"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if not math.isfinite(value):
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}" if abs(value) >= 10_000 else f"{value:.{digits}f}"


def versions() -> Mapping[str, str]:
    """Return what took part, and in which version."""
    found = {"realtime": __version__, "python": sys.version.split()[0]}
    for name in _SHOWN_VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def now_text() -> str:
    """Return the time as it is written into results."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def command_line(argv: Sequence[str] | None = None) -> str:
    """Return how this program was called, without its secrets."""
    words = list(sys.argv if argv is None else argv)
    if words:
        name = Path(words[0]).name
        words[0] = "realtime" if name == "__main__.py" else name
    hidden = []
    for at, word in enumerate(words):
        option, equals, _ = word.partition("=")
        if equals and option in _SECRET_OPTIONS:
            hidden.append(f"{option}=...")
        elif at and words[at - 1] in _SECRET_OPTIONS:
            hidden.append("...")
        else:
            hidden.append(without_password(word))
    return shlex.join(hidden)


def without_password(text: str) -> str:
    """Return a text without the user and the password of an address in it."""
    return _PASSWORD.sub("...@", text)
