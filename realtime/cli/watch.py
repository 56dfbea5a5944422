"""``realtime watch``: a line per channel in the terminal that changes as it does."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import orjson
from rich.console import Console
from rich.live import Live
from rich.table import Table

from realtime.cli.options import new_parser
from realtime.cli.remote import RemoteError, add_remote, open_client, refusal
from realtime.units import format_duration

DESCRIPTION = """\
Watch live channels (or any others) until Ctrl-C. On a terminal each channel has a line
with its latest value; into a pipe or a file goes one JSON object per change. After a
lost connection it goes on, on channels with a history with what it has missed.
"""

EPILOG = """\
examples:
  realtime watch 'live:likes;post=42;window=5m'
  realtime watch live:quakes 'live:strongest;window=1m/1s'
  realtime watch chat:news --key "$TOKEN" | jq .data.text
"""

CONNECT_TIMEOUT_S = 10.0
SILENCE_S = 60.0  # the server says something every 15 s
AGAIN_S = 1.0
REDRAWS_PER_S = 1

Latest = dict[str, tuple[object, float, int]]
"""By channel: the data, when they came (monotonic, in seconds), how many changes."""


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(
        subparsers, "watch", "watch counters and channels", DESCRIPTION, EPILOG
    )
    parser.add_argument("channel", nargs="+", help="such as live:likes;post=42")
    parser.add_argument(
        "--count", type=int, metavar="N", help="stop after N values (default: never)"
    )
    add_remote(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Watch until interrupted; return the exit code."""
    if args.count is not None and args.count < 1:
        raise RemoteError(f"--count is {args.count}; it must be 1 or more")
    console = Console()
    asyncio.run(_on_terminal(args, console) if console.is_terminal else _as_lines(args))
    return 0


async def _as_lines(args: argparse.Namespace) -> None:
    async for event in _events(args):
        print(orjson.dumps(event).decode(), flush=True)


async def _on_terminal(args: argparse.Namespace, console: Console) -> None:
    latest: Latest = {}
    with _live(console, latest) as live:
        async for event in _events(args):
            _, _, changes = latest.get(event["channel"], (None, 0.0, 0))
            latest[event["channel"]] = (event["data"], time.monotonic(), changes + 1)
            live.refresh()


def _live(console: Console, latest: Latest) -> Live:
    """Draw *latest* when asked to, and every second, for the column ``last``."""
    return Live(
        console=console,
        get_renderable=lambda: _table(latest) if latest else "",
        refresh_per_second=REDRAWS_PER_S,
    )


def _table(latest: Latest) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("channel", style="cyan", no_wrap=True)
    table.add_column("value", justify="right", style="bold")
    table.add_column("changes", justify="right", style="dim")
    table.add_column("last", justify="right", style="dim")
    now = time.monotonic()
    # A copy, for the redrawing thread must not meet a channel that is just added.
    for channel, (data, at, changes) in tuple(latest.items()):
        ago = format_duration(round(now - at))
        table.add_row(channel, _shown(data), str(changes), f"{ago} ago")
    return table


def _shown(data: object) -> str:
    if isinstance(data, dict) and "value" in data:
        return str(data["value"])
    return orjson.dumps(data).decode()


async def _events(args: argparse.Namespace) -> AsyncIterator[dict[str, Any]]:
    """Yield what the server pushes; connect again when the connection is lost."""
    left = args.count
    timeout = httpx.Timeout(CONNECT_TIMEOUT_S, read=SILENCE_S)
    async with open_client(args, timeout) as client:
        stream = Stream(client, args.channel)
        while True:
            try:
                async for event in stream.read():
                    yield event
                    left = left - 1 if left is not None else None
                    if left == 0:
                        return
            except httpx.HTTPError as exc:
                if not stream.opened:
                    reason = str(exc) or type(exc).__name__
                    raise RemoteError(
                        f"{args.url} cannot be reached: {reason}"
                    ) from exc
            except RemoteError as exc:
                # A server that was there comes back, and is busy while it does.
                if exc.retry_after_s is None or not stream.opened:
                    raise
            await asyncio.sleep(stream.again_s)


class Stream:
    """
    What the server pushes; ``opened`` once it has ever begun to.

    When it has ended, it may be read again after ``again_s``, and goes on where it was
    on channels with a history. What is lost, and what the server will not push any
    more, is said on the standard error.
    """

    def __init__(self, client: httpx.AsyncClient, channels: Sequence[str]) -> None:
        self.opened = False
        self.again_s = AGAIN_S
        self._client = client
        self._channels = channels
        self._places: dict[str, str] = {}  # by channel: the id of its last event

    async def read(self) -> AsyncIterator[dict[str, Any]]:
        """
        Yield pushes until the stream ends.

        Raises:
            RemoteError: If the server refuses.
            httpx.HTTPError: If the connection fails.
        """
        names = [("channel", name) for name in self._channels]
        places = [("since", id) for id in self._places.values()]
        params = httpx.QueryParams([*names, *places])
        request = self._client.stream("GET", "/v1/live", params=params)
        async with request as response:
            if not response.is_success:
                await response.aread()
                raise refusal(response)
            self.opened, self.again_s = True, AGAIN_S
            kind = ""
            async for line in response.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "id":
                    self._places[value.split(",", 2)[-1]] = value
                elif name == "retry":
                    self.again_s = int(value) / 1000
                elif name == "data" and kind == "push":
                    yield orjson.loads(value)
                elif name == "data":
                    _heed(kind, orjson.loads(value))


def _heed(kind: str, said: dict[str, Any]) -> None:
    """
    Take what the server says beside the pushes.

    Raises:
        RemoteError: If it ends the stream, and reading again would not help.
    """
    if kind == "gap":
        print(f"realtime: something of {said['channel']} is lost", file=sys.stderr)
    elif kind == "unsubscribed":
        reason = f"{said['channel']} is not sent any more: {said['reason']}"
        print(f"realtime: {reason}", file=sys.stderr)
    elif kind == "end" and not said["reconnect"]:
        raise RemoteError(f"the server has ended the stream: {said['reason']}")
