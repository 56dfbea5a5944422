"""Real server processes for tests: started, killed like a crash, started again."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from realtime.testing.servers import HOST, free_port

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
ANNOUNCEMENT = "realtime is at "


class NodeError(RuntimeError):
    """The server does not start; the sentence holds what it has logged."""


class NodeProcess:
    """
    One ``realtime serve`` on a free port of the loopback interface.

    The port stays the same over ``restart()``. What it logs goes to *log*, a file that
    grows over restarts. One that is *apart* is not reached by Ctrl-C in the terminal:
    whoever started it ends it.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        port: int | None = None,
        *,
        apart: bool = False,
    ) -> None:
        self.port = port or free_port()
        self._arguments = tuple(arguments)
        self._log = log
        self._group = 0 if apart else None
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where HTTP is answered, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def ws_url(self) -> str:
        """Where the WebSocket is answered."""
        return f"ws://{HOST}:{self.port}/v1/ws"

    @property
    def pid(self) -> int | None:
        """The process while it runs."""
        return self._process.pid if self._process else None

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text("utf-8") if self._log.exists() else ""

    def start(self) -> Self:
        """
        Start it and wait until it accepts connections.

        Raises:
            NodeError: If it ends, or takes too long.
        """
        command = [sys.executable, "-m", "realtime", "serve"]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [*command, "--port", str(self.port), *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                process_group=self._group,
            )
        stuck = threading.Timer(START_TIMEOUT_S, self._process.kill)
        stuck.start()
        try:
            self._await_announcement(self._process)
        finally:
            stuck.cancel()
        return self

    def _await_announcement(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(ANNOUNCEMENT):
                return
        self.kill()
        raise NodeError(f"the server on port {self.port} did not start: {self.log}")

    def kill(self) -> None:
        """End it as a crash would (SIGKILL). Harmless when it does not run."""
        if self._process is not None:
            self._process.kill()
        self._reap()

    def stop(self) -> int | None:
        """End it in an orderly way (SIGTERM); return its exit code."""
        if self._process is None:
            return None
        self._process.terminate()
        return self._reap()

    def wait(self) -> int | None:
        """Wait for the end of one that was told to stop; return its exit code."""
        return self._reap()

    def restart(self) -> None:
        """Start it again on the same port, after ending it if it runs."""
        self.stop()
        self.start()

    def _reap(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            code = process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        return code

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
