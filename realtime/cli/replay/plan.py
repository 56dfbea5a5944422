"""
How rows become numbered events: which columns mean what, and which lane each goes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson

from realtime.cli.remote import RemoteError
from realtime.cli.replay.rows import Row

READ_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Speed:
    """``factor`` times as fast as it happened; None: as fast as the server takes it."""

    factor: float | None

    @classmethod
    def parse(cls, text: str) -> Speed:
        """
        Read ``max``, ``real`` or a number above 0.

        Raises:
            argparse.ArgumentTypeError: With a sentence that says what is right.
        """
        if text == "max":
            return cls(None)
        try:
            factor = 1.0 if text == "real" else float(text.removesuffix("x"))
        except ValueError:
            factor = 0.0
        if not 0 < factor < math.inf:
            raise argparse.ArgumentTypeError(
                f"is {text!r}; it must be max, real, or a number above 0 such as 60"
            )
        return cls(factor)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the command line says of the file. Equal plans number rows equally."""

    event: str | None
    name: str | None
    time: str | None
    user: str | None
    properties: tuple[str, ...] | None
    speed: Speed
    keep_time: bool
    limit: int | None
    lanes: int
    batch: int
    id: str

    @classmethod
    def of(cls, args: argparse.Namespace) -> Plan:
        """Make the plan of a command line, reading the file once for its digest."""
        properties = args.properties.split(",") if args.properties is not None else None
        return cls(
            args.event,
            args.name,
            args.time,
            args.user,
            None if properties is None else tuple(properties),
            args.speed,
            args.keep_time,
            args.limit,
            args.lanes,
            args.batch,
            _identity(args, properties),
        )

    def device(self, lane: int) -> str:
        """Name the device that numbers the rows of *lane*."""
        return f"replay-{self.id}-{lane}"

    def lane(self, row: Row, number: int) -> int:
        """Choose the lane of row *number*: one user's rows stay in order."""
        if self.user is None:
            return number % self.lanes
        return crc32(str(row.get(self.user)).encode()) % self.lanes

    def moment(self, row: Row) -> float:
        """
        Return when the row happened, in seconds since the epoch.

        Raises:
            RemoteError: If the column holds no time.
        """
        assert self.time is not None
        return moment_of(row.get(self.time), self.time)

    def encode(self, row: Row, at: float | None) -> dict[str, object]:
        """Make the event of *row*, dated *at* (None: when it arrives)."""
        event: dict[str, object] = {"name": self._name(row)}
        if at is not None:
            event["at"] = at
        if self.user is not None and row.get(self.user) is not None:
            event["user"] = str(row[self.user])
        event["properties"] = {
            column: plain(row[column])
            for column in self._columns(row)
            if row.get(column) is not None
        }
        return event

    def _name(self, row: Row) -> str:
        if self.name is not None:
            return self.name
        assert self.event is not None
        name = row.get(self.event)
        # A row without a name goes as it is, to be rejected by its number.
        return "" if name is None else str(name)

    def _columns(self, row: Row) -> Sequence[str]:
        if self.properties is not None:
            return self.properties
        special = (self.event, self.time, self.user)
        return [column for column in row if column not in special]

    def check(self, columns: Sequence[str] | None) -> None:
        """
        Check the columns named against those of the file.

        Raises:
            RemoteError: Naming the column that is missing and those there are.
        """
        if columns is None:
            return
        named = [self.event, self.time, self.user, *(self.properties or ())]
        for column in named:
            if column is not None and column not in columns:
                raise RemoteError(
                    f"there is no column {column!r}; there are {', '.join(columns)}"
                )


def moment_of(value: Any, column: str) -> float:
    """Read seconds since the epoch, or an ISO date or time (UTC where it says none)."""
    if isinstance(value, bool):
        value = None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    try:
        when = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise RemoteError(
            f"{column}: {value!r} is no time; seconds since 1970 or ISO 8601 is right"
        ) from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def plain(value: Any) -> str | int | float | bool:
    """Make a property of a value that a file may hold; what is nested becomes JSON."""
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, dict | list):
        return orjson.dumps(value, default=str).decode()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def _identity(args: argparse.Namespace, properties: list[str] | None) -> str:
    """Tell replays apart: by the file's content and by what is made of it."""
    digest = sha256()
    with Path(args.file).open("rb") as file:
        while block := file.read(READ_AT_ONCE):
            digest.update(block)
    meaning = (
        args.event,
        args.name,
        args.time,
        args.user,
        properties,
        args.lanes,
        args.again,
    )
    digest.update(repr(meaning).encode())
    return digest.hexdigest()[:16]
