"""A real server and a headless Chromium to look at its page with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.browser.stage import SWITCHES, Server, Window, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# `make test` does without the package; `make browser` installs it and runs these tests.
collect_ignore = [] if find_spec("playwright") else ["test_page.py"]


@pytest.fixture(scope="session")
def demo() -> Iterator[Server]:
    """The demonstration, as `make run` starts it."""
    server = Server("--demo")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start a server of the test's own with these arguments."""
    servers: list[Server] = []

    def start(*arguments: str) -> Server:
        servers.append(Server(*arguments))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=list(SWITCHES)
        )
        yield browser
        browser.close()


@pytest.fixture
def window(browser: Browser) -> Iterator[Window]:
    """Open pages; a page that complains on its console fails the test."""
    window = Window(browser)
    yield window
    window.close()
    assert window.complaints == []
