"""
Finding out that a silent client is gone: ping it, and close when nothing comes back.

Any traffic counts as life, so a client that talks is never pinged. A watch is an entry
of the wheel that looks again when the silence could first be long enough; received
chunks only stamp the socket and never touch a timer.
"""

from __future__ import annotations

from typing import Any, Protocol

from realtime.engine.socket import Socket
from realtime.engine.wheel import Entry, Wheel
from realtime.errors import KEEPALIVE_TIMEOUT
from realtime.settings import LimitSettings


class Watched(Protocol):
    """What can be kept alive: a connection, usually."""

    keepalive: Any  # the watch while there is one

    @property
    def socket(self) -> Socket:
        """What is watched."""


class Watch(Entry):
    """Watches one socket: ping after *silence_s*, close *pong_timeout_s* later."""

    __slots__ = ("_pinged_at", "_pong_timeout_s", "_socket", "_wheel", "silence_s")

    def __init__(
        self, wheel: Wheel, socket: Socket, silence_s: float, pong_timeout_s: float
    ) -> None:
        super().__init__()
        self.silence_s = silence_s
        self._wheel = wheel
        self._socket = socket
        self._pong_timeout_s = pong_timeout_s
        self._pinged_at: float | None = None
        wheel.put(self, silence_s)

    def fire(self) -> None:
        """Look how long the silence has lasted."""
        now, heard = self._wheel.now, self._socket.last_received
        # Pings leave right after the wheel's time was set, so what is stamped with
        # the very same time came after the ping.
        if self._pinged_at is not None and heard < self._pinged_at:
            self._socket.close(KEEPALIVE_TIMEOUT.code, KEEPALIVE_TIMEOUT.meaning)
            return
        self._pinged_at = None
        left_s = heard + self.silence_s - now
        if left_s <= 0:
            self._pinged_at = now
            self._socket.ping()
            left_s = self._pong_timeout_s
        self._wheel.put(self, left_s)

    def stop(self) -> None:
        """Watch no longer; harmless when it has stopped before."""
        self._wheel.take(self)


class Keepalive:
    """Starts watches, within the bounds that the limits set."""

    __slots__ = ("_limits", "_wheel")

    def __init__(self, wheel: Wheel, limits: LimitSettings) -> None:
        self._wheel = wheel
        self._limits = limits

    def start(self, watched: Watched, wanted_s: float | None) -> float:
        """
        Watch the socket of *watched*, instead of how it was watched before.

        Returns the seconds of silence that are granted: *wanted_s* within the bounds,
        or the default when the client wants nothing in particular.
        """
        silence_s = self.granted(wanted_s)
        if watched.keepalive is not None:
            watched.keepalive.stop()
        watched.keepalive = Watch(
            self._wheel, watched.socket, silence_s, self._limits.pong_timeout_s
        )
        return silence_s

    def granted(self, wanted_s: float | None) -> float:
        """Return *wanted_s* moved into the bounds; None and NaN mean the default."""
        limits = self._limits
        if wanted_s is None or wanted_s != wanted_s:
            wanted_s = limits.keepalive_default_s
        return min(max(wanted_s, limits.keepalive_min_s), limits.keepalive_max_s)
