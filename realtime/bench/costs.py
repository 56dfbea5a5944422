"""What a server that runs here has used: processor time, memory; and the machine."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from realtime.bench.machine import cpu_us, idle_s, private_kib
from realtime.bench.target import Target


@dataclass(frozen=True, slots=True)
class Costs:
    """
    Processor time by process in microseconds, up to a moment or between two.

    ``machine_busy`` is the share of the whole machine that was used in between, by
    everybody on it; None where it is not known.
    """

    cpu: Mapping[str, float]
    wall_s: float
    idle_s: float | None

    @classmethod
    def of(cls, target: Target) -> Costs:
        """Read it now; a process that has ended is left out."""
        found = {}
        for name, pid in target.processes.items():
            try:
                found[name] = cpu_us(pid)
            except OSError:
                continue
        return cls(found, time.monotonic(), idle_s())

    def __sub__(self, before: Costs) -> Costs:
        """Return what was used since."""
        used = {name: us - before.cpu.get(name, 0.0) for name, us in self.cpu.items()}
        idle = None
        if self.idle_s is not None and before.idle_s is not None:
            idle = self.idle_s - before.idle_s
        return Costs(used, self.wall_s - before.wall_s, idle)

    @property
    def nodes_us(self) -> float | None:
        """Of all nodes together; None if none can be read."""
        found = [us for name, us in self.cpu.items() if name.startswith("node")]
        return sum(found) if found else None

    @property
    def redis_us(self) -> float | None:
        """Of Redis; None if it cannot be read."""
        return self.cpu.get("redis")

    @property
    def machine_busy(self) -> float | None:
        """Between two moments: 0 for an idle machine, 1 when no core had a rest."""
        if self.idle_s is None or self.wall_s < 0.5:
            return None  # idle time is counted in hundredths of a second
        share = self.idle_s / (self.wall_s * (os.cpu_count() or 1))
        return min(max(1.0 - share, 0.0), 1.0)

    def node_us_per(self, count: float) -> float | None:
        """Return the nodes' microseconds for each of *count*."""
        return self.nodes_us / count if self.nodes_us is not None and count else None

    def redis_us_per(self, count: float) -> float | None:
        """Return Redis' microseconds for each of *count*."""
        return self.redis_us / count if self.redis_us is not None and count else None


def memory_kib(target: Target) -> int | None:
    """Return the private memory of all nodes together; None if it cannot be read."""
    if not target.nodes:
        return None
    try:
        return sum(private_kib(pid) for pid in target.nodes)
    except OSError:
        return None
