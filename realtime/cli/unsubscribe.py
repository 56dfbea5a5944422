"""``realtime unsubscribe``: end the subscriptions of a user to a channel."""

from __future__ import annotations

import argparse
from typing import Any

from realtime.cli.admin import call, count, everywhere, target_name, target_path
from realtime.cli.options import new_parser
from realtime.cli.remote import add_remote

DESCRIPTION = """\
End the subscriptions of a user to a channel, on every node, or those of one connection.

The app is told. It may subscribe again if its token grants it: let the next token grant
less, and have the present one revoked (`realtime revoke`).
"""

EPILOG = """\
examples:
  realtime unsubscribe chat:42 ann --key "$API_KEY"
  realtime unsubscribe 'live:likes;post=42;window=5m' ann
  realtime unsubscribe chat:42 --connection 5f1b2e0f9a154f6d
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(
        subparsers, "unsubscribe", "end subscriptions", DESCRIPTION, EPILOG
    )
    parser.add_argument("channel", help="such as chat:42")
    parser.add_argument("user", nargs="?", help="whose connections")
    parser.add_argument("--connection", metavar="ID", help="only this connection")
    add_remote(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Unsubscribe; return the exit code."""
    body = {"channel": args.channel}
    answer = call(args, "POST", f"{target_path(args)}/unsubscribe", body)
    ended = count(answer["unsubscribed"], "subscription")
    told = f"{target_name(args)} from {args.channel}: {ended}, {everywhere(answer)}"
    print(f"unsubscribed {told}")
    return 0
