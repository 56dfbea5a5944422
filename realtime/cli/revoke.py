"""``realtime revoke``: refuse tokens that were issued before an instant."""

from __future__ import annotations

import argparse
from typing import Any

from realtime.cli.admin import call, count, everywhere, moment, user_path
from realtime.cli.options import new_parser
from realtime.cli.remote import RemoteError, add_remote

DESCRIPTION = """\
Refuse the tokens of a user, or of everybody, that were issued (iat) before now or
another instant, and those that do not say when. Connections that were opened with one
are closed (4506): the app gets a new token and comes back.
"""

EPILOG = """\
examples:
  realtime revoke ann --key "$API_KEY"
      after she has signed out everywhere, or her permissions have changed
  realtime revoke --everybody
      after a leak: every app must get a new token
  realtime revoke ann --issued-before 1700000000
      a further order reaches further, never less far
  realtime revoke ann --undo
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(
        subparsers, "revoke", "refuse tokens of the past", DESCRIPTION, EPILOG
    )
    parser.add_argument("user", nargs="?", help="whose tokens")
    parser.add_argument("--everybody", action="store_true", help="all users' tokens")
    parser.add_argument(
        "--issued-before",
        type=float,
        metavar="SECONDS",
        help="in seconds since 1970 (default: now)",
    )
    parser.add_argument(
        "--for",
        dest="duration",
        metavar="DURATION",
        help="how long it is remembered (default 365d)",
    )
    parser.add_argument(
        "--undo", action="store_true", help="take it back: old tokens are good again"
    )
    add_remote(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Revoke; return the exit code."""
    if (args.user is None) is not args.everybody:
        raise RemoteError("give either a user or --everybody")
    path = "/v1" if args.everybody else user_path(args.user)
    if args.undo:
        return _undo(args, path)
    body = {"issued_before": args.issued_before, "for": args.duration}
    answer = call(args, "POST", f"{path}/revoke", body)
    whose = "everybody" if args.everybody else args.user
    before = moment(answer["issued_before"])
    closed = count(answer["disconnected"], "connection")
    told = f"tokens of {whose} issued before {before}: {closed} closed"
    print(f"revoked {told}, {everywhere(answer)}")
    return 0


def _undo(args: argparse.Namespace, path: str) -> int:
    answer = call(args, "DELETE", f"{path}/revoke")
    whose = "everybody" if args.everybody else args.user
    state = "good again" if answer["unrevoked"] else "not revoked"
    print(f"tokens of {whose} are {state}")
    return 0
