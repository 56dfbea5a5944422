"""Watchers of live channels who read what comes and make nothing of it."""

from __future__ import annotations

import threading
from multiprocessing.connection import Connection

from realtime.bench.local import token
from realtime.bench.sockets import READ_BYTES, Reader, hello, open_sessions, subscribe


def watch(pipe: Connection, port: int, channels: list[str]) -> None:
    """Watch each of *channels* once, in a process of its own, until the pipe ends."""

    def script(number: int) -> list[tuple[bytes, bytes]]:
        return [hello(token=token(f"watcher-{number}")), subscribe(channels[number])]

    reader = Reader(open_sessions(port, len(channels), script))
    ended = threading.Event()
    threading.Thread(target=_await_end, args=(pipe, ended), daemon=True).start()
    pipe.send("ready")
    while not ended.is_set():
        for one in reader.ready(1.0):
            if not one.sock.recv(READ_BYTES):
                return


def _await_end(pipe: Connection, ended: threading.Event) -> None:
    try:
        pipe.recv()
    except EOFError:
        ended.set()
