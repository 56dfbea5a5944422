"""
One WebSocket on its transport: handshake, frames, flow control, closing handshake.

asyncio calls in from below, the peer is told above (``engine.socket``). Whoever hosts
nothing else implements these four, so they are this module's own work and tested first:
flow control, the answer to silence (through ``last_received``), the timeout of the
closing handshake, and letting go of everything when the connection is lost. An idle
connection costs this object and its reader: no task, no timer, no dictionary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum
from http import HTTPStatus
from typing import Any, cast

import structlog

from realtime.edges.handshake import (
    Accepted,
    HeadReader,
    HeadTooLarge,
    Refused,
    client_of,
    is_whole_head,
    refuse,
    rules_of,
    shake_hands,
    turn_away,
)
from realtime.edges.host import ServerState, host_of
from realtime.edges.proxy import trusted_proxies
from realtime.engine.socket import Peer
from realtime.engine.wheel import Timer
from realtime.errors import GOING_AWAY, INTERNAL_CLOSE
from realtime.wire.frames import Opcode, close_frame, server_frame
from realtime.wire.inflating_reader import InflatingReader
from realtime.wire.reader import FrameReader

log = structlog.get_logger(__name__)

HIGH_WATER_BYTES = 64 * 1024
"""With more than this in the transport, the peer must stop; with a quarter, go on."""

NO_CODE, LOST = 1005, 1006  # never on the wire (RFC 6455, 7.4.1)
# An enum's member costs more to look up than a name of the module.
_TEXT, _BINARY = Opcode.TEXT, Opcode.BINARY
_CLOSE, _PING = Opcode.CLOSE, Opcode.PING
_PING_FRAME = server_frame(Opcode.PING, b"")


class Phase(Enum):
    """How far a connection has come. It only ever moves down this list."""

    OPENING = "opening"  # reading the request
    OPEN = "open"
    CLOSING = "closing"  # a close frame or a refusal is sent; waiting for the end
    CLOSED = "closed"  # the transport is gone


_OPEN = Phase.OPEN


class WebSocketTransport(asyncio.Protocol):
    """
    An ``engine.socket.Socket`` on an asyncio transport, from the handshake to the end.

    The constructor is what uvicorn expects of a ``ws=`` class.
    """

    __slots__ = (
        "_code",
        "_connections",
        "_head",
        "_heard",
        "_host",
        "_peer",
        "_phase",
        "_pong",
        "_reader",
        "_reading",
        "_reason",
        "_timer",
        "_transport",
        "_wheel",
        "_writing",
        "fd",
        "remote",
        "send",
        "subprotocol",
    )

    _transport: asyncio.Transport
    send: Callable[[bytes], None]
    """The transport's own ``write`` while open: nothing stands between."""
    fd: int
    """
    Where the kernel takes what the transport would only pass on; -1 unless open, and
    under TLS. Only for ``native/fanout.c``, and only while the transport holds nothing.
    """

    def __init__(
        self,
        config: object,
        server_state: ServerState,
        app_state: Mapping[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.remote = ""
        self.subprotocol = ""
        self.send = _ignore
        self.fd = -1
        self._host = host_of(app_state)
        self._wheel = self._host.wheel
        self._connections = server_state.connections
        self._phase = Phase.OPENING
        self._head: HeadReader | None = None  # once a part of the request is here
        self._reader: FrameReader | None = None
        self._peer: Peer | None = None
        self._timer: Timer | None = None  # of the handshake, then of the close
        self._heard = 0.0
        self._reading = True
        self._writing = True  # below the high water mark
        self._pong: bytes | None = None  # waits for the transport to drain
        self._code, self._reason = LOST, ""

    # -- asyncio.Protocol ----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request, but not for ever."""
        self._meet(cast(asyncio.Transport, transport))
        self._await_request()

    def take_over(self, transport: asyncio.Transport, data: bytes) -> None:
        """
        Begin with the first *data*, which has come already.

        As a rule that is the whole request, and nothing is ever waited for.
        """
        self._meet(transport)
        self._read_head(data)
        if self._phase is Phase.OPENING:
            self._await_request()

    def _meet(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        address = transport.get_extra_info("peername")
        self.remote = str(address[0]) if isinstance(address, tuple) else ""
        self._connections.add(self)

    def _await_request(self) -> None:
        self._host.admission.arrive(self)
        self._set_timer(self._host.limits.hello_timeout_s)

    def data_received(self, data: bytes) -> None:
        """Hand on the messages, answer the control frames, fail on the rest."""
        # Hot: once per chunk received.
        reader = self._reader
        if reader is None:
            self._read_head(data)
            return
        self._heard = self._wheel.now
        try:
            for opcode, payload in reader.feed(data):
                if opcode is not _TEXT and opcode is not _BINARY:
                    self._control(opcode, payload)
                elif self._phase is _OPEN and self._peer is not None:
                    self._peer.received(payload, opcode is _BINARY)
        except Exception:
            self._peer_failed()
        if reader.failure is not None:
            self._fail(*reader.failure)

    def eof_received(self) -> None:
        """
        Give up: without a closing handshake, half a connection is worth nothing.

        asyncio closes the transport when this returns, and then waits until all is
        written, which may be never.
        """
        self._enter_closing(LOST, "")

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything and tell the peer, once."""
        self._phase = Phase.CLOSED
        self.send = _ignore
        self.fd = -1  # the kernel may give the number to another connection
        self._connections.discard(self)
        self._cancel_timer()
        self._drop_reader()
        self._head = self._pong = None
        peer, self._peer = self._peer, None
        if peer is None:
            self._host.admission.go_on(self)
        else:
            self._host.admission.leave_socket(self.remote)
            try:
                peer.closed(self._code, self._reason)
            except Exception:
                log.exception("peer_failed", remote=self.remote)

    def pause_writing(self) -> None:
        """Pass it on: the transport holds more than it should."""
        self._writing = False
        self._tell_flow()

    def resume_writing(self) -> None:
        """Pass it on, after the answer to the client's latest ping."""
        self._writing = True
        pong, self._pong = self._pong, None
        if pong is not None:
            self.send(pong)
        self._tell_flow()

    def make_room(self) -> None:
        """Cut the connection while it waits: a newer one needs the place."""
        self.abort()

    # -- uvicorn -------------------------------------------------------------------

    def shutdown(self) -> None:
        """Say goodbye: the server stops."""
        if self._phase is Phase.OPENING:
            self._transport.close()
        self.close(GOING_AWAY.code, GOING_AWAY.meaning)

    # -- engine.socket.Socket ------------------------------------------------------

    @property
    def last_received(self) -> float:
        """When bytes last came in; the present while reading is paused."""
        return self._heard if self._reading else self._wheel.now

    @property
    def buffered(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        if self._phase is Phase.CLOSED:
            return 0
        return self._transport.get_write_buffer_size()

    def ping(self) -> None:
        """Send an empty ping."""
        self.send(_PING_FRAME)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame and wait for the client's, for as long as is allowed."""
        if self._phase is Phase.OPEN:
            write = self.send
            self._enter_closing(code, reason)
            write(close_frame(code, reason))

    def abort(self) -> None:
        """Cut the connection."""
        if self._phase is not Phase.CLOSED:
            self._enter_closing(LOST, "")
            self._transport.abort()

    def pause_reading(self) -> None:
        """Take no more bytes, while the connection is open."""
        if self._reading and self._phase is Phase.OPEN:
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again; the silence meanwhile was ours."""
        if not self._reading and self._phase is not Phase.CLOSED:
            self._heard = self._wheel.now
            self._reading = True
            self._transport.resume_reading()

    # -- opening -------------------------------------------------------------------

    def _read_head(self, data: bytes) -> None:
        """Collect the request and answer it when it is complete."""
        if self._phase is not Phase.OPENING:
            return  # refused or hung up; what still comes is thrown away
        if self._head is None:
            if is_whole_head(data):
                self._answer(data, b"")
                return
            self._head = HeadReader()
        try:
            complete = self._head.feed(data)
        except HeadTooLarge as exc:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self._refuse(refuse(status, str(exc)))
            return
        if complete is not None:
            self._head = None
            self._answer(*complete)

    def _answer(self, head: bytes, rest: bytes) -> None:
        """Open the WebSocket or refuse it."""
        outcome = self._refuse_entrance(head) or self._shake_hands(head)
        if isinstance(outcome, Refused):
            self._refuse(outcome)
            return
        self.subprotocol = outcome.subprotocol
        try:
            peer = self._open_peer(outcome)
        except Exception:
            log.exception("peer_failed", remote=self.remote)
            text = "The server failed; it has been logged."
            self._refuse(refuse(HTTPStatus.INTERNAL_SERVER_ERROR, text))
            return
        self._enter_open(peer, outcome)
        if rest:
            self.data_received(rest)

    def _open_peer(self, accepted: Accepted) -> Peer:
        compression = accepted.compression
        window_bits = 0 if compression is None else compression.window_bits
        return self._host.open_peer(accepted.subprotocol, self.remote, window_bits)

    def _refuse_entrance(self, head: bytes) -> Refused | None:
        """Find out who it is and whether he may come in, before the costly part."""
        proxies = trusted_proxies(self._host.server.trusted_proxies)
        secure = self._transport.get_extra_info("sslcontext") is not None
        client = client_of(head, proxies, self.remote, "https" if secure else "http")
        self.remote = client.address
        refusal = self._host.admission.refuse_socket(client.address)
        return None if refusal is None else turn_away(refusal)

    def _shake_hands(self, head: bytes) -> Accepted | Refused:
        host, server = self._host, self._host.server
        rules = rules_of(
            host.subprotocols, server.allowed_origins, server.dev, server.compression
        )
        return shake_hands(head, rules)

    def _enter_open(self, peer: Peer, accepted: Accepted) -> None:
        self._cancel_timer()
        self._phase = Phase.OPEN
        self._peer = peer  # from now on, and until it is lost, it counts as open
        self._host.admission.go_on(self)
        self._host.admission.enter_socket(self.remote)
        reader = FrameReader if accepted.compression is None else InflatingReader
        self._reader = reader(self._host.limits.max_frame_bytes)
        self._heard = self._wheel.now
        self._transport.set_write_buffer_limits(HIGH_WATER_BYTES)
        self._transport.write(accepted.response)
        self.send = self._transport.write
        self.fd = _descriptor_of(self._transport)
        try:
            peer.opened(self)
        except Exception:
            self._peer_failed()

    def _refuse(self, refused: Refused) -> None:
        self._head = None
        self._host.admission.arrive(self)  # from now on it waits for its end
        self._host.admission.log_refused(self.remote, refused.status)
        self._enter_closing(LOST, "")
        self._transport.write(refused.response)
        self._hang_up()

    # -- open ----------------------------------------------------------------------

    def _control(self, opcode: Opcode, payload: bytes) -> None:
        """Answer a control frame."""
        if opcode is _PING:
            pong = server_frame(Opcode.PONG, payload)
            if self._writing:
                self.send(pong)
            else:
                # Only the latest need be answered (RFC 6455, 5.5.3). Who pings
                # without reading must not make us keep all answers.
                self._pong = pong
        elif opcode is _CLOSE:
            if self._phase is Phase.OPEN:
                code = int.from_bytes(payload[:2], "big") if payload else NO_CODE
                write = self.send
                self._enter_closing(code, payload[2:].decode())
                write(server_frame(_CLOSE, payload))
            self._hang_up()

    def _tell_flow(self) -> None:
        """Tell the peer whether it may write."""
        if self._phase is not Phase.OPEN or self._peer is None:
            return
        try:
            if self._writing:
                self._peer.resumed()
            else:
                self._peer.paused()
        except Exception:
            self._peer_failed()

    def _peer_failed(self) -> None:
        """Log the exception being handled and close: nobody else is touched."""
        log.exception("peer_failed", remote=self.remote)
        self.close(INTERNAL_CLOSE.code, INTERNAL_CLOSE.meaning)

    # -- closing -------------------------------------------------------------------

    def _enter_closing(self, code: int, reason: str) -> None:
        """Send no more frames; the first cause counts."""
        if self._phase in (Phase.OPENING, Phase.OPEN):
            self._phase = Phase.CLOSING
            self.send = _ignore
            self.fd = -1
            self._code, self._reason = code, reason
            self.resume_reading()  # or the end would never be seen
            self._set_timer(self._host.limits.close_timeout_s)

    def _fail(self, code: int, reason: str) -> None:
        """Fail the connection (RFC 6455, 7.1.7): they broke the rules."""
        if self._phase is Phase.OPEN:
            write = self.send
            self._enter_closing(code, reason)
            write(close_frame(code, reason))
        self._hang_up()

    def _hang_up(self) -> None:
        """
        Close our direction and let the client close its own.

        Closing both at once would reset the connection while data of the client is
        unread, and with it the close frame that tells the client why.
        """
        self._drop_reader()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _drop_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _set_timer(self, delay_s: float) -> None:
        self._cancel_timer()
        self._timer = self._wheel.schedule(self._timed_out, delay_s)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> None:
        """Neither a request nor the end of a close may be waited for any longer."""
        self._timer = None
        self.abort()


def _descriptor_of(transport: asyncio.Transport) -> int:
    """Return the socket's file descriptor; -1 if bytes are changed on their way."""
    sock = transport.get_extra_info("socket")
    if sock is None or transport.get_extra_info("sslcontext") is not None:
        return -1
    return int(sock.fileno())


def _ignore(frame: bytes) -> None:
    """Take the place of ``send`` when nothing may be sent."""
