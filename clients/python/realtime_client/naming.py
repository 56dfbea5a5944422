"""The names of live channels: a counter, a value per dimension, a window."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from realtime_client.values import Scalar

LIVE = "live:"

_EXACT = 2**53  # integral floats below it are spelled as the integers they are


def live(
    counter: str,
    values: Mapping[str, Scalar] | None = None,
    /,
    *,
    window: str | None = None,
    **dimensions: Scalar,
) -> str:
    """
    Return the live channel of *counter* for one value of each of its dimensions.

    The values are those that the events carry; None stands for events without the
    property. The window is spelled as it is declared, such as ``5m`` or ``1h/1m``;
    without one, the server takes the first that the counter declares. *values* is for
    dimensions whose names are no Python identifiers::

        live("likes", post=42, window="5m")  # 'live:likes;post=42;window=5m'
    """
    every = {**(values or {}), **dimensions}
    parts = [f"{name}={encode_value(value)}" for name, value in every.items()]
    if window is not None:
        parts.append(f"window={window}")
    return ";".join([LIVE + counter, *parts])


def live_other(counter: str, *dimensions: str, window: str | None = None) -> str:
    """
    Return the live channel of what overflowed the counter's ``max_cells``.

    *dimensions* are the names of all the counter's dimensions.
    """
    parts = [f"{name}=~other" for name in dimensions]
    if window is not None:
        parts.append(f"window={window}")
    return ";".join([LIVE + counter, *parts])


def encode_value(value: Scalar) -> str:
    """Spell a dimension's value as it stands in a channel's name."""
    if value is None:
        return "~none"
    if value == "":
        return "~empty"
    text = _text(value)
    if isinstance(value, str) and text.startswith("~"):
        text = "~" + text  # lest a value be mistaken for ~none, ~empty or ~other
    return quote(text, safe="")


def _text(value: str | int | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    return str(value)


def same_channel(channel: str) -> str:
    """
    Return what two spellings of one channel have in common.

    The dimensions of a live channel may come in any order.
    """
    if not channel.startswith(LIVE):
        return channel
    name, *parts = channel.split(";")
    return ";".join([name, *sorted(parts)])
