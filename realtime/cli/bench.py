"""``realtime bench``: the load-tester's kit, on the command line."""

from __future__ import annotations

import argparse
from typing import Any

from realtime.bench.scenarios import SCENARIOS
from realtime.cli.options import new_parser

DESCRIPTION = """\
Load a server with many clients and measure it. Without --url, a server is started for
the run; with it, your own deployment is loaded. Each benchmark has a help of its own,
with its options and with examples: realtime bench NAME --help.
"""

CONFIG = "config"

EPILOG = """\
benchmarks:
{names}

examples:
  realtime bench fanout
      a server started here
  realtime bench connect --connections 15000 --plot memory.html
      memory over the number of connections, as a picture
  realtime bench latency --url wss://rt.example.com --yes-this-is-mine \\
          --secret-file hmac.secret --json before.json
      a deployment of your own, the result kept
"""


def _names() -> str:
    config = "prints what the realtime.toml of a server needs for all of these"
    lines = {**SCENARIOS, CONFIG: config}
    return "\n".join(f"  {name:9} {what}" for name, what in lines.items())


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(
        subparsers,
        "bench",
        "load a server and measure it",
        DESCRIPTION,
        EPILOG.format(names=_names()),
    )
    parser.add_argument("name", help="which benchmark")
    parser.add_argument(
        "rest", nargs=argparse.REMAINDER, help="its options; --help tells them"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the benchmark; return the exit code."""
    # Here, for it is much, and no other command needs it.
    from realtime.bench.local import configuration
    from realtime.bench.program import main

    if args.name == CONFIG:
        print(configuration(), end="")
        return 0
    return main(args.name, args.rest)
