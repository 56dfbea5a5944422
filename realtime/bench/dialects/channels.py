"""
What the consumer in peers/django_channels.py speaks: JSON of our own making.

Django Channels has no protocol above WebSocket; each application makes one. This one
has no more than is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from realtime.bench.dialects.port import (
    OTHER,
    Delivery,
    Dialect,
    Said,
    Subscribed,
    stamp_in,
)


class Channels(Dialect):
    """Subscriptions are answered; nobody is greeted, publications are not answered."""

    name = "channels"
    greets = False

    def greeting(
        self, token: str | None, device: str | None, secret: str | None
    ) -> Sequence[bytes]:
        return []

    def subscribe(
        self, channel: str, since: tuple[int, str] | None = None
    ) -> Sequence[bytes]:
        return [orjson.dumps({"subscribe": channel})]

    def publish(self, channel: str, data: str, request: int | None = None) -> bytes:
        return orjson.dumps({"publish": channel, "data": data})

    def read(self, payload: bytes) -> Said:
        stamp = stamp_in(payload)
        if stamp is not None:
            return Delivery(stamp)
        message = orjson.loads(payload)
        if isinstance(message, dict) and "subscribed" in message:
            return Subscribed(message["subscribed"])
        return OTHER
