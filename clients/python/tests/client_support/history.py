"""A channel that keeps a history, as the scripted server tells of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from realtime_client import Item, RealtimeClient, Subscription

from client_support.scripted_server import Conversation

CHAT = "chat:lobby"


def missed(*offsets: int) -> list[dict[str, Any]]:
    """Return what the server tells of messages: each is its own offset."""
    return [{"data": offset, "offset": offset} for offset in offsets]


def at(offset: int, epoch: str = "e") -> dict[str, Any]:
    """Return a position as the fields of a reply."""
    return {"offset": offset, "epoch": epoch}


def unread(subscription: Subscription) -> list[Item]:
    """Return what could be read now, without waiting."""
    read: list[Item] = []
    with suppress(asyncio.QueueEmpty):
        while True:
            read.append(subscription.next_item_nowait())
    return read


async def subscribed(
    client: RealtimeClient,
    conversation: Conversation,
    *,
    offset: int = 5,
    **options: Any,
) -> Subscription:
    """Subscribe to a channel that stands at an offset."""
    subscribing = asyncio.ensure_future(client.subscribe(CHAT, **options))
    await conversation.confirm(3, **at(offset))
    return await subscribing


def unread_count(subscription: Subscription) -> int:
    """Return how many items wait to be read."""
    return len(subscription._items)
