"""What several commands have in common."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realtime.config import Config

# The configuration knows all of the server, which takes most of a second to import: who
# only talks to one need not wait for that.


def new_parser(
    subparsers: Any, name: str, summary: str, description: str, epilog: str
) -> argparse.ArgumentParser:
    """Return the parser of the command *name*, whose help keeps its line breaks."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the configuration file."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="the configuration (default: REALTIME_CONFIG, else ./realtime.toml)",
    )


def config_path(args: argparse.Namespace) -> str | None:
    """Return the path of the configuration file that *args* mean, if there is one."""
    from realtime.config import find_file

    return find_file(args.config, os.environ)


def load_config(args: argparse.Namespace) -> Config:
    """
    Load the configuration that *args* mean.

    Raises:
        ConfigError: If it is wrong.
    """
    from realtime.config import load

    return load(config_path(args), os.environ, {})
