"""Files as rows: dictionaries of column and value, in the file's order."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import orjson

from realtime.cli.remote import RemoteError, scalar

Row = Mapping[str, Any]


@dataclass(slots=True)
class Rows:
    """
    An open file.

    ``total`` and ``done`` measure the same thing: bytes, or rows where those are known.
    """

    columns: list[str] | None  # None: only each row knows
    total: int
    rows: Iterator[Row]
    done: int = 0

    def __iter__(self) -> Iterator[Row]:
        return self.rows


@contextmanager
def open_rows(path: Path) -> Iterator[Rows]:
    """
    Open *path* by its ending.

    Raises:
        RemoteError: If the ending is not known, or the file is not what it says.
    """
    if path.suffix == ".parquet":
        yield _parquet(path)
        return
    if path.suffix not in (".csv", ".jsonl", ".ndjson"):
        raise RemoteError(f"{path}: write .csv, .jsonl, .ndjson or .parquet")
    with path.open("rb") as file, TextIOWrapper(file, "utf-8-sig", newline="") as text:
        rows = _csv(text, file) if path.suffix == ".csv" else _json_lines(file)
        rows.total = path.stat().st_size
        yield rows


def _csv(text: TextIO, file: BinaryIO) -> Rows:
    lines = csv.reader(text)
    columns = next(_readable(lines), None)
    if not columns:
        raise RemoteError("the file is empty; the first line names columns")
    for column in columns:
        if columns.count(column) > 1:
            raise RemoteError(f"the first line names column {column!r} twice")

    def read() -> Iterator[Row]:
        for line in _readable(lines):
            rows.done = file.tell()
            if not line:
                continue  # an empty line, such as the last
            if len(line) != len(columns):
                raise RemoteError(
                    f"line {lines.line_num} has {len(line)} fields, the first has "
                    f"{len(columns)}"
                )
            # An empty field is a missing value, as in every table.
            yield {
                name: scalar(text) if text else None
                for name, text in zip(columns, line, strict=True)
            }

    rows = Rows(columns, 0, read())
    return rows


def _readable(lines: Any) -> Iterator[list[str]]:
    """Yield what a CSV reader reads; tell where it fails."""
    try:
        yield from lines
    except UnicodeDecodeError as exc:
        problem = f"line {lines.line_num + 1} or one soon after it is not UTF-8"
        raise RemoteError(problem) from exc
    except csv.Error as exc:
        raise RemoteError(f"line {lines.line_num} is no CSV: {exc}") from exc


def _json_lines(file: BinaryIO) -> Rows:
    def read() -> Iterator[Row]:
        for number, line in enumerate(file, 1):
            rows.done += len(line)
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as exc:
                raise RemoteError(f"line {number} is no JSON: {exc}") from exc
            if not isinstance(row, dict):
                raise RemoteError(f"line {number} is no JSON object")
            yield row

    rows = Rows(None, 0, read())
    return rows


def _parquet(path: Path) -> Rows:
    try:
        import pyarrow.parquet
    except ImportError:
        raise RemoteError(
            "Parquet files need pyarrow: pip install '.[replay]' in a clone"
        ) from None
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowException as exc:
        raise RemoteError(f"{path} is no Parquet file: {exc}") from exc

    def read() -> Iterator[Row]:
        for batch in file.iter_batches(batch_size=2_000):
            for row in batch.to_pylist():
                rows.done += 1
                yield row

    rows = Rows(list(file.schema_arrow.names), file.metadata.num_rows, read())
    return rows
