"""``realtime blocks``: who is blocked, and whose tokens are revoked."""

from __future__ import annotations

import argparse
from typing import Any

from realtime.cli.admin import pages, show
from realtime.cli.options import new_parser
from realtime.cli.remote import RemoteError, add_remote

DESCRIPTION = """\
List the blocks and revocations in force: a table on a terminal, one JSON object per
line into a pipe or a file. A line without a user is about everybody; one with "issued
before" refuses tokens that are older.
"""

EPILOG = """\
examples:
  realtime blocks --key "$API_KEY"
  realtime blocks --limit 10000 | jq -r 'select(.issued_before == null).user'
"""

COLUMNS = {"user": "user", "until": "until", "issued before": "issued_before"}


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(
        subparsers, "blocks", "list blocks and revocations", DESCRIPTION, EPILOG
    )
    parser.add_argument(
        "--limit", type=int, default=100, metavar="N", help="so many (default 100)"
    )
    add_remote(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List them; return the exit code."""
    if args.limit < 1:
        raise RemoteError(f"--limit is {args.limit}; it must be 1 or more")
    rows = pages(args, "/v1/blocks", "blocks", {}, args.limit)
    show(rows, COLUMNS, "nobody is blocked, and no token revoked")
    return 0
