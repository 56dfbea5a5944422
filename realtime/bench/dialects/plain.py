"""
No protocol at all: what is published is the message, and everybody gets it.

For the libraries that `compare` measures: their servers broadcast whatever one says.
"""

from __future__ import annotations

from collections.abc import Sequence

from realtime.bench.dialects.port import OTHER, Delivery, Dialect, Said, stamp_in


class Plain(Dialect):
    """Raw text; a connection that is open is subscribed to the only channel."""

    name = "plain"
    greets = False
    answers = False

    def greeting(
        self, token: str | None, device: str | None, secret: str | None
    ) -> Sequence[bytes]:
        return []

    def subscribe(
        self, channel: str, since: tuple[int, str] | None = None
    ) -> Sequence[bytes]:
        return []

    def publish(self, channel: str, data: str, request: int | None = None) -> bytes:
        return data.encode("ascii")

    def read(self, payload: bytes) -> Said:
        stamp = stamp_in(payload)
        return OTHER if stamp is None else Delivery(stamp)
