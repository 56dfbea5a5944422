"""How anything in the engine tells the backend's webhook."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Notify = Callable[[str, Mapping[str, object]], None]
"""
Tells the backend's webhook of an event (``user_online``), with what the notice says.

Never waits, never raises; nothing happens unless ``webhooks.events`` names the event.
"""


def nobody(event: str, body: Mapping[str, object]) -> None:
    """Tell nobody: there is no webhook."""
