"""
``realtime replay FILE``: send the events of a file, each counted exactly once.

Rows are dealt to *lanes*. A lane is a device of the backend: its rows are numbered in
the file's order, so that a replay that was interrupted goes on where the server says it
stopped, and a replay that was finished adds nothing when it is run again.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from realtime.cli.options import new_parser
from realtime.cli.remote import RemoteError, add_remote, open_client
from realtime.cli.replay.plan import Plan, Speed
from realtime.cli.replay.progress import Progress
from realtime.cli.replay.rows import open_rows
from realtime.cli.replay.sender import replay

DESCRIPTION = """\
Send every row of a CSV, JSON lines or Parquet file as an event. Interrupted, it goes on
where it stopped when it is run again with the same file and columns; rows are never
counted twice. Columns that are not named become the event's properties.
"""

EPILOG = """\
examples:
  realtime replay ratings.csv --name rate --time timestamp --user userId
      as fast as the server takes them, dated now
  realtime replay ratings.csv --name rate --time timestamp --speed 60
      a minute of the file in a second
  realtime replay log.jsonl --event type --time at --speed 1 --keep-time
      at the speed at which it happened, with the times of the file
  realtime replay flights.parquet --name flight --properties carrier,dep_delay --lanes 8

--keep-time sends the file's own times: the server rejects what is older than its
events.max_age, and counts what is older than a counter's lateness in totals only.
Parquet needs pyarrow: pip install '.[replay]' in a clone.
"""

STOPPED = "stopped; run the same command again to go on"
EXIT_INTERRUPTED = 130  # 128 and the number of SIGINT


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(
        subparsers, "replay", "send the events of a file", DESCRIPTION, EPILOG
    )
    parser.add_argument("file", type=Path, help="*.csv, *.jsonl, *.ndjson, *.parquet")
    event = parser.add_mutually_exclusive_group(required=True)
    event.add_argument("--event", metavar="COLUMN", help="holds the event's name")
    event.add_argument("--name", help="the name of every event")
    parser.add_argument("--time", metavar="COLUMN", help="seconds since 1970, or ISO")
    parser.add_argument("--user", metavar="COLUMN", help="holds whose event it is")
    parser.add_argument(
        "--properties", metavar="A,B,C", help="columns to send (default: all others)"
    )
    parser.add_argument(
        "--speed",
        type=Speed.parse,
        default=Speed.parse("max"),
        metavar="N",
        help="N times as fast as it happened, or max (default)",
    )
    parser.add_argument(
        "--keep-time", action="store_true", help="send the file's times, not now"
    )
    parser.add_argument("--limit", type=int, metavar="ROWS", help="stop after so many")
    parser.add_argument(
        "--lanes", type=int, default=4, metavar="N", help="parallel senders (default 4)"
    )
    parser.add_argument(
        "--batch", type=int, default=500, metavar="N", help="events a request, at most"
    )
    parser.add_argument(
        "--again",
        metavar="LABEL",
        default="",
        help="count the file once more, under a label of your own",
    )
    add_remote(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay; return the exit code: 1 when events were rejected, 130 after Ctrl-C."""
    _check(args)
    plan = Plan.of(args)
    with open_rows(args.file) as rows, Progress(args.file.name, rows) as progress:

        async def main() -> None:
            async with open_client(args) as client:
                await replay(client, plan, rows, progress)

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            stopped = True
        else:
            stopped = False
    if stopped:  # said below the bar, which has ended
        print(STOPPED, file=sys.stderr)
        return EXIT_INTERRUPTED
    print(progress.summary())
    return 1 if progress.rejected else 0


def _check(args: argparse.Namespace) -> None:
    for name, least, most in (("lanes", 1, 256), ("batch", 1, 1000)):
        value = getattr(args, name)
        if not least <= value <= most:
            raise RemoteError(f"--{name} is {value}; it must be from {least} to {most}")
    if args.time is None and (args.keep_time or args.speed.factor is not None):
        raise RemoteError("--speed and --keep-time need --time COLUMN")
    if not args.file.is_file():
        raise RemoteError(f"{args.file} is no file")
