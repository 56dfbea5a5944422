"""
``python -m realtime.testing.valkey PORT``: a Valkey for the Procfile, leaving last.

Whoever runs a Procfile ends all of it at once. The servers need their Valkey for their
last words, so this one stays until nobody is connected to it any more.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from types import FrameType

import redis

from realtime.testing.servers import HOST, find_server

LONGEST_S = 4.0
"""How long it stays at most: honcho kills five seconds after the first has ended."""

POLL_S = 0.05


def main() -> int:
    """Run until told to end, and a little longer; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    port = parser.parse_args().port
    told = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    # In a session of its own it does not get the signals that are for all.
    server = subprocess.Popen(
        [find_server(), "--port", str(port), "--save", "", "--loglevel", "warning"],
        start_new_session=True,
    )
    while not told and server.poll() is None:
        time.sleep(POLL_S)
    _await_the_last(port, server)
    server.terminate()
    code = server.wait()
    return 0 if told else code


def _await_the_last(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LONGEST_S
    with redis.Redis(HOST, port, protocol=2) as client:
        while server.poll() is None and time.monotonic() < deadline:
            try:
                if int(client.info("clients")["connected_clients"]) <= 1:
                    return
            except redis.RedisError:
                return
            time.sleep(POLL_S)


if __name__ == "__main__":
    sys.exit(main())
