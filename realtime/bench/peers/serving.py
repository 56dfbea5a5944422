"""What the programs of the peers share: their command line and their socket."""

from __future__ import annotations

import argparse
import resource
import socket
from dataclasses import dataclass

HOST = "127.0.0.1"
BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where to listen, which Redis to use, how often connections are pinged, and which of
    several ways to serve.
    """

    port: int
    redis: str | None
    keepalive_s: float
    variant: str


def place(doc: str) -> Place:
    """Read the command line, and allow as many open files as the system lets us."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--redis", metavar="URL", help="join other processes by it")
    parser.add_argument("--keepalive", type=float, default=25.0, metavar="S")
    parser.add_argument("--variant", default="", help="which of several ways to serve")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return Place(options.port, options.redis, options.keepalive, options.variant)


def listen(port: int) -> socket.socket:
    """Return a listening socket."""
    return socket.create_server((HOST, port), backlog=BACKLOG)
