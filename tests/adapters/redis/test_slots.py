"""Keys, slots and masters of a cluster."""

from __future__ import annotations

import pytest

from realtime.adapters.redis.address import Address
from realtime.adapters.redis.keys import LedgerKeys, check_prefix
from realtime.adapters.redis.slots import SLOTS, SlotMap, slot_of
from realtime.errors import ConfigError


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        (b"123456789", 0x31C3),  # the check value of CRC16/XMODEM
        (b"foo", 12182),
        (b"{foo}bar", 12182),
        (b"x{foo}{bar}", 12182),
        (b"", 0),
    ],
)
def test_slots_of_keys(key: bytes, slot: int) -> None:
    """The slot is that of the first hash tag, or of the whole key."""
    assert slot_of(key) == slot


def test_empty_and_unclosed_tags_are_no_tags() -> None:
    """Braces with nothing between them, or without an end, count as characters."""
    assert slot_of(b"foo{}{bar}") != slot_of(b"bar")
    assert slot_of(b"foo{bar") != slot_of(b"bar")


def test_the_map_knows_every_master() -> None:
    """CLUSTER SLOTS names masters; one without a name is the node that was asked."""
    reply = [
        [0, 99, [b"a", 1, b"id", []], [b"replica", 9, b"id", []]],
        [100, 16382, [b"", 2, b"id", []]],
    ]
    slots = SlotMap.parse(reply, Address("asked", 7))
    assert slots.owner(99) == Address("a", 1)
    assert slots.owner(100) == Address("asked", 2)
    assert slots.owner(16383) is None
    assert slots.masters == (Address("a", 1), Address("asked", 2))


@pytest.mark.parametrize("shards", [1, 2, 3, 4, 7, 16, 64])
def test_shards_spread_over_the_slots(shards: int) -> None:
    """Each shard lies in its own equal part of the slots."""
    tags = LedgerKeys("realtime", shards).tags
    assert [slot_of(tag) * shards // SLOTS for tag in tags] == list(range(shards))


def test_everything_of_a_shard_is_in_its_slot() -> None:
    """Names of devices, counters and dims do not move a key to another slot."""
    keys = LedgerKeys("realtime", 3)
    slot = slot_of(keys.tags[2])
    assert slot_of(keys.mark(2, "}{x}")) == slot
    assert slot_of(keys.bucket(2, "likes", 300, 7)) == slot
    assert slot_of(keys.changes(2, "likes", "{y}")) == slot


@pytest.mark.parametrize("prefix", ["", "a{b", "a}b"])
def test_prefixes_that_would_break_tags_are_refused(prefix: str) -> None:
    """A prefix must not be empty nor have braces."""
    with pytest.raises(ConfigError, match="braces"):
        check_prefix(prefix)
