"""What a server looks like from outside, sampled: processes here, metrics anywhere."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from realtime.bench.errors import BenchError
from realtime.bench.machine import cpu_us, private_kib

TIMEOUT_S = 5.0
METRICS = (
    "realtime_connections",
    "realtime_subscriptions",
    "realtime_channels",
    "realtime_live_channels",
)
"""
Gauges that stay where they are when the load does. What waits for the tick is none of
them: it rises and falls with it, and samples that are taken in its rhythm drift.
"""

MEMORY = ("process_resident_memory_bytes", "container_memory_working_set_bytes")
"""Memory, where whoever answers for the metrics adds it."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What the processes of a server have: summed up over them."""

    private_kib: int
    rss_kib: int
    files: int
    cpu_us: float


def costs_of(pids: Sequence[int]) -> Costs | None:
    """Read processes of this machine; None if there are none, or one has ended."""
    if not pids:
        return None
    try:
        return Costs(
            sum(private_kib(pid) for pid in pids),
            sum(_rss_kib(pid) for pid in pids),
            sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids),
            sum(cpu_us(pid) for pid in pids),
        )
    except OSError:
        return None


def _rss_kib(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


class Metrics:
    """
    Reads ``/metrics`` of servers and adds them up.

    The first reading decides whether they are there; later ones may fail, which gives
    no sample.
    """

    def __init__(self, urls: Sequence[str], api_key: str | None, verify: bool) -> None:
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._urls = tuple(urls)
        self._client = httpx.Client(
            headers=headers, timeout=TIMEOUT_S, verify=verify, trust_env=False
        )

    def check(self) -> None:
        """
        Read once.

        Raises:
            BenchError: If they cannot be read.
        """
        try:
            self._read()
        except (httpx.HTTPError, ValueError) as exc:
            raise BenchError(f"--metrics cannot be read: {exc!r}") from exc

    def read(self) -> Mapping[str, float]:
        """Return the sums by name; empty if one of them cannot be read."""
        try:
            return self._read()
        except (httpx.HTTPError, ValueError):
            return {}

    def close(self) -> None:
        """End its connections."""
        self._client.close()

    def _read(self) -> Mapping[str, float]:
        found: dict[str, float] = {}
        for url in self._urls:
            answer = self._client.get(url)
            answer.raise_for_status()
            for name, value in parse(answer.text).items():
                found[name] = found.get(name, 0.0) + value
        return found


def parse(text: str) -> Mapping[str, float]:
    """
    Return the gauges of a page of metrics that are watched, summed over labels.

    Raises:
        ValueError: If it is no such page.
    """
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        if family.name in METRICS or family.name in MEMORY:
            found[family.name] = sum(sample.value for sample in family.samples)
    return found
