"""Opening and losing a WebSocket, in this package's own words."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
)
from websockets.typing import Subprotocol

from realtime_client.compression import Offer
from realtime_client.errors import ConnectFailed, Disconnected, HandshakeRefused
from realtime_client.version import USER_AGENT

PATH = "/v1/ws"
OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
MAX_MESSAGE_BYTES = 4 * 1024 * 1024

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    Where the server is and how to get there.

    *headers* go with the handshake, *tls* replaces Python's default checks of the
    certificate, *max_message_bytes* bounds what the server may send in one message,
    compressed or not. *compression* is offered, and up to the server.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    max_message_bytes: int = MAX_MESSAGE_BYTES
    compression: bool = True


def websocket_url(url: str) -> str:
    """
    Return the WebSocket's address for a server's: ``http://host`` is enough.

    Raises:
        ValueError: If *url* is not of the form scheme://host.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ValueError(
            f"url: must be ws://, wss://, http:// or https:// and a host, not {url!r}"
        )
    path = parts.path if parts.path not in ("", "/") else PATH
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


async def open_socket(endpoint: Endpoint, subprotocol: str) -> ClientConnection:
    """
    Return an open WebSocket that has agreed on *subprotocol*.

    Raises:
        ConnectFailed: If nothing answered as a WebSocket server.
        HandshakeRefused: If something answered that is no realtime server, or not now.
    """
    secure: dict[str, Any] = {} if endpoint.tls is None else {"ssl": endpoint.tls}
    try:
        socket = await connect(
            endpoint.url,
            subprotocols=[Subprotocol(subprotocol)],
            additional_headers=dict(endpoint.headers),
            user_agent_header=USER_AGENT,
            compression=None,  # not the library's own offer
            extensions=[Offer()] if endpoint.compression else None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=None,  # the session's own ping also measures the clock
            max_size=endpoint.max_message_bytes,
            **secure,
        )
    except InvalidStatus as exc:
        raise _refused(endpoint.url, exc) from exc
    except ssl.SSLCertVerificationError as exc:
        reason = f"{endpoint.url}: the certificate is not trusted: {exc.verify_message}"
        raise HandshakeRefused(None, reason) from exc
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI, EOFError) as exc:
        raise ConnectFailed(
            f"{endpoint.url}: {str(exc) or type(exc).__name__}"
        ) from exc
    if socket.subprotocol != subprotocol:
        await socket.close()
        reason = f"{endpoint.url} is a WebSocket, but does not speak {subprotocol}"
        raise HandshakeRefused(None, reason)
    return socket


def _refused(url: str, exc: InvalidStatus) -> HandshakeRefused:
    response = exc.response
    try:
        retry_after_s = float(response.headers.get("Retry-After", ""))
    except ValueError:  # absent, or a date
        retry_after_s = None
    reason = f"{url} answered {response.status_code} {response.reason_phrase}"
    return HandshakeRefused(response.status_code, reason, retry_after_s)


def disconnected(exc: ConnectionClosed) -> Disconnected:
    """Return why the connection ended, from the server's point of view."""
    if exc.rcvd is not None and exc.rcvd_then_sent is not False:
        return Disconnected(exc.rcvd.code, exc.rcvd.reason or "closed by the server")
    if exc.sent is not None:  # the library has found the server's frames at fault
        return Disconnected(None, f"closed by us: {exc.sent.code} {exc.sent.reason}")
    return Disconnected(None, "the connection was lost")
