"""Real-time push server for mobile apps: events up, live counters and messages down."""

from __future__ import annotations

__version__ = "0.1.0"
