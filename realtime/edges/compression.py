"""
Whether and how the messages of a connection are compressed (RFC 7692, 5 and 7.1).

What we agree to: no context is kept from message to message, on either side. The
client's would be 32 KiB of memory for each connection, ours would make each client's
bytes different. Our own messages are made with one of two windows, so that those of one
window can be shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension
from websockets.typing import ExtensionHeader

from realtime.wire.deflate import SMALL_WINDOW_BITS, WINDOW_BITS

_TERMS = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True,
    client_no_context_takeover=True,
    server_max_window_bits=WINDOW_BITS,
    # The client's window costs us nothing: it is there for one message at a time.
    client_max_window_bits=None,
)
_MAX_KNOWN_BYTES = 256  # an offer that is longer is nobody's usual one


@dataclass(frozen=True, slots=True)
class Compression:
    """
    What was agreed on: either side may compress a message or not.

    *header* tells the client the terms; *window_bits* is the window of our messages.
    """

    header: str
    window_bits: int


def agree(offers: Sequence[str]) -> Compression | None:
    """
    Take the first acceptable one of *offers*, which are the values of the header
    ``Sec-WebSocket-Extensions``; None: there is none, and nothing is compressed.

    An offer with a parameter that is unknown, wrong, or given twice is declined.

    Raises:
        ValueError: If an offer cannot be read; the handshake has failed.
    """
    text = ", ".join(offers)
    return _agree(text) if len(text) > _MAX_KNOWN_BYTES else _remember(text)


def _agree(text: str) -> Compression | None:
    try:
        offers = parse_extension(text) if text else []
    except InvalidHeader as exc:
        raise ValueError(str(exc)) from exc
    return next(filter(None, map(_accept, offers)), None)


# The same few offers come from all clients of a kind.
_remember = lru_cache(maxsize=64)(_agree)


def _accept(offer: ExtensionHeader) -> Compression | None:
    """Return what comes of one offer; None: it is declined."""
    name, parameters = offer
    if name != _TERMS.name:
        return None
    try:
        terms, agreed = _TERMS.process_request_params(parameters, ())
    except NegotiationError:
        return None
    small = agreed.local_max_window_bits < WINDOW_BITS
    header = build_extension([(name, terms)])
    return Compression(header, SMALL_WINDOW_BITS if small else WINDOW_BITS)
