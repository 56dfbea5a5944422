"""``realtime presence``: who is on a channel."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from realtime.cli.options import new_parser
from realtime.cli.remote import add_remote, ask, open_client

DESCRIPTION = """\
List the members of a channel, one a line: the connection, its user and what its token
tells of the user. With --stats, count them instead."""

EPILOG = """\
examples:
  realtime presence room:42
  realtime presence room:42 --stats --key "$API_KEY"
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(
        subparsers, "presence", "who is on a channel", DESCRIPTION, EPILOG
    )
    parser.add_argument("channel", help="namespace:name")
    parser.add_argument(
        "--stats", action="store_true", help="only how many connections and users"
    )
    add_remote(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read and print; return the exit code."""
    asyncio.run(_show(args))
    return 0


async def _show(args: argparse.Namespace) -> None:
    path = f"/v1/channels/{quote(args.channel, safe='')}/presence"
    async with open_client(args) as client:
        if args.stats:
            found = await ask(client, "GET", f"{path}/stats")
            print(f"{found['clients']} connections, {found['users']} users")
            return
        async for member in _members(client, path):
            print(_line(member))


async def _members(client: httpx.AsyncClient, path: str) -> AsyncIterator[Any]:
    cursor = ""
    while True:
        page = await ask(client, "GET", f"{path}?cursor={cursor}")
        for member in page["members"]:
            yield member
        cursor = page.get("cursor", "")
        if not cursor:
            return


def _line(member: dict[str, Any]) -> str:
    parts = [member["client"], member.get("user", "-")]
    if "info" in member:
        parts.append(orjson.dumps(member["info"]).decode())
    return "  ".join(parts)
