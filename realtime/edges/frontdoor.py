"""
One port for HTTP and WebSocket: look at the first bytes, then hand the transport on.

uvicorn makes one ``FrontDoor`` per accepted connection (``uvicorn.Config(http=...)``).
Requests for the WebSocket's path go straight to our own protocol, everything else to
uvicorn's, and after that the front door is gone. Who says nothing waits here, and gives
way when too many wait; who may make no requests is told so and goes no further.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

from realtime.edges.handshake import PATH, turn_away
from realtime.edges.host import ServerState, host_of
from realtime.edges.requests import HTTPTransport, address_of
from realtime.edges.websocket import WebSocketTransport
from realtime.engine.admission import Refusal
from realtime.engine.wheel import Timer

_WEBSOCKET = f"GET {PATH}".encode()
_ASKS_FOR_WEBSOCKET = (_WEBSOCKET + b" ", _WEBSOCKET + b"?")
_VITAL = (b"GET /healthz", b"GET /readyz", b"GET /metrics")
_KNOWN = (_WEBSOCKET, *_VITAL)
_LONGEST = max(map(len, _KNOWN))
_http_protocol: Callable[..., Any] = HTTPTransport


class FrontDoor(asyncio.Protocol):
    """Waits for the beginning of the first request of a connection."""

    __slots__ = (
        "_arguments",
        "_begun",
        "_connections",
        "_host",
        "_refused",
        "_timer",
        "_transport",
    )

    _timer: Timer
    _transport: asyncio.Transport

    def __init__(
        self,
        config: object,
        server_state: ServerState,
        app_state: Mapping[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._arguments = (config, server_state, app_state, _loop)
        self._connections = server_state.connections
        self._host = host_of(app_state)
        self._begun = b""
        self._refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait, but not for ever."""
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        self._host.admission.arrive(self)
        wait_s = self._host.limits.hello_timeout_s
        self._timer = self._host.wheel.schedule(self._transport.abort, wait_s)

    def data_received(self, data: bytes) -> None:
        """Decide as soon as the path is known."""
        if self._refused:
            return
        # Hot: once per connection (benchmarks/connect.py).
        begun = self._begun = self._begun + data if self._begun else data
        if begun.startswith(_ASKS_FOR_WEBSOCKET):
            self._leave()
            socket = WebSocketTransport(*self._arguments)
            self._transport.set_protocol(socket)
            socket.take_over(self._transport, begun)
        elif len(begun) <= _LONGEST and any(one.startswith(begun) for one in _KNOWN):
            return
        else:
            self._answer_http(begun)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection: it said nothing, or what it said was refused."""
        self._leave()

    def make_room(self) -> None:
        """Cut the connection: a newer one needs the place."""
        self._transport.abort()

    def shutdown(self) -> None:
        """Close: nothing has begun, so nothing is owed."""
        self._transport.close()

    def _answer_http(self, begun: bytes) -> None:
        """Hand on whoever may make requests."""
        admission = self._host.admission
        address = address_of(self._host, self._transport)
        refusal = admission.refuse_http(address, begun.startswith(_VITAL))
        if refusal is not None:
            self._refuse(refusal)
            return
        protocol = _http_protocol(*self._arguments)
        protocol.reserved = not admission.has_room(address)
        # A proxy may ask for the WebSocket on a connection that it has used for
        # requests before; uvicorn then hands it on to this class.
        protocol.ws_protocol_class = WebSocketTransport
        self._hand_to(protocol)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer, and wait for the end as for a beginning: until the same timeout."""
        self._refused = True
        self._begun = b""
        address = self._transport.get_extra_info("peername")
        remote = str(address[0]) if isinstance(address, tuple) else ""
        self._host.admission.log_refused(remote, refusal.status)
        self._transport.write(turn_away(refusal).response)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _hand_to(self, protocol: asyncio.Protocol) -> None:
        self._leave()
        protocol.connection_made(self._transport)
        self._transport.set_protocol(protocol)
        protocol.data_received(self._begun)

    def _leave(self) -> None:
        self._timer.cancel()
        self._connections.discard(self)
        self._host.admission.go_on(self)
