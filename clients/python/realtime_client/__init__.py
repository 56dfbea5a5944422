"""
Client of the realtime server: events up exactly once, live counters and messages down.

    from realtime_client import RealtimeClient, live

    async with RealtimeClient("http://127.0.0.1:8080") as client:
        client.track("like", {"post": 42})
        async for value in client.watch(live("likes", post=42)):
            print(value.value)
"""

from __future__ import annotations

from realtime_client.client import RealtimeClient
from realtime_client.clock import Clock, SystemClock, Timer
from realtime_client.errors import (
    BadEvent,
    BadReply,
    ClientClosed,
    CommandError,
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    Disconnected,
    FlushTimeout,
    GoingAway,
    HandshakeRefused,
    NotConnected,
    QueueError,
    QueueFull,
    QueueLocked,
    RealtimeError,
    Retry,
    TokenFailed,
)
from realtime_client.feeds import Subscription, Watch
from realtime_client.naming import live, live_other
from realtime_client.queue import EventQueue, MemoryQueue, Run
from realtime_client.sqlite_queue import SQLiteQueue
from realtime_client.values import (
    Gap,
    History,
    Item,
    Joined,
    Json,
    Left,
    Limits,
    LiveValue,
    Member,
    Message,
    MessagesDropped,
    Notice,
    NumbersLost,
    Position,
    Presence,
    PresenceStats,
    Published,
    RefreshFailed,
    Rejection,
    Renumbered,
    Scalar,
    ServerError,
    State,
    StateChange,
    TrackingRefused,
)
from realtime_client.version import __version__

__all__ = [
    "BadEvent",
    "BadReply",
    "ClientClosed",
    "Clock",
    "CommandError",
    "ConnectFailed",
    "ConnectTimeout",
    "ConnectionLost",
    "Disconnected",
    "EventQueue",
    "FlushTimeout",
    "Gap",
    "GoingAway",
    "HandshakeRefused",
    "History",
    "Item",
    "Joined",
    "Json",
    "Left",
    "Limits",
    "LiveValue",
    "Member",
    "MemoryQueue",
    "Message",
    "MessagesDropped",
    "NotConnected",
    "Notice",
    "NumbersLost",
    "Position",
    "Presence",
    "PresenceStats",
    "Published",
    "QueueError",
    "QueueFull",
    "QueueLocked",
    "RealtimeClient",
    "RealtimeError",
    "RefreshFailed",
    "Rejection",
    "Renumbered",
    "Retry",
    "Run",
    "SQLiteQueue",
    "Scalar",
    "ServerError",
    "State",
    "StateChange",
    "Subscription",
    "SystemClock",
    "Timer",
    "TokenFailed",
    "TrackingRefused",
    "Watch",
    "__version__",
    "live",
    "live_other",
]
