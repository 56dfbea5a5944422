"""
How long a message waits for those before it, estimated.

A node does one thing at a time. What it does comes at random times (Poisson), each kind
with a known duration: an M/G/1 queue. Its mean wait is exact (Pollaczek and Khinchine);
for one kind of work it is that of M/D/1. Percentiles are an approximation: who waits at
all (a share of rho) waits exponentially long. That is exact for durations that are
exponential, and says too much for durations that are all alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, log


@dataclass(frozen=True, slots=True)
class Work:
    """Something that comes *per_s* times a second and takes *service_s* each time."""

    per_s: float
    service_s: float


def utilisation(works: Iterable[Work]) -> float:
    """Return for which share of its time a server is busy; above 1: it falls behind."""
    return sum(work.per_s * work.service_s for work in works)


def mean_wait_s(works: Iterable[Work]) -> float:
    """Return how long a message waits in the mean; infinite if they are too many."""
    works = list(works)
    rho = utilisation(works)
    if rho >= 1:
        return inf
    return sum(work.per_s * work.service_s**2 for work in works) / (2 * (1 - rho))


def wait_s(works: Iterable[Work], share: float) -> float:
    """Return the wait that *share* (0.99) of the messages do not exceed."""
    works = list(works)
    rho, mean_s = utilisation(works), mean_wait_s(works)
    if rho <= 1 - share:
        return 0.0
    return mean_s if mean_s in (0.0, inf) else mean_s / rho * log(rho / (1 - share))
