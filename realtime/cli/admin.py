"""What the commands that give orders to a running server have in common."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import orjson
from rich.console import Console
from rich.table import Table

from realtime.cli.remote import RemoteError, ask, open_client

Row = Mapping[str, Any]

PAGE = 1_000

IDS = frozenset({"connection", "node"})
"""Fields that are copied into other commands, so they are never cut."""


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say whom an order is about."""
    parser.add_argument("user", nargs="?", help="whose connections")
    parser.add_argument("--connection", metavar="ID", help="only this connection")


def target_path(args: argparse.Namespace) -> str:
    """
    Return where orders about the target are sent.

    Raises:
        RemoteError: Unless a user or a connection is given, and not both.
    """
    if (args.user is None) is (args.connection is None):
        raise RemoteError("give either a user or --connection ID")
    if args.user is not None:
        return user_path(args.user)
    return f"/v1/connections/{quote(args.connection, safe='')}"


def user_path(user: str) -> str:
    """Return where orders about *user* are sent."""
    return f"/v1/users/{quote(user, safe='')}"


def target_name(args: argparse.Namespace) -> str:
    """Return the target as a sentence names it."""
    return f"connection {args.connection}" if args.user is None else str(args.user)


def call(
    args: argparse.Namespace, method: str, path: str, body: object = None
) -> dict[str, Any]:
    """Make one request; return the answer. Raises RemoteError."""

    async def run() -> Any:
        async with open_client(args) as client:
            return await ask(client, method, path, body)

    found: dict[str, Any] = asyncio.run(run())
    return found


def pages(
    args: argparse.Namespace, path: str, name: str, query: Mapping[str, str], limit: int
) -> list[Row]:
    """Return the first *limit* of a list that comes in pages. Raises RemoteError."""

    async def run() -> list[Row]:
        found: list[Row] = []
        async with open_client(args) as client:
            cursor: str | None = ""
            while cursor is not None and len(found) < limit:
                size = min(PAGE, limit - len(found))
                asked = {**query, "limit": str(size), **_cursor(cursor)}
                answer = await ask(client, "GET", f"{path}?{httpx.QueryParams(asked)}")
                found += answer[name]
                cursor = answer.get("cursor")
        return found

    return asyncio.run(run())


def _cursor(cursor: str) -> dict[str, str]:
    return {"cursor": cursor} if cursor else {}


def everywhere(answer: Row) -> str:
    """Say who has answered."""
    return f"on {count(answer['nodes'], 'node')}"


def count(number: int, what: str) -> str:
    """Return ``1 node``, ``2 nodes``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def show(rows: Sequence[Row], columns: Mapping[str, str], nothing: str) -> None:
    """
    Print a table on a terminal, and one JSON object per line into a pipe or a file.

    *columns*: by heading, the field. *nothing* is what to say when there are no rows.
    """
    console = Console()
    if not console.is_terminal:
        for row in rows:
            print(orjson.dumps(row).decode())
        return
    if not rows:
        print(nothing, file=sys.stderr)
        return
    table = Table(box=None, pad_edge=False)
    for heading, field in columns.items():
        right = any(_is_number(row.get(field)) for row in rows)
        table.add_column(
            heading,
            justify="right" if right else "left",
            no_wrap=field in IDS,
            min_width=_longest(rows, field) if field in IDS else None,
        )
    for row in rows:
        table.add_row(*_cells(row, columns.values()))
    console.print(table)


def _longest(rows: Sequence[Row], field: str) -> int:
    return max(len(str(row.get(field, ""))) for row in rows)


def _cells(row: Row, fields: Iterable[str]) -> Iterable[str]:
    for field in fields:
        value = row.get(field)
        if field in ("since", "until", "issued_before", "started_at"):
            yield "" if value is None else moment(value)
        elif isinstance(value, bool):
            yield "yes" if value else "no"
        elif isinstance(value, dict | list):
            yield orjson.dumps(value).decode()
        else:
            yield "" if value is None else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def moment(seconds: float) -> str:
    """Return a time as people of all zones read it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
