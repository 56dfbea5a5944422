"""The dialect of the consumer for Django Channels."""

from __future__ import annotations

from realtime.bench.dialects.channels import Channels
from realtime.bench.dialects.port import OTHER, Delivery, Subscribed, stamped

STAMP = stamped(b"abcdefgh", 12.5, 40)


def test_what_is_said() -> None:
    """Two messages, which the consumer knows."""
    channels = Channels()

    assert channels.subscribe("bench:a") == [b'{"subscribe":"bench:a"}']
    assert channels.publish("bench:a", "news") == (
        b'{"publish":"bench:a","data":"news"}'
    )


def test_what_is_heard() -> None:
    """The answer to a subscription, and publications as JSON strings."""
    channels = Channels()

    assert channels.read(b'{"subscribed": "bench:a"}') == Subscribed("bench:a")
    assert channels.read(b'"' + STAMP.encode() + b'"') == Delivery(
        b"abcdefgh0000000012500000"
    )
    assert channels.read(b'"something else"') is OTHER
