"""Requests to a backend: questions of hooks, and notices of what happened."""

from __future__ import annotations

EVENTS = ("user_online", "user_offline", "connection_opened", "connection_closed")
"""What a backend can be told of."""
