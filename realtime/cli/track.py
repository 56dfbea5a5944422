"""``realtime track``: send one event, counted exactly once."""

from __future__ import annotations

import argparse
import asyncio
import secrets
from typing import Any

from realtime.cli.options import new_parser
from realtime.cli.remote import RemoteError, add_remote, ask, open_client, pairs, scalar

DESCRIPTION = """\
Send one event and wait until it is counted. Values are read as JSON where they are
JSON numbers, true, false or null, and as text otherwise.
"""

EPILOG = """\
examples:
  realtime track like post=42
  realtime track purchase item=book amount=12.50 --user ann --key "$API_KEY"
  realtime track like post=42 --times 10
"""

TRIES = 5


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(subparsers, "track", "send an event", DESCRIPTION, EPILOG)
    parser.add_argument("event", help="the event's name")
    parser.add_argument("property", nargs="*", help="name=value")
    parser.add_argument("--user", help="whose event it is (needs an API key)")
    parser.add_argument("--at", type=float, help="when, in seconds since 1970")
    parser.add_argument(
        "--times", type=int, default=1, metavar="N", help="send it N times (1 to 1000)"
    )
    add_remote(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Send the event; return the exit code."""
    body = _body(args)
    answer = asyncio.run(_send(args, body))
    for rejected in answer["rejected"]:
        raise RemoteError(f"{rejected['name']}: {rejected['reason']}")
    print(f"counted: {args.event}" + (f" {args.times} times" if args.times > 1 else ""))
    return 0


def _body(args: argparse.Namespace) -> dict[str, object]:
    event: dict[str, object] = {
        "name": args.event,
        "properties": pairs(args.property, scalar, "properties"),
    }
    if args.at is not None:
        event["at"] = args.at
    if not 1 <= args.times <= 1000:
        raise RemoteError(f"--times is {args.times}; it must be from 1 to 1000")
    body: dict[str, object] = {"events": [event] * args.times}
    if args.user is not None:
        body["user"] = args.user
    return body


async def _send(args: argparse.Namespace, body: dict[str, object]) -> Any:
    # The same key with every try: however often it arrives, it counts once.
    key = {"Idempotency-Key": secrets.token_hex(16)}
    async with open_client(args) as client:
        for left in reversed(range(TRIES)):
            try:
                return await ask(client, "POST", "/v1/events", body, key)
            except RemoteError as exc:
                if exc.retry_after_s is None or not left:
                    raise
                await asyncio.sleep(exc.retry_after_s)
    raise AssertionError("the last try returns or raises")
