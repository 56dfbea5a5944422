"""What one client is made of, handed to each of its connections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from realtime_client.backoff import Backoff
from realtime_client.clock import Clock
from realtime_client.codec import Codec
from realtime_client.hooks import Hooks
from realtime_client.sender import Sender
from realtime_client.server_clock import ServerClock
from realtime_client.subscriptions import Subscriptions
from realtime_client.tokens import Tokens
from realtime_client.values import Limits

HELLO_ROOM = 4 * 1024
"""Bytes of subscriptions that go with hello while the server's limits are unknown."""

MOST_HELLO_ROOM = 128 * 1024
HELLO_BYTES = 12 * 1024  # more than the rest of hello takes


@dataclass(slots=True)
class Parts:
    """
    What outlives a connection and serves every one of them.

    Without a *sender* there are no events and hello names no device. *on_progress* is
    called whenever events may have left the queue. *limits* are those of the last
    welcome.
    """

    codec: Codec
    clock: Clock
    sender: Sender | None
    subscriptions: Subscriptions
    tokens: Tokens
    server_clock: ServerClock
    hooks: Hooks
    make_backoff: Callable[[], Backoff]
    keepalive_s: float
    on_progress: Callable[[], None]
    limits: Limits | None = None

    def hello_room(self) -> int:
        """Return how many bytes of subscriptions may go with hello."""
        if self.limits is None:
            return HELLO_ROOM
        return min(self.limits.max_frame_bytes - HELLO_BYTES, MOST_HELLO_ROOM)
