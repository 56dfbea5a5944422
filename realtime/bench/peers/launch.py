"""Starting the servers of peers: child processes that end with the block."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from realtime.bench.errors import BenchError
from realtime.bench.peers.serving import HOST

START_S = 30.0
STOP_S = 5.0
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Command:
    """
    How to start a server: *words*, what the environment has besides, and files to
    write first into the folder in which it runs.
    """

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def running(command: Command, port: int) -> Iterator[dict[str, int]]:
    """
    Run a server until the block ends; the value is its processes by name.

    Raises:
        BenchError: If it does not listen on *port* in time.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in command.files.items():
            (folder / file).write_text(text)
        with (folder / "output").open("w") as output:
            process = subprocess.Popen(
                command.words,
                cwd=folder,
                env={**os.environ, **command.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _await_port(process, port, folder / "output")
            yield _family(process.pid)
        finally:
            _end(process)


def _await_port(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    give_up = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < give_up:
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, port), 1.0).close()
            return
        time.sleep(POLL_S)
    said = output.read_text(errors="replace").strip().splitlines()
    last = " / ".join(said[-5:]) or "it has said nothing"
    raise BenchError(f"{process.args!r} does not listen on port {port}: {last}")


def _family(pid: int) -> dict[str, int]:
    """Return a process and its children, whose costs are those of the server."""
    found = {"node": pid}
    for number, child in enumerate(_children(pid), 1):
        found[f"node child {number}"] = child
    return found


def _children(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for word in path.read_text().split():
            found += [int(word), *_children(int(word))]
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
