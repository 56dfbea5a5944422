"""Connecting, staying connected, and giving up."""

from __future__ import annotations

import asyncio

import pytest
from client_support.manual_clock import ManualClock
from client_support.scripted_server import ScriptedServer
from realtime_client import (
    RealtimeClient,
    State,
)

pytestmark = pytest.mark.anyio


async def test_connect_returns_after_the_welcome() -> None:
    """Connecting ends with the state ONLINE and the server's limits known."""
    async with ScriptedServer() as server:
        client = RealtimeClient(server.url, clock=ManualClock())
        connecting = asyncio.ensure_future(client.connect())
        conversation = await server.accept()
        hello = await conversation.welcome(user="ann")
        await connecting
        assert client.state is State.ONLINE
        assert client.user == "ann"
        assert client.limits is not None
        assert client.limits.max_batch_events == 1000
        assert hello["device"] == client.device
        assert hello["acked"] == 0
        assert await client.aclose() == 0
        assert await conversation.closed() == 1000
        assert client.state is State.CLOSED
