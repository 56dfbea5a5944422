"""``realtime presence``: who is on a channel."""

from __future__ import annotations

import argparse
import sys
from typing import Any
from urllib.parse import quote

from realtime.cli.admin import call, pages, show
from realtime.cli.options import new_parser
from realtime.cli.remote import add_remote

DESCRIPTION = """\
List the members of a channel: the connection, its user and what its token tells of the
user; a table on a terminal, one JSON object per line into a pipe or a file. With
--stats, count them instead."""

EPILOG = """\
examples:
  realtime presence room:42
  realtime presence room:42 | jq -r .user
  realtime presence room:42 --stats --key "$API_KEY"
"""

COLUMNS = {"client": "client", "user": "user", "info": "info"}


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
    path = f"/v1/channels/{quote(args.channel, safe='')}/presence"
    if args.stats:
        found = call(args, "GET", f"{path}/stats")
        print(f"{found['clients']} connections, {found['users']} users")
    else:
        show(pages(args, path, "members", {}, sys.maxsize), COLUMNS, "nobody is there")
    return 0
