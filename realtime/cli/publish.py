"""``realtime publish``: publish a message on channels."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import orjson

from realtime.cli.options import new_parser
from realtime.cli.remote import RemoteError, add_remote, ask, open_client

DESCRIPTION = "Publish one message, given as JSON, on one channel or several."

EPILOG = """\
examples:
  realtime publish chat:news '{"text": "hello"}'
  realtime publish chat:news chat:sport '"a string"' --key "$API_KEY"
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(subparsers, "publish", "publish a message", DESCRIPTION, EPILOG)
    parser.add_argument("channel", nargs="+", help="namespace:name")
    parser.add_argument("data", help="the message, as JSON")
    add_remote(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Publish; return the exit code."""
    try:
        data = orjson.loads(args.data)
    except orjson.JSONDecodeError as exc:
        raise RemoteError(
            f"the message is no JSON ({exc}); a string is written '\"hello\"'"
        ) from exc
    asyncio.run(_send(args, data))
    print(f"published on {', '.join(args.channel)}")
    return 0


async def _send(args: argparse.Namespace, data: object) -> None:
    async with open_client(args) as client:
        if len(args.channel) == 1:
            body = {"channel": args.channel[0], "data": data}
            await ask(client, "POST", "/v1/publish", body)
            return
        body = {"channels": args.channel, "data": data}
        answer = await ask(client, "POST", "/v1/broadcast", body)
        for error in answer.get("errors", ()):
            raise RemoteError(f"{error['channel']}: {error['reason']}")
