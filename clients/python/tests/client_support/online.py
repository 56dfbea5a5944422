"""A client and a scripted server that have said hello, and time that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

from realtime_client import Notice, RealtimeClient, Rejection, State, StateChange

from client_support.manual_clock import ManualClock, eventually
from client_support.scripted_server import Conversation, ScriptedServer


@dataclass
class Scene:
    """A client, its server, and what the client has told the application."""

    server: ScriptedServer
    clock: ManualClock = field(default_factory=ManualClock)
    states: list[StateChange] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    clients: list[RealtimeClient] = field(default_factory=list)

    def make(self, **options: Any) -> RealtimeClient:
        """Return a client that is not connected; half of every jitter is taken."""
        given = {
            "clock": self.clock,
            "random": lambda: 0.5,
            "close_flush_s": 0.0,
            "on_state": self.states.append,
            "on_rejected": self.rejected.append,
            "on_notice": self.notices.append,
        }
        client = RealtimeClient(options.pop("url", self.server.url), **given | options)
        self.clients.append(client)
        return client

    async def online(
        self, welcome: dict[str, Any] | None = None, **options: Any
    ) -> tuple[RealtimeClient, Conversation]:
        """Return a client that is connected, and the server's end of it."""
        client = self.make(**options)
        client.start()
        return client, await self.again(client, **(welcome or {}))

    async def again(self, client: RealtimeClient, **welcome: Any) -> Conversation:
        """Return the server's end of the client's next connection, welcomed."""
        conversation = await self.server.accept()
        await conversation.welcome(**welcome)
        await eventually(lambda: client.state is State.ONLINE)
        return conversation

    async def offline(self, client: RealtimeClient) -> StateChange:
        """Wait until the client waits for its next attempt; return what it said."""
        await eventually(lambda: self.states and client.state is State.OFFLINE)
        change = self.states[-1]
        assert change.retry_in_s is not None
        await eventually(lambda: change.retry_in_s in self.clock.delays)
        return change

    async def back_off(self, client: RealtimeClient) -> None:
        """Wait until the client waits, and let the time pass."""
        change = await self.offline(client)
        assert change.retry_in_s is not None
        self.clock.advance(change.retry_in_s)


@asynccontextmanager
async def scene(tls: SSLContext | None = None) -> AsyncIterator[Scene]:
    """Run a server; close every client afterwards."""
    async with ScriptedServer(tls) as server:
        it = Scene(server)
        try:
            yield it
        finally:
            for client in it.clients:
                await client.aclose()
