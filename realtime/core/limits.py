"""
How often is too often: rates, and tables of strangers that cannot grow without bound.

A rate needs one number of memory per whom it counts: the instant at which nothing of
its allowance is used up any more (the "generic cell rate algorithm"). Who has been
quiet until then is as good as unknown, so a table may forget him.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address

AddressKey = str | bytes
"""Whom a limit per address counts as one; see ``address_key``."""

IPV6_NETWORK_BYTES = 8
"""A household or a host is given a whole /64, so its addresses count as one."""


@lru_cache(maxsize=1024)
def address_key(address: str) -> AddressKey:
    """
    Return what *address* is counted as: itself, or its /64 network of IPv6.

    An IPv4 address that is written as IPv6 is the IPv4 address. What is no address
    (the empty text of a Unix socket) stands for itself.
    """
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped
    if mapped is not None:
        return str(mapped)
    return parsed.packed[:IPV6_NETWORK_BYTES]


@dataclass(frozen=True, slots=True)
class Rate:
    """
    At most *per_s* a second in the long run, and *burst* (1 or more) at once.

    Whoever is counted has a state of one number: 0.0 at first, then what ``take``
    returned. Times are monotonic seconds.
    """

    per_s: float
    burst: float

    @classmethod
    def of(cls, per_s: float) -> Rate | None:
        """Return the rate of a setting: a second's worth at once; None for 0."""
        return cls(per_s, max(per_s, 1.0)) if per_s > 0 else None

    def wait_s(self, state: float, now: float) -> float:
        """Return in how many seconds one more is allowed; 0.0: now."""
        # Rounded, or the sum of many equal steps would come out a hair too late.
        return max(0.0, round(state - now - (self.burst - 1) / self.per_s, 9))

    def take(self, state: float, now: float) -> float:
        """Return the state after one more, whether that was allowed or not."""
        return max(state, now) + 1 / self.per_s


class AddressRates:
    """
    One rate for each of many addresses.

    At most *max_entries* are remembered: beyond, the address that was longest quiet
    is forgotten, so that a crowd of strangers costs no more memory, and nobody is
    refused because of a crowd.
    """

    __slots__ = ("_max_entries", "_rate", "_states")

    def __init__(self, rate: Rate, max_entries: int = 65_536) -> None:
        self._rate = rate
        self._max_entries = max_entries
        # The longest quiet first.
        self._states: OrderedDict[AddressKey, float] = OrderedDict()

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._states)

    def wait_s(self, key: AddressKey, now: float) -> float:
        """Return in how many seconds one more of *key* is allowed; 0.0: now."""
        return self._rate.wait_s(self._states.get(key, 0.0), now)

    def take(self, key: AddressKey, now: float) -> float:
        """Count one of *key*; return in how many seconds all is forgotten again."""
        state = self._rate.take(self._states.get(key, 0.0), now)
        self._states[key] = state
        self._states.move_to_end(key)
        self._forget(now)
        return state - now

    def _forget(self, now: float) -> None:
        """Forget those who count as unknown, at most two for each that came."""
        for _ in range(2):
            key, state = next(iter(self._states.items()))
            if state > now and len(self._states) <= self._max_entries:
                return
            del self._states[key]
            if not self._states:
                return


class AddressCounts:
    """How many there are of each address; who has none takes no memory."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[AddressKey, int] = {}

    def __len__(self) -> int:
        """How many addresses have any."""
        return len(self._counts)

    def __getitem__(self, key: AddressKey) -> int:
        return self._counts.get(key, 0)

    def enter(self, key: AddressKey) -> None:
        """Count one more."""
        self._counts[key] = self._counts.get(key, 0) + 1

    def leave(self, key: AddressKey) -> None:
        """Count one less; it must have been counted."""
        left = self._counts[key] - 1
        if left:
            self._counts[key] = left
        else:
            del self._counts[key]


class Queue:
    """
    Where those stand who were turned away: each is given the next turn.

    Nobody really waits here. Whoever is refused is told to come back when his turn
    would be if the others came back at theirs, so a crowd returns at the rate at which
    it can be let in, and not all at once.
    """

    __slots__ = ("_ends_at", "_longest_s", "_per_s")

    def __init__(self, per_s: float, longest_s: float = 60.0) -> None:
        self._per_s = per_s
        self._longest_s = longest_s
        self._ends_at = 0.0

    def wait_s(self, now: float) -> float:
        """Return how long the queue is; 0.0 when nobody stands in it."""
        return max(0.0, self._ends_at - now)

    def join(self, earliest_s: float, now: float, chance: float) -> float:
        """
        Take a turn, not before *earliest_s* from now; return in how many seconds it is.

        *chance*, from 0 to 1, spreads the turns: by a quarter of the wait each way, and
        over the second half of the longest wait once the queue is longer.
        """
        begins_at = max(self._ends_at, now + earliest_s)
        longest_s = self._longest_s
        if begins_at - now >= longest_s:
            return longest_s * (1 + chance) / 2
        self._ends_at = begins_at + 1 / self._per_s
        return min((self._ends_at - now) * (0.75 + chance / 2), longest_s)


def whole_seconds(delay_s: float) -> int:
    """Return *delay_s* for a ``Retry-After`` header: never less, and at least 1."""
    return max(1, math.ceil(round(delay_s, 6)))
