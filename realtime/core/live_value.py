"""
What a live channel carries, and which of two values is the newer one.

A value is newer than another that the same node told of the channel if its ``(at, rev,
final)`` is greater: first the later instance of the window, then the later state of it,
and a final value after one that is not. ``at`` is the event-time end of the instance,
None for the total.
Corrections of an earlier instance come with its own ``at``: who only shows what is
current ignores them, who draws a chart does not.

*Final* says that an instance takes no further events. Rarely (the ledger was away while
the instance closed) one final value is followed by another with a larger ``rev``.
"""

from __future__ import annotations

import orjson

from realtime.types import JSONText, hot_value


@hot_value
class LiveValue:
    """One value of a live channel."""

    value: int | float | None  # None: min, max or mean of nothing
    at: float | None
    rev: int
    final: bool = False

    def encode(self) -> JSONText:
        """Return it as the JSON object that clients get."""
        return JSONText(
            orjson.dumps(
                {
                    "value": self.value,
                    "at": self.at,
                    "rev": self.rev,
                    "final": self.final,
                }
            )
        )
