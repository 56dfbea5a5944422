"""``realtime connections``: where a user is connected."""

from __future__ import annotations

import argparse
from typing import Any

from realtime.cli.admin import call, show, user_path
from realtime.cli.options import new_parser
from realtime.cli.remote import add_remote

DESCRIPTION = """\
List the connections of a user on all nodes, the oldest first: a table on a terminal,
one JSON object per line into a pipe or a file.
"""

EPILOG = """\
examples:
  realtime connections ann --key "$API_KEY"
  realtime connections ann | jq -r .connection
"""

COLUMNS = {
    "connection": "connection",
    "node": "node",
    "since": "since",
    "remote": "remote",
    "transport": "transport",
    "client": "client",
    "subscriptions": "subscriptions",
}


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(
        subparsers, "connections", "list a user's connections", DESCRIPTION, EPILOG
    )
    parser.add_argument("user", help="whose connections")
    add_remote(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List them; return the exit code."""
    answer = call(args, "GET", f"{user_path(args.user)}/connections")
    show(answer["connections"], COLUMNS, f"{args.user} is not connected")
    return 0
