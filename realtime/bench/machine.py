"""What a process costs: processor time and private memory, read from outside."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Mapping
from pathlib import Path


def raise_file_limit() -> int:
    """Allow as many open files as the system lets us; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def cpu_us(pid: int) -> float:
    """Return the processor time of *pid* so far, user and system, of all threads."""
    # What clock_getcpuclockid(3) returns for a process (linux/posix-timers.h): to the
    # nanosecond, where /proc/PID/stat counts in hundredths of a second.
    return time.clock_gettime((~pid << 3) | 2) * 1e6


def private_kib(pid: int) -> int:
    """Return the memory that only *pid* has (USS), in KiB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    lines = [line.split() for line in rollup.splitlines()]
    return sum(int(line[1]) for line in lines if line[0].startswith("Private_"))


def idle_s() -> float | None:
    """Return how long the processors have been idle since the start, summed up."""
    try:
        return float(Path("/proc/uptime").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None  # no Linux


def describe_machine() -> str:
    """Return one line on what everything ran on."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{os.cpu_count()} cores, load {load}, {os.uname().release}"


def facts_of_machine() -> Mapping[str, object]:
    """Return what everything ran on, for the record."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_mib": _memory_mib(),
        "system": f"{platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 2),
        "file_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.machine()


def _memory_mib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 20)
