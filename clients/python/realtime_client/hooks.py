"""The application's callbacks: called where they cannot do harm."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from realtime_client.values import Notice, Rejection, StateChange

T = TypeVar("T")

log = logging.getLogger("realtime_client")


@dataclass(frozen=True, slots=True)
class Hooks:
    """
    What the application wants to be told; called synchronously on the event loop.

    One that raises is logged; the client goes on.
    """

    on_state: Callable[[StateChange], object] | None = None
    on_rejected: Callable[[Rejection], object] | None = None
    on_notice: Callable[[Notice], object] | None = None

    def state(self, change: StateChange) -> None:
        """Tell of a new state."""
        log.debug("state: %s", change)
        _call(self.on_state, change)

    def rejected(self, rejection: Rejection) -> None:
        """Tell of an event that will never be counted; nobody to tell: log it."""
        if self.on_rejected is None:
            log.warning("event %d rejected: %s", rejection.seq, rejection.reason)
        _call(self.on_rejected, rejection)

    def notice(self, notice: Notice) -> None:
        """Tell of something noteworthy; nobody to tell: log it."""
        if self.on_notice is None:
            log.warning("%s", notice)
        _call(self.on_notice, notice)


def _call(callback: Callable[[T], object] | None, value: T) -> None:
    if callback is None:
        return
    try:
        callback(value)
    except Exception:
        log.exception("a callback of the application raised")
