"""What can be asked: the developer's module in this process, or a backend by HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from typing import Protocol

from realtime.hooks import Point

Outcome = tuple[object, BaseException | None]
"""
What was answered, unchecked; or why not: Deny, HookFailed, or whatever was raised.
"""


class Asker(Protocol):
    """
    Answers the questions of some points. Everything happens on the server's loop, and
    nothing blocks it.
    """

    @property
    def points(self) -> Set[Point]:
        """What it answers."""

    @property
    def place(self) -> str:
        """Where the answers come from, for people: a module's name or an address."""

    async def start(self) -> None:
        """
        Make ready.

        Raises:
            ConfigError: If that fails, and will fail again.
        """

    def begin(self, point: Point, request: object) -> asyncio.Future[Outcome]:
        """Ask. Cancelling the future gives it up; it has no exception of its own."""

    def timed_out(self) -> None:
        """Take note that an answer was not waited for any longer."""

    async def aclose(self) -> None:
        """Let go of everything, within a bounded time."""
