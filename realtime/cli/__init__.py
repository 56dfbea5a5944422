"""
The command line: ``realtime COMMAND``.

Each command is a module with ``add_parser(subparsers)``, which describes its arguments
and sets ``run`` as what to run, and ``run(args)``, which returns the exit code. Only
the module of the command that is run is imported: all of them together take a second.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from realtime import __version__
from realtime.errors import ConfigError, RealtimeError

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CONFIG = 2  # also argparse's for wrong arguments
EXIT_INTERRUPTED = 130

EPILOG = """\
examples:
  realtime serve --demo
      something to see at once: a page with counters, fed by a replay of real events
  realtime check
      is ./realtime.toml right, and what does it come to?
  realtime token --user ann --subscribe 'chat:*' --expires 1h
      a token for a test
  realtime COMMAND --help
      what a command does, with examples

Settings are read from the file given by --config or REALTIME_CONFIG, or else from
./realtime.toml; then from variables such as REALTIME_SERVER__PORT=8081; then from the
command line.
"""


class Command(Protocol):
    """A module of this package."""

    def add_parser(self, subparsers: Any, /) -> None:
        """Describe the command's arguments."""

    def run(self, args: argparse.Namespace, /) -> int:
        """Do it; return the exit code."""


COMMANDS: Mapping[str, str] = {
    "serve": "run the server",
    "check": "validate the configuration",
    "token": "make a token",
    "bench": "load a server and measure it",
    "track": "send an event",
    "publish": "publish a message",
    "history": "print or remove a history",
    "presence": "who is on a channel",
    "watch": "watch counters and channels",
    "replay": "send the events of a file",
    "nodes": "list processes and their load",
    "channels": "list channels with subscribers",
    "connections": "list a user's connections",
    "disconnect": "close connections",
    "unsubscribe": "end subscriptions",
    "block": "keep a user away for a time",
    "unblock": "let a user come back",
    "blocks": "list blocks and revocations",
    "revoke": "refuse tokens of the past",
}
"""By name: what it does, as its own ``add_parser`` says. The module has the name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* (by default the process's) names."""
    words = sys.argv[1:] if argv is None else argv
    named = next((word for word in words if not word.startswith("-")), "")
    described = {named} & COMMANDS.keys()
    args = new_parser(described).parse_args(words)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except ConfigError as exc:
        return _fail(exc, EXIT_CONFIG)
    except RealtimeError as exc:
        return _fail(exc, EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Who read our output has seen enough, as in `realtime check | head`. What is
        # still buffered must not fail again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return code


def _fail(exc: RealtimeError, code: int) -> int:
    for line in str(exc).splitlines():
        print(f"realtime: {line}", file=sys.stderr)
    return code


class _Help(argparse.RawDescriptionHelpFormatter):
    """Has a column for the longest command: argparse forgets that they are indented."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        self._action_max_length = max(self._action_max_length, len("unsubscribe") + 4)


def new_parser(described: Collection[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser; of commands that are not *described* it knows the names."""
    parser = argparse.ArgumentParser(
        prog="realtime",
        description="A real-time push server: events up, live counters and messages "
        "down.",
        epilog=EPILOG,
        formatter_class=_Help,
    )
    parser.add_argument(
        "--version", action="version", version=f"realtime {__version__}"
    )
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True
    )
    for name, summary in COMMANDS.items():
        if name in described:
            command = cast(Command, import_module(f"{__name__}.{name}"))
            command.add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    return parser
