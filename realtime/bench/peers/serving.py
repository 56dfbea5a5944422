"""What the programs of the peers share: their command line and their first line."""

from __future__ import annotations

import argparse
import resource
import socket
from dataclasses import dataclass

HOST = "127.0.0.1"
BACKLOG = 4096
READY = "listening on "
"""How the line begins that says the port; nothing else goes to standard output."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen (0: any free port), which Redis to use, and how."""

    port: int
    redis: str | None
    variant: str


def place(doc: str) -> Place:
    """Read the command line, and allow as many open files as the system lets us."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--redis", metavar="URL", help="join other processes by it")
    parser.add_argument("--variant", default="", help="which of several ways to serve")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return Place(options.port, options.redis, options.variant)


def listen(port: int) -> socket.socket:
    """Return a listening socket, and say where it listens."""
    sock = socket.create_server((HOST, port), backlog=BACKLOG)
    print(f"{READY}{sock.getsockname()[1]}", flush=True)
    return sock
