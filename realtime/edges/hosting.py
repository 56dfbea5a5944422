"""uvicorn as it is used here: its HTTP, behind our own acceptor and front door."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

import uvicorn

from realtime.edges.acceptor import Acceptor
from realtime.edges.frontdoor import FrontDoor


class HostingServer(uvicorn.Server):
    """
    A server whose connections are accepted a few at a time; see ``edges.acceptor``.

    A TLS handshake must be over within *handshake_s*.
    """

    def __init__(self, config: uvicorn.Config, handshake_s: float) -> None:
        super().__init__(config)
        self._handshake_s = handshake_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """
        Begin to listen on *sockets*, which must be given.

        Raises:
            OSError: If another process was faster to take the port.
        """
        assert sockets is not None
        await super().startup(sockets=[])  # everything but listening
        self.servers = [self._listen(sock) for sock in sockets]

    def _listen(self, sock: socket.socket) -> Any:
        """Return what uvicorn takes for an asyncio server."""
        state: Any = self.server_state
        loop = asyncio.get_running_loop()
        make = partial(FrontDoor, self.config, state, self.lifespan.state, loop)
        acceptor = Acceptor(sock, make, self.config.ssl, self._handshake_s)
        acceptor.start()
        return acceptor
