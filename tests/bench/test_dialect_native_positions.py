"""Positions in the native dialect: what a client needs that comes back."""

from __future__ import annotations

import pytest

from realtime.bench.dialects.native import Native
from realtime.bench.dialects.port import (
    OTHER,
    Delivery,
    Gap,
    Recovering,
    Said,
    Subscribed,
)

STAMP = b"abcdefgh0000000012500000"
PUSH = b'{"type":"push","channel":8,"data":"xx~' + STAMP + b'","offset":59}'


def test_offsets_are_read_only_when_they_are_wanted() -> None:
    """They cost the client a decoded message."""
    assert Native().read(PUSH) == Delivery(STAMP, None)
    assert Native(offsets=True).read(PUSH) == Delivery(STAMP, 59)


@pytest.mark.parametrize(
    ("payload", "heard"),
    [
        (b'{"type":"gap","channel":8,"offset":120,"epoch":"m3Xq"}', Gap(120, "m3Xq")),
        (b'{"type":"gap","channel":8}', Gap()),
        (
            b'{"type":"recovering","id":3,"channel":"bench:a","offset":59,"epoch":"e",'
            b'"publications":[{"data":"~' + STAMP + b'","offset":59}]}',
            Recovering("bench:a", 59, "e", (STAMP,)),
        ),
        (
            b'{"type":"subscribed","channel":"bench:a","number":8,"offset":59,'
            b'"epoch":"e","recovered":true,"publications":[{"data":"~'
            + STAMP
            + b'"}]}',
            Subscribed("bench:a", None, True, 59, "e", (STAMP,)),
        ),
        (b'{"type":"push","channel":8,"data":"not ours","offset":60}', OTHER),
    ],
)
def test_what_is_heard(payload: bytes, heard: Said) -> None:
    """With or without offsets of deliveries."""
    assert Native(offsets=True).read(payload) == heard
