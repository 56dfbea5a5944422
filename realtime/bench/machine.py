"""What a process costs: processor time and private memory, read from outside."""

from __future__ import annotations

import os
import resource
import time
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


def describe_machine() -> str:
    """Return one line on what everything ran on."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{os.cpu_count()} cores, load {load}, {os.uname().release}"
