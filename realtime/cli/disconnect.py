"""``realtime disconnect``: close the connections of a user, or one."""

from __future__ import annotations

import argparse
from typing import Any

from realtime.cli.admin import (
    add_target,
    call,
    count,
    everywhere,
    target_name,
    target_path,
)
from realtime.cli.options import new_parser
from realtime.cli.remote import add_remote

DESCRIPTION = """\
Close the connections of a user, on every node, or one connection.

The app is told not to come back (close code 4504); with --reconnect, to come back at
once (4007). It may do so in either case: to keep a user away, block him.
"""

EPILOG = """\
examples:
  realtime disconnect ann --key "$API_KEY"
      all connections of ann, for good
  realtime disconnect ann --reconnect --reason 'your plan has changed'
      so that her app asks for a new token and comes back
  realtime disconnect --connection 5f1b2e0f9a154f6d
      one connection, as `realtime connections ann` lists them
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(
        subparsers, "disconnect", "close connections", DESCRIPTION, EPILOG
    )
    add_target(parser)
    parser.add_argument(
        "--reconnect", action="store_true", help="let the app come back at once"
    )
    parser.add_argument("--reason", metavar="TEXT", help="told to the app")
    add_remote(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Disconnect; return the exit code."""
    body = {"reconnect": args.reconnect, "reason": args.reason}
    answer = call(args, "POST", f"{target_path(args)}/disconnect", body)
    closed = count(answer["disconnected"], "connection")
    print(f"disconnected {target_name(args)}: {closed}, {everywhere(answer)}")
    return 0
