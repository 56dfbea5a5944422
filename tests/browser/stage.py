"""A real server to look at, and what it is looked at with."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from realtime.testing.servers import free_port, poll_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

ROOT = Path(__file__).parents[2]
START_S = 20.0

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Server:
    """`realtime serve` as a process of its own, on a port that survives a restart."""

    def __init__(self, *arguments: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        command = [sys.executable, "-m", "realtime", "serve", *self._arguments]
        self._process = subprocess.Popen(
            [*command, "--port", str(self.port)], cwd=ROOT, stdin=subprocess.DEVNULL
        )
        poll_until(self._ready, START_S, "the server is ready")

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the server ended"
        try:
            return httpx.get(f"{self.url}readyz").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it. Harmless when it does not run."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_S)
        self._process = None


def chromium() -> str:
    """Return the path of the browser; `make browser` installs one."""
    names = [name for name in (os.environ.get("CHROMIUM"), *CHROMIUM) if name]
    for name in names:
        if found := shutil.which(name):
            return found
    raise FileNotFoundError(f"none of {', '.join(names)}: run make browser")


class Window:
    """What a test opens pages with, and what went wrong in them."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.complaints: list[str] = []
        self.requested: set[str] = set()

    def open(
        self,
        url: str,
        *,
        width: int = 1280,
        height: int = 900,
        permissions: Sequence[str] = (),
        **options: object,
    ) -> Page:
        """Open *url* in a context of its own."""
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            permissions=list(permissions),
            **options,  # type: ignore[arg-type]
        )
        page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requested.add(request.url))
        page.goto(url)
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def close(self) -> None:
        """Close all pages."""
        for context in self._browser.contexts:
            context.close()
