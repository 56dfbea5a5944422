"""
Which node of a cluster serves which key.

A key's slot is the CRC16 (XMODEM) of its hash tag, the part between the first ``{`` and
the next ``}``, or of all of it (Redis Cluster specification, "Hash tags").
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from typing import Any

from realtime.adapters.redis.address import Address

SLOTS = 16384


def slot_of(key: bytes) -> int:
    """Return the slot of *key*."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


class SlotMap:
    """The masters and their slots, as one node described them. Never changes."""

    def __init__(self, owners: Sequence[Address | None]) -> None:
        self._owners = owners
        self.masters: tuple[Address, ...] = tuple(
            sorted({owner for owner in owners if owner is not None})
        )

    def owner(self, slot: int) -> Address | None:
        """Return the master of *slot*; None while nobody serves it."""
        return self._owners[slot]

    @classmethod
    def parse(cls, reply: Sequence[Any], told_by: Address) -> SlotMap:
        """
        Read the reply to ``CLUSTER SLOTS``.

        A node that does not know its own name gives an empty one: it is where we asked.
        """
        owners: list[Address | None] = [None] * SLOTS
        for first, last, master, *_replicas in reply:
            host = (master[0] or b"").decode()
            known = host not in ("", "?")
            owner = Address(host if known else told_by.host, int(master[1]))
            owners[first : last + 1] = [owner] * (last + 1 - first)
        return cls(owners)
