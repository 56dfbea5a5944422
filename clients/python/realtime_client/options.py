"""How a channel is subscribed: checked before it goes to the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from realtime_client.codec import to_json
from realtime_client.values import Json

MAX_CHANNEL = 4096  # characters
MAX_FILTER_DEPTH = 16  # of objects and arrays; what is nested deeper closes the socket


@dataclass(frozen=True, slots=True)
class Options:
    """
    What is asked for beside the channel itself.

    *filter* is JSON text, so that equal filters are equal.
    """

    interval_s: float | None = None
    filter: str | None = None
    join_leave: bool = False


PLAIN = Options()


def make_options(
    channel: str,
    interval_s: float | None = None,
    filter: Mapping[str, Json] | None = None,
    join_leave: bool = False,
) -> Options:
    """
    Return the options, if they and the channel's name can be sent at all.

    Whether the server likes them it says itself. What it cannot even read would end
    the connection, and every other subscription with it.

    Raises:
        ValueError: Naming the argument, its value and what would be right.
        TypeError: If JSON cannot say the filter.
    """
    if not 1 <= len(channel) <= MAX_CHANNEL:
        raise ValueError(
            f"channel: must have 1 to {MAX_CHANNEL} characters, not {len(channel)}"
        )
    to_json(channel)  # refuses what is no Unicode
    if interval_s is not None and not (isfinite(interval_s) and interval_s > 0):
        raise ValueError(f"interval_s: must be above 0, not {interval_s!r}")
    if filter is None:
        return Options(interval_s, None, join_leave)
    if not _within(filter, MAX_FILTER_DEPTH):
        raise ValueError(f"filter: must be nested at most {MAX_FILTER_DEPTH} deep")
    return Options(interval_s, to_json(filter).decode(), join_leave)


def _within(value: Json, depth: int) -> bool:
    if not isinstance(value, Mapping | list | tuple):
        return True
    inner = value.values() if isinstance(value, Mapping) else value
    return depth > 0 and all(_within(one, depth - 1) for one in inner)
