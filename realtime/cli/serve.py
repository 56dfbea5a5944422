"""``realtime serve``: the server itself, alone or as several workers on one port."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import resources
from typing import Any, TextIO

import structlog

from realtime import demo, logs
from realtime.app import Options
from realtime.cli.options import add_config, config_path, new_parser
from realtime.config import Config, load, load_functions, warnings
from realtime.server import address_of, bind, longest_stop_s
from realtime.server import run as run_server
from realtime.workers import Supervisor

log = structlog.get_logger(__name__)

EPILOG = """\
examples:
  realtime serve --demo
      something to see: a replay of real events, and a page that shows it
  realtime serve --dev
      for development on this machine: everything is allowed to everybody
  realtime serve --config realtime.toml
      what the configuration says
  realtime serve --config realtime.toml --redis redis://127.0.0.1:6379 --workers 4
      four processes on one port, joined by Redis
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    description = "Run the server until it is stopped (Ctrl-C or SIGTERM)."
    parser = new_parser(subparsers, "serve", "run the server", description, EPILOG)
    add_config(parser)
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port (default 8080; 0: any free one)")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes on this port; needs Redis"
    )
    parser.add_argument("--redis", metavar="URL", help="join other nodes through Redis")
    parser.add_argument(
        "--dev", action="store_true", help="allow everything to everybody, on loopback"
    )
    parser.add_argument(
        "--demo", action="store_true", help="--dev with counters and a replay of events"
    )
    # The supervisor's words to its workers.
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve; return the exit code."""
    out = sys.stdout if args.worker is None else _ear_of_supervisor()
    config = load(_path(args), os.environ, _overrides(args))
    logs.configure(config.logs, sys.stderr)
    for warning in warnings(config):
        log.warning("configuration", problem=warning)
    load_functions(config)  # once before many workers find the same mistake
    sock = bind(config.server, worker=args.worker is not None)
    if config.server.workers > 1 and args.worker is None:
        return _supervise(args, config, sock)
    started = partial(_announce, config, sock, out)
    return run_server(config, _options(args), sock, started, args.worker is not None)


def _ear_of_supervisor() -> TextIO:
    """
    Return this worker's standard output, which is for one line: that it serves.

    What anybody else prints (a hook, for instance) goes to standard error. The
    supervisor would take it for that line, and whoever prints more than a pipe holds
    would wait for ever.
    """
    ear = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return ear


def _path(args: argparse.Namespace) -> str | None:
    if args.config is None and args.demo:
        return str(resources.files("realtime.demo") / "demo.toml")
    return config_path(args)


def _overrides(args: argparse.Namespace) -> Mapping[str, object]:
    given = {
        "server.host": args.host,
        "server.port": args.port,
        "server.workers": args.workers,
        "server.dev": True if args.dev or args.demo else None,
        "redis.url": args.redis,
    }
    return {key: value for key, value in given.items() if value is not None}


def _options(args: argparse.Namespace) -> Options:
    if not args.demo:
        return Options()
    return Options(page=demo.page(), demo=not args.worker)


def _announce(config: Config, sock: socket.socket, out: TextIO) -> None:
    """Say that connections are accepted: to the user, or to the supervisor."""
    print(f"realtime is at {address_of(config.server, sock)}", file=out, flush=True)


def _supervise(args: argparse.Namespace, config: Config, sock: socket.socket) -> int:
    """Keep the workers alive; *sock* only reserves the port for them."""
    port = sock.getsockname()[1]
    given = _arguments(args, port)

    def command(index: int) -> Sequence[str]:
        return ("-m", "realtime", "serve", *given, "--worker", str(index))

    started = partial(_announce, config, sock, sys.stdout)
    try:
        supervisor = Supervisor(
            command, config.server.workers, started, longest_stop_s(config.drain)
        )
        return asyncio.run(supervisor.run())
    finally:
        sock.close()


def _arguments(args: argparse.Namespace, port: int) -> list[str]:
    """Say again what we were told, with the port that was really bound."""
    given = ["--port", str(port)]
    for name in ("config", "host", "workers", "redis"):
        value = getattr(args, name)
        if value is not None:
            given += [f"--{name}", str(value)]
    given += [f"--{name}" for name in ("dev", "demo") if getattr(args, name)]
    return given
