"""``realtime check``: is the configuration right, and what does it come to?"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from realtime import native
from realtime.cli.options import add_config, config_path, load_config, new_parser
from realtime.config import load_functions, used_points, warnings

DESCRIPTION = """\
Validate the configuration and print it resolved: defaults filled in, environment
applied, secrets shown as "(set)". The module of [hooks] is imported, and its hooks are
listed; beside that, nothing is started and nothing is connected to.

Exit code 0: it is right. 2: it is wrong; standard error has a line for each mistake.
"""

EPILOG = """\
examples:
  realtime check
  realtime check --config /etc/realtime.toml > resolved.toml
  REALTIME_LEDGER__TICK=50ms realtime check
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(
        subparsers, "check", "validate the configuration", DESCRIPTION, EPILOG
    )
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the resolved configuration; return the exit code."""
    path = config_path(args)
    config = load_config(args)
    points = used_points(load_functions(config), config)
    print(f"# {path or 'no file; defaults and environment'}: all right")
    print(f"# parts in C: {'used' if native.used() else 'not used'}")
    for point, place in points.items():
        print(f"# hook {point}: {place}")
    print()
    print(config.render(), end="")
    for warning in warnings(config):
        print(f"realtime: note: {warning}", file=sys.stderr)
    return 0
