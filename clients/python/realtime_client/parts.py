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


@dataclass(frozen=True, slots=True)
class Parts:
    """
    What outlives a connection and serves every one of them.

    Without a *sender* there are no events and hello names no device. *on_progress* is
    called whenever events may have left the queue.
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
