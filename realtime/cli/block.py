"""``realtime block``: keep a user away for a time."""

from __future__ import annotations

import argparse
from typing import Any

from realtime.cli.admin import call, count, everywhere, moment, user_path
from realtime.cli.options import new_parser
from realtime.cli.remote import add_remote

DESCRIPTION = """\
Turn a user away, on every node: his connections are closed (4505), and he cannot come
back until the time is over, whatever token he has.
"""

EPILOG = """\
examples:
  realtime block mallory --for 1h --key "$API_KEY"
  realtime block mallory --for 30d
      from now on; it replaces the hour
  realtime unblock mallory
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(
        subparsers, "block", "keep a user away for a time", DESCRIPTION, EPILOG
    )
    parser.add_argument("user", help="who")
    parser.add_argument(
        "--for",
        dest="duration",
        metavar="DURATION",
        required=True,
        help="how long, such as 5m, 12h or 30d",
    )
    add_remote(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Block; return the exit code."""
    body = {"for": args.duration}
    answer = call(args, "PUT", f"{user_path(args.user)}/block", body)
    closed = count(answer["disconnected"], "connection")
    until = moment(answer["until"])
    print(f"blocked {args.user} until {until}: {closed} closed, {everywhere(answer)}")
    return 0
