"""The dialect without a protocol."""

from __future__ import annotations

from realtime.bench.dialects.plain import Plain
from realtime.bench.dialects.port import OTHER, Delivery, stamped

STAMP = stamped(b"abcdefgh", 12.5, 40)


def test_what_is_published_is_the_message() -> None:
    """Nothing is put around the data."""
    assert Plain().publish("any", STAMP) == b"xxxxxxxxxxxxxxx~abcdefgh0000000012500000"


def test_nothing_is_said_to_connect_or_to_subscribe() -> None:
    """An open connection gets everything, and nobody answers."""
    plain = Plain()

    assert list(plain.greeting("token", "device", None)) == []
    assert list(plain.subscribe("any")) == []
    assert not plain.greets
    assert not plain.answers


def test_the_message_is_a_delivery_by_its_stamp() -> None:
    """A message with a stamp is a delivery, any other is not."""
    assert Plain().read(STAMP.encode()) == Delivery(b"abcdefgh0000000012500000")
    assert Plain().read(b"hello") is OTHER
