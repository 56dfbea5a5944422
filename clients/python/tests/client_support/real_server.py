"""The real server, as a process of its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import json
import os
import random
import selectors
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[4]
START_TIMEOUT_S = 20.0
SECRET = "a secret that only these tests know: 0123456789"


def available() -> bool:
    """Whether the server's package is here."""
    here = (ROOT / "realtime" / "__main__.py").exists()
    return here or importlib.util.find_spec("realtime") is not None


class RealServer:
    """``realtime serve`` with a configuration, on a port that it keeps."""

    def __init__(self, folder: Path, config: str, *arguments: str) -> None:
        self._config = folder / "realtime.toml"
        self._config.write_text(config)
        self._log = folder / "server.log"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """What to give to the client."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it says where it is."""
        command = [sys.executable, "-m", "realtime", "serve", *self._arguments]
        command += ["--config", str(self._config), "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        line = read_line(self._process.stdout, START_TIMEOUT_S)
        if str(self.port) not in line:
            self.kill()
            raise AssertionError(f"it said {line!r}; {self._log.read_text()}")

    def kill(self) -> None:
        """End it as a crash would."""
        self._end("kill")

    def stop(self) -> None:
        """End it in an orderly way."""
        self._end("terminate")

    def _end(self, how: str) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        getattr(process, how)()
        try:
            process.wait(10.0)
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def free_port() -> int:
    """
    Return a port that stays free while the server is down.

    None that the system itself gives to outgoing connections, as it would sooner or
    later.
    """
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def read_line(stream: IO[bytes], timeout_s: float) -> str:
    """Return what *stream* says first, or what there is when the time is over."""
    deadline = time.monotonic() + timeout_s
    text = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while b"\n" not in text and time.monotonic() < deadline:
            if selector.select(0.1):
                chunk = os.read(stream.fileno(), 4096)
                if not chunk:
                    break
                text += chunk
    return text.decode()


def make_token(user: str, lasts_s: float = 3600.0, **grants: Any) -> str:
    """Return a JWT as an application's backend would sign it (HS256)."""
    claims = {"sub": user, "exp": time.time() + lasts_s, "realtime": grants}
    parts = [_encoded({"alg": "HS256", "typ": "JWT"}), _encoded(claims)]
    signed = ".".join(parts).encode()
    signature = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    return ".".join([*parts, _base64(signature)])


def _encoded(value: Any) -> str:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
