"""``realtime nodes``: which processes there are, and how busy."""

from __future__ import annotations

import argparse
from typing import Any

from realtime.cli.admin import call, show
from realtime.cli.options import new_parser
from realtime.cli.remote import add_remote

DESCRIPTION = """\
List every living process of the cluster with its load: a table on a terminal, one JSON
object per line into a pipe or a file. Workers that share a port are processes of their
own here; /metrics and /readyz answer for any one of them.
"""

EPILOG = """\
examples:
  realtime nodes --key "$API_KEY"
  realtime nodes | jq -r 'select(.ready | not).host'
  watch realtime nodes
      during a deploy: who drains, and where the connections go
"""

COLUMNS = {
    "node": "node",
    "host": "host",
    "pid": "pid",
    "version": "version",
    "started": "started_at",
    "connections": "connections",
    "subscriptions": "subscriptions",
    "events/s": "events_per_s",
    "frames/s": "deliveries_per_s",
    "cpu": "cpu",
    "ready": "ready",
    "draining": "draining",
}


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(
        subparsers, "nodes", "list processes and their load", DESCRIPTION, EPILOG
    )
    add_remote(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List them; return the exit code."""
    show(call(args, "GET", "/v1/nodes")["nodes"], COLUMNS, "there are no nodes")
    return 0
