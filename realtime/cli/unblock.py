"""``realtime unblock``: let a user come back."""

from __future__ import annotations

import argparse
from typing import Any

from realtime.cli.admin import call, user_path
from realtime.cli.options import new_parser
from realtime.cli.remote import add_remote

DESCRIPTION = "Take back what `realtime block` has ordered: the user may connect again."

EPILOG = """\
examples:
  realtime unblock mallory --key "$API_KEY"
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(
        subparsers, "unblock", "let a user come back", DESCRIPTION, EPILOG
    )
    parser.add_argument("user", help="who")
    add_remote(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Unblock; return the exit code."""
    answer = call(args, "DELETE", f"{user_path(args.user)}/block")
    print(f"{args.user} {'may come back' if answer['unblocked'] else 'is not blocked'}")
    return 0
