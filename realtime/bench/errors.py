"""What a benchmark says when it cannot go on."""

from __future__ import annotations

from realtime.errors import RealtimeError


class BenchError(RealtimeError):
    """The sentence says what is wrong and what would be right."""
