"""
uvicorn's protocol of HTTP, with bounds for what surrounds the bodies of requests.

uvicorn keeps as much of a head, of trailers and of requests in advance as is sent, and
waits for ever for the end of a head and for whoever does not take his answer, so any
stranger could have all of our memory, or a connection that never ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import structlog
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from realtime.edges.handshake import refuse
from realtime.edges.host import ServerState, SocketHost, host_of
from realtime.edges.proxy import trusted_proxies
from realtime.engine.wheel import Timer

log = structlog.get_logger(__name__)

MAX_HEAD_BYTES = 64 * 1024
"""
Request line and headers together, within one chunk received; and trailers.
"""

MAX_IN_ADVANCE = 64
"""Requests that wait for the answers of those before them, on one connection."""

STALL_S = 60.0
"""A client that takes nothing of its answer for this long is gone."""

_TELLS = hasattr(AutoHTTPProtocol, "on_message_begin")
"""Whether the parser calls back (httptools); h11 has bounds of its own."""

if TYPE_CHECKING:
    _Base = Any  # uvicorn chooses: httptools' or h11's
else:
    _Base = AutoHTTPProtocol


def address_of(host: SocketHost, transport: asyncio.BaseTransport) -> str | None:
    """
    Return whom a connection of requests is counted as, by the other end of it.

    None for a trusted proxy: it carries the requests of many, one after the other.
    """
    found = transport.get_extra_info("peername")
    address = str(found[0]) if isinstance(found, tuple) else ""
    trusted = address in trusted_proxies(host.server.trusted_proxies)
    return None if trusted else address


class TooManyInAdvance(Exception):
    """More requests wait than ``MAX_IN_ADVANCE``; ends the parser's work."""


class HTTPTransport(_Base):  # type: ignore[misc]
    """
    Serves the requests of one connection.

    The beginning of a head must be followed by the rest within ``hello_timeout_s``;
    from one request to the next, uvicorn's own keep-alive timeout counts.
    """

    def __init__(
        self,
        config: object,
        server_state: ServerState,
        app_state: Mapping[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.reserved = False  # it is let in for one request, where there is no room
        self._host = host_of(app_state)
        self._in_head = False
        self._got_on = False  # in the chunk that is being read
        self._idle_bytes = 0  # received since the parser last got on
        self._refused = False
        self._running: Any = None  # the request that is being answered
        self._timer: Timer | None = None
        self._stall: Timer | None = None  # runs while an answer is not taken
        self._counted = False  # among the HTTP connections
        self._address: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Count it."""
        super().connection_made(transport)
        self._address = address_of(self._host, transport)
        self._counted = True
        if self.reserved:
            self._host.admission.enter_reserved()
        else:
            self._host.admission.enter_http(self._address)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head is too large or too slow."""
        if self._refused:
            return
        self._got_on = not _TELLS
        super().data_received(data)
        self._idle_bytes = 0 if self._got_on else self._idle_bytes + len(data)
        if self._idle_bytes > MAX_HEAD_BYTES:
            self._refuse()
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timers too."""
        self._stop_timer()
        self._stop_stall()
        self._leave()
        self._uncount()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Let go of the connection: from now on it is another protocol's."""
        self._stop_timer()
        self._stop_stall()
        self._uncount()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """The client must take something before more is written."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """It has taken enough."""
        super().resume_writing()
        self._stop_stall()

    def on_response_complete(self) -> None:
        """An answer is written, but perhaps not taken: not even closing ends that."""
        super().on_response_complete()
        self._watch_reader()

    # -- the parser's side (httptools) ---------------------------------------------

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = self._got_on = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """
        A head is complete.

        Raises:
            TooManyInAdvance: Which the parser turns into an error of its own.
        """
        self._in_head, self._got_on = False, True
        if len(self.pipeline) >= MAX_IN_ADVANCE:
            raise TooManyInAdvance
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body, which has bounds of its own."""
        self._got_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is complete."""
        self._got_on = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless another answer has begun."""
        running = self._running
        begun = running is not None and running.response_started
        if self.pipeline or (begun and not running.response_complete):
            self._cut()
        else:
            super().send_400_response(msg)
            self._leave()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        cycle.keep_alive = cycle.keep_alive and not self.reserved
        if not self.flow.write_paused:
            self._stop_stall()
        super()._start_asgi_task(cycle, app)

    # ------------------------------------------------------------------------------

    def _uncount(self) -> None:
        if self._counted:
            self._counted = False
            if self.reserved:
                self._host.admission.leave_reserved()
            else:
                self._host.admission.leave_http(self._address)

    def _watch(self) -> None:
        """Time the client while it owes us a request."""
        handed_on = self.transport.get_protocol() is not self  # it is a WebSocket now
        if self._answering or handed_on:
            self._stop_timer()
        elif self._timer is None and not self.transport.is_closing():
            wait_s = self._host.limits.hello_timeout_s
            self._timer = self._host.wheel.schedule(self._cut, wait_s)

    @property
    def _answering(self) -> bool:
        """Whether an answer is under way, or a body."""
        return self.cycle is not None and not self.cycle.response_complete

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch_reader(self) -> None:
        """Cut the connection unless less waits to be taken after each while."""
        waiting = self.transport.get_write_buffer_size()
        if self._stall is None and waiting:
            stalled = partial(self._check_reader, waiting)
            self._stall = self._host.wheel.schedule(stalled, STALL_S)

    def _check_reader(self, before: int) -> None:
        self._stall = None
        if self.transport.get_write_buffer_size() >= before:
            self._cut()
        else:
            self._watch_reader()

    def _stop_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _cut(self) -> None:
        self._stop_timer()
        self._leave()
        self.transport.abort()

    def _leave(self) -> None:
        """Tell the answer under way, which uvicorn forgets when others wait."""
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()

    def _refuse(self) -> None:
        """Answer, and read no more; closing at once would reset the answer away."""
        self._refused = True
        self._stop_timer()
        if not self._in_head:
            log.info("request_refused", remote=self._remote, status=400)
            self._cut()
            return
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        text = f"The request's head is over {MAX_HEAD_BYTES} bytes."
        log.info("request_refused", remote=self._remote, status=int(status))
        if self._answering:  # an earlier request: there is no place for this answer
            self._cut()
            return
        self.transport.write(refuse(status, text).response)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            wait_s = self._host.limits.close_timeout_s
            self._timer = self._host.wheel.schedule(self._cut, wait_s)
        else:
            self.transport.close()

    @property
    def _remote(self) -> str:
        return cast(str, self.client[0]) if self.client else ""
