"""
The opening handshake (RFC 6455, 4.2): one request head in, one response out.

Pure, and nothing is kept when it is over. The rules of the RFC are ``websockets``' own;
added are which path, which origins and which sub-protocols. Whoever is refused gets a
plain text that says what would be right. The one extension is compression, where that
is switched on. A request as most clients send it is accepted without the library, which
then decides only what is unusual or wrong. Who the client is can be told before all of
that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

from websockets.exceptions import NegotiationError
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from realtime.edges.compression import Compression, agree
from realtime.edges.local import is_safe_name, refusal
from realtime.edges.proxy import Client, TrustedProxies
from realtime.edges.usual_request import (
    UsualRequest,
    http_date,
    read_usual,
    switching,
)
from realtime.engine.admission import Refusal
from realtime.wire.reader import SILENT

PATH = "/v1/ws"
NO_SUBPROTOCOL = ""
"""Among the sub-protocols: clients that offer none are welcome too."""

MAX_HEAD_BYTES = 16 * 1024
"""Request line and headers together; mobile clients need a few hundred bytes."""

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class HeadTooLarge(Exception):
    """The head of the request is over ``MAX_HEAD_BYTES``."""


class HeadReader:
    """Collects the head of one request."""

    __slots__ = ("_head",)

    def __init__(self) -> None:
        self._head = bytearray()

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """
        Return the complete head and what follows it, or None if more is needed.

        Raises:
            HeadTooLarge: If it is, whether complete or not.
        """
        head = self._head
        searched = max(len(head) - 3, 0)
        head += data
        end = head.find(b"\r\n\r\n", searched)
        if (len(head) if end < 0 else end + 4) > MAX_HEAD_BYTES:
            raise HeadTooLarge(f"The request's head is over {MAX_HEAD_BYTES} bytes.")
        return (bytes(head[: end + 4]), bytes(head[end + 4 :])) if end >= 0 else None


def is_whole_head(data: bytes) -> bool:
    """Whether *data* is a whole head, and nothing but that: the usual case."""
    end = data.find(b"\r\n\r\n")
    return 0 <= end == len(data) - 4 and len(data) <= MAX_HEAD_BYTES


@dataclass(frozen=True, slots=True)
class Rules:
    """
    Whom the handshake lets in. *subprotocols* are the server's, in any order; *dev*
    says that everybody is trusted who is let in; *compression*, that it may be had.
    """

    subprotocols: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    dev: bool = False
    compression: bool = False


rules_of = lru_cache(maxsize=16)(Rules)
"""Makes rules; those of a server are made once."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The WebSocket is open as soon as *response* is sent."""

    response: bytes
    subprotocol: str
    compression: Compression | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The connection ends after *response*."""

    response: bytes
    status: int


def client_of(head: bytes, proxies: TrustedProxies, peer: str, scheme: str) -> Client:
    """
    Return who sent the request *head*, which need not be a sound one.

    *peer* is the other end of the TCP connection, *scheme* http or https, as this
    process sees it. Only of a trusted proxy the head is looked at.
    """
    lines: list[bytes] = []

    def headers(name: str) -> list[str]:
        if not lines:
            lines.extend(head.split(b"\r\n")[1:])
        wanted = name.lower().encode()
        found = (line.partition(b":") for line in lines)
        return [
            value.strip(b" \t").decode("latin-1")
            for key, _, value in found
            if key.lower() == wanted
        ]

    return proxies.resolve(peer, scheme, headers)


def shake_hands(head: bytes, rules: Rules) -> Accepted | Refused:
    """Answer the request *head*, which ends with its empty line."""
    usual = read_usual(head)
    accepted = None if usual is None else _accept(usual, rules)
    return by_the_book(head, rules) if accepted is None else accepted


def _accept(request: UsualRequest, rules: Rules) -> Accepted | None:
    """Accept a usual request; None if something speaks against it."""
    origins = () if request.origin is None else (request.origin,)
    if _check(request.path, (request.host,), origins, rules) is not None:
        return None
    extensions = () if request.extensions is None else (request.extensions,)
    try:
        chosen = _choose(rules.subprotocols, request.offered) or ""
        compression = _compression(extensions, rules)
    except (NegotiationError, ValueError):
        return None
    header = None if compression is None else compression.header
    return Accepted(switching(request.key, chosen, header), chosen, compression)


def by_the_book(head: bytes, rules: Rules) -> Accepted | Refused:
    """Answer any request *head*, in a good deal more time."""
    protocol = ServerProtocol(
        select_subprotocol=lambda _, offered: _choose(rules.subprotocols, offered),
        logger=SILENT,
    )
    protocol.receive_data(head)
    events = protocol.events_received()
    if not events or not isinstance(events[0], Request):
        return _refuse_unread(protocol)
    request = events[0]
    hosts = request.headers.get_all("Host")
    origins = request.headers.get_all("Origin")
    refused = _check(request.path, hosts, origins, rules)
    if refused is not None:
        return refused
    response = protocol.accept(request)
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        return Refused(response.serialize(), response.status_code)
    try:
        offers = request.headers.get_all("Sec-WebSocket-Extensions")
        compression = _compression(offers, rules)
    except ValueError as exc:
        return refuse(HTTPStatus.BAD_REQUEST, f"{exc}.")
    if compression is not None:
        response.headers["Sec-WebSocket-Extensions"] = compression.header
    return Accepted(response.serialize(), protocol.subprotocol or "", compression)


def _compression(offers: Sequence[str], rules: Rules) -> Compression | None:
    """Return what comes of the client's offers; raises ValueError as `agree` does."""
    return agree(offers) if rules.compression else None


def refuse(status: HTTPStatus, text: str, **extra: str) -> Refused:
    """Make a refusal with *text*, a sentence; *extra* headers have ``_`` for ``-``."""
    body = f"{text}\n".encode()
    lines = [
        f"HTTP/1.1 {int(status)} {status.phrase}",
        f"Date: {http_date()}",
        "Connection: close",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in extra.items()),
    ]
    # By hand: in a storm this is most of what a refusal costs.
    head = "\r\n".join(lines).encode("latin-1")
    return Refused(b"%b\r\n\r\n%b" % (head, body), int(status))


def turn_away(refusal: Refusal) -> Refused:
    """Put the words of the admission into those of HTTP."""
    retry_after = str(refusal.retry_after_s)
    return refuse(refusal.status, refusal.text, Retry_After=retry_after)


def _refuse_unread(protocol: ServerProtocol) -> Refused:
    """Answer a head that is no HTTP, or one with a line that is too long."""
    response = b"".join(protocol.data_to_send())
    if response:
        return Refused(response, int(response.split(b" ", 2)[1]))
    why = getattr(protocol.handshake_exc, "__cause__", None) or "it cannot be read"
    return refuse(HTTPStatus.BAD_REQUEST, f"This is no WebSocket request: {why}.")


def _check(
    path: str, hosts: Sequence[str], origins: Sequence[str], rules: Rules
) -> Refused | None:
    """Check what the library leaves to us: path, host and origin."""
    if path.partition("?")[0] != PATH:
        return refuse(
            HTTPStatus.NOT_FOUND, f"There is no WebSocket here; it is at {PATH}."
        )
    if len(hosts) != 1:
        text = f"A request has one Host header; this one has {len(hosts)}."
        return refuse(HTTPStatus.BAD_REQUEST, text)
    if origins and rules.dev and not is_safe_name(hosts[0], rules.allowed_origins):
        return refuse(HTTPStatus.FORBIDDEN, refusal(hosts[0]))
    for origin in origins:
        if not _is_allowed(origin, rules.allowed_origins, hosts[0]):
            text = (
                f"Pages from {origin!r} may not connect to this server. It can be "
                "allowed in the configuration, at server.allowed_origins."
            )
            return refuse(HTTPStatus.FORBIDDEN, text)
    return None


def _is_allowed(origin: str, allowed: Sequence[str], host: str) -> bool:
    """Whether a browser's page from *origin* may connect."""
    if allowed:
        wanted = origin.lower()
        return "*" in allowed or any(
            wanted == one.lower().rstrip("/") for one in allowed
        )
    # The scheme is not compared: behind a proxy that ends TLS we may not know ours.
    scheme, separator, authority = origin.lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme, "")
    return bool(separator) and (
        authority.removesuffix(port) == host.lower().removesuffix(port)
    )


def _choose(ours: Sequence[str], offered: Sequence[str]) -> Subprotocol | None:
    """
    Return the first sub-protocol offered that is ours: the client's order counts.

    Raises:
        NegotiationError: If there is none; the handshake is answered with 400.
    """
    for one in offered:
        if one in ours:
            return Subprotocol(one)
    if not offered and NO_SUBPROTOCOL in ours:
        return None
    names = " or ".join(one for one in ours if one)
    got = ", ".join(offered) if offered else "nothing"
    raise NegotiationError(
        f"the client must offer {names} in Sec-WebSocket-Protocol; it offers {got}"
    )
