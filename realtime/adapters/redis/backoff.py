"""
How long to wait before trying again: exponential, capped, with full jitter.

Full jitter (a uniform choice between nothing and the cap) keeps the nodes that lost the
same server at the same moment from coming back at the same moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """The delays of one policy; *random* may be seeded in tests."""

    base_s: float = 0.05
    cap_s: float = 1.0
    random: Random = field(default_factory=Random)

    def delay_s(self, failures: int) -> float:
        """Return the delay after *failures* failed attempts in a row (1, 2, 3 ...)."""
        # The exponent is bounded because 2**failures would grow without end.
        ceiling = min(self.cap_s, self.base_s * 2 ** min(failures - 1, 30))
        return self.random.uniform(0, ceiling)
