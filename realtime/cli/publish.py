"""``realtime publish``: publish a message on channels."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import orjson

from realtime.cli.options import new_parser
from realtime.cli.remote import RemoteError, add_remote, ask, open_client, pairs

DESCRIPTION = "Publish one message, given as JSON, on one channel or several."

EPILOG = """\
examples:
  realtime publish chat:news '{"text": "hello"}'
  realtime publish chat:news chat:sport '"a string"' --key "$API_KEY"
  realtime publish prices:all 67012.5 --tag symbol=BTC --version 731
  realtime publish chat:news '"shipped"' --once order-7781
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(subparsers, "publish", "publish a message", DESCRIPTION, EPILOG)
    parser.add_argument("channel", nargs="+", help="namespace:name")
    parser.add_argument("data", help="the message, as JSON")
    parser.add_argument(
        "--tag",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a tag, which subscribers may filter by; given once or more",
    )
    parser.add_argument(
        "--once",
        metavar="ID",
        help="do not publish if the same ID was published on the channel just now",
    )
    parser.add_argument(
        "--version",
        type=int,
        metavar="N",
        help="do not publish unless N is greater than the channel's last one",
    )
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
    skipped = asyncio.run(_send(args, _message(args, data)))
    published = [name for name in args.channel if name not in skipped]
    if published:
        print(f"published on {', '.join(published)}")
    for name, reason in skipped.items():
        print(f"not published on {name}: {reason}")
    return 0


def _message(args: argparse.Namespace, data: object) -> dict[str, object]:
    message: dict[str, object] = {"data": data}
    if args.tag:
        message["tags"] = pairs(args.tag, str, "tags")
    if args.once is not None:
        message["idempotency_key"] = args.once
    if args.version is not None:
        message["version"] = args.version
    return message


async def _send(args: argparse.Namespace, message: dict[str, object]) -> dict[str, str]:
    """Publish; return why on which channels it was not done."""
    async with open_client(args) as client:
        if len(args.channel) == 1:
            body = {"channel": args.channel[0], **message}
            answer = await ask(client, "POST", "/v1/publish", body)
            placed = [{"channel": args.channel[0], **answer}]
        else:
            body = {"channels": args.channel, **message}
            answer = await ask(client, "POST", "/v1/broadcast", body)
            for error in answer.get("errors", ()):
                raise RemoteError(f"{error['channel']}: {error['reason']}")
            placed = answer.get("placed", [])
    return {one["channel"]: one["skipped"] for one in placed if "skipped" in one}
