"""``realtime history``: what a channel has kept."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from realtime.cli.options import new_parser
from realtime.cli.remote import RemoteError, add_remote, ask, open_client

DESCRIPTION = """\
Print what a channel has kept, one JSON object a line: the publication, its offset and
its tags. From the oldest on, or with --last the newest ones.
"""

EPILOG = """\
examples:
  realtime history chat:news --key "$API_KEY"
  realtime history chat:news --last 10 | jq .data.text
  realtime history chat:news --forget --key "$API_KEY"
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(
        subparsers, "history", "print or remove a history", DESCRIPTION, EPILOG
    )
    parser.add_argument("channel", help="namespace:name")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--last", type=int, metavar="N", help="only the newest N")
    what.add_argument(
        "--forget", action="store_true", help="remove it; needs an API key"
    )
    add_remote(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print or remove; return the exit code."""
    if args.last is not None and args.last < 1:
        raise RemoteError(f"--last is {args.last}; it must be 1 or more")
    asyncio.run(_run(args))
    return 0


async def _run(args: argparse.Namespace) -> None:
    path = f"/v1/channels/{quote(args.channel)}/history"
    async with open_client(args) as client:
        if args.forget:
            await ask(client, "DELETE", path)
            print(f"removed what {args.channel} has kept")
        elif args.last is None:
            await _print_all(client, path)
        else:
            await _print_last(client, path, args.last)


async def _print_all(client: httpx.AsyncClient, path: str) -> None:
    page = await ask(client, "GET", path)
    while True:
        for publication in page["publications"]:
            _print(publication)
        if not page["more"] or not page["publications"]:
            return
        offset = page["publications"][-1]["offset"]
        query = httpx.QueryParams(offset=offset, epoch=page["epoch"])
        page = await ask(client, "GET", f"{path}?{query}")
        if not page["complete"]:
            raise RemoteError("what comes next was removed in the meantime; ask again")


async def _print_last(client: httpx.AsyncClient, path: str, count: int) -> None:
    newest: list[Any] = []
    query = httpx.QueryParams(reverse="true", limit=count)
    while True:
        page = await ask(client, "GET", f"{path}?{query}")
        newest += page["publications"]
        if len(newest) >= count or not page["more"] or not page["publications"]:
            break
        query = httpx.QueryParams(
            reverse="true",
            limit=count - len(newest),
            offset=newest[-1]["offset"],
            epoch=page["epoch"],
        )
    for publication in reversed(newest):
        _print(publication)


def _print(publication: object) -> None:
    print(orjson.dumps(publication).decode())
