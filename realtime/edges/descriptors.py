"""File descriptors: every connection is one, and the system gives only so many."""

from __future__ import annotations

import structlog

from realtime.engine.admission import MAX_WAITING
from realtime.settings import LimitSettings

log = structlog.get_logger(__name__)

SPARE = 200  # for what is no connection: Redis, files, the listening socket


def allow_connections(limits: LimitSettings, *, warn: bool = True) -> None:
    """
    Ask the system for as many file descriptors as the limits may need.

    If it gives fewer than ``max_connections``, new connections would have to wait in
    the kernel before the limit is reached, and nobody would be told to come back: that
    is logged, if *warn*.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    needed = limits.max_connections + SPARE
    wanted = needed + limits.max_http_connections + MAX_WAITING
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if allowed > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        except (OSError, ValueError):  # macOS has another limit beside this one
            allowed = soft
    if warn and max(allowed, soft) < needed:
        log.warning("few_file_descriptors", allowed=max(allowed, soft), needed=needed)
