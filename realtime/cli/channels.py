"""``realtime channels``: which channels have subscribers."""

from __future__ import annotations

import argparse
from typing import Any

from realtime.cli.admin import pages, show
from realtime.cli.options import new_parser
from realtime.cli.remote import RemoteError, add_remote

DESCRIPTION = """\
List the channels that have subscribers on any node, by name, each with how many: a
table on a terminal, one JSON object per line into a pipe or a file.
"""

EPILOG = """\
examples:
  realtime channels --key "$API_KEY"
      the first hundred
  realtime channels chat: --limit 1000
      those that begin with chat:
  realtime channels | jq -r 'select(.subscribers > 100).channel'
"""

COLUMNS = {"channel": "channel", "subscribers": "subscribers"}


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(
        subparsers, "channels", "list channels with subscribers", DESCRIPTION, EPILOG
    )
    parser.add_argument("prefix", nargs="?", default="", help="how they begin")
    parser.add_argument(
        "--limit", type=int, default=100, metavar="N", help="so many (default 100)"
    )
    add_remote(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List them; return the exit code."""
    if args.limit < 1:
        raise RemoteError(f"--limit is {args.limit}; it must be 1 or more")
    query = {"prefix": args.prefix} if args.prefix else {}
    rows = pages(args, "/v1/channels", "channels", query, args.limit)
    show(rows, COLUMNS, "no channel has subscribers")
    return 0
