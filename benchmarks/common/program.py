"""What every benchmark's command line has: help that teaches, and an end."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from types import FrameType

from realtime.bench.machine import describe_machine, raise_file_limit
from realtime.bench.report import say

LIMIT_S = 1800


class Stopped(Exception):
    """The time is over, or somebody wants an end."""


def new_parser(doc: str) -> argparse.ArgumentParser:
    """Return a parser that explains the benchmark by its own *doc*."""
    first, _, rest = doc.strip().partition("\n\n")
    parser = argparse.ArgumentParser(
        description=first,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="prove in seconds that the program works; the numbers mean nothing",
    )
    parser.add_argument(
        "--limit",
        type=int,
        default=LIMIT_S,
        metavar="S",
        help="give up after S seconds",
    )
    return parser


def run(
    measure: Callable[[argparse.Namespace], None], options: argparse.Namespace
) -> int:
    """Run *measure*; whatever happens, its ``finally`` blocks end what it started."""
    raise_file_limit()
    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, _stop)
    signal.alarm(options.limit)
    say(describe_machine())
    try:
        measure(options)
    except (Stopped, KeyboardInterrupt) as exc:
        say(f"stopped: {exc}")
        return 1
    finally:
        signal.alarm(0)
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped("the time is over" if number == signal.SIGALRM else "by a signal")


def main(
    measure: Callable[[argparse.Namespace], None], options: argparse.Namespace
) -> None:
    """Run and exit."""
    sys.exit(run(measure, options))
