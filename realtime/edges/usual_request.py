"""
The upgrade request as nearly every client sends it, read at a tenth of the price.

Law: nothing is refused here. Whatever is not plainly good yields None, and whoever
called reads it by the book: so one place decides what is wrong and says so. What is
accepted here, the book accepts with the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from time import time

from websockets.utils import accept_key

MAX_BYTES = 4 * 1024
MAX_FIELDS = 64

_TOKEN = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"  # RFC 9110, 5.6.2
_HEAD = re.compile(rf"GET ([!-~]+) HTTP/1\.1\r\n((?:{_TOKEN}:[\t -~]*\r\n)+)\r\n")
_FIELD = re.compile(r"([^:\r\n]+):[ \t]*([^\r\n]*)\r\n")
_TOKENS = re.compile(rf"{_TOKEN}(?:[ \t]*,[ \t]*{_TOKEN})*")
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes

_UPGRADE = frozenset({"upgrade", "keep-alive, upgrade"})  # Firefox says the second
_BODY = frozenset({"content-length", "transfer-encoding"})


@dataclass(slots=True)
class UsualRequest:
    """What is left to be decided. *offered* are sub-protocols, the best first."""

    path: str
    host: str
    origin: str | None
    offered: Sequence[str]
    extensions: str | None
    key: str


def read_usual(head: bytes) -> UsualRequest | None:
    """Return what *head* asks for; None if it must be read by the book."""
    # Hot: once per connection (benchmarks/connect.py).
    if len(head) > MAX_BYTES or not head.isascii():
        return None
    whole = _HEAD.fullmatch(head.decode())
    if whole is None:
        return None
    path, lines = whole.groups()
    found = _FIELD.findall(lines)
    fields = {name.lower(): value.rstrip(" \t") for name, value in found}
    if len(fields) != len(found) or len(found) > MAX_FIELDS:
        return None  # what may be said twice, and what that means, is the book's
    get = fields.get
    host, key = get("host"), get("sec-websocket-key", "")
    offered = _offered(get("sec-websocket-protocol"))
    if (
        host is None
        or offered is None
        or get("upgrade", "").lower() != "websocket"
        or get("connection", "").lower() not in _UPGRADE
        or get("sec-websocket-version") != "13"
        or _KEY.fullmatch(key) is None
        or not _BODY.isdisjoint(fields)
    ):
        return None
    extensions = get("sec-websocket-extensions")
    return UsualRequest(path, host, get("origin"), offered, extensions, key)


def _offered(value: str | None) -> Sequence[str] | None:
    """Return the sub-protocols that are offered; None if that is no plain list."""
    if value is None:
        return ()
    if _TOKENS.fullmatch(value) is None:
        return None
    return [one.strip(" \t") for one in value.split(",")]


def switching(key: str, subprotocol: str, extensions: str | None) -> bytes:
    """Return the answer that opens the WebSocket."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        f"Date: {http_date()}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(key)}",
    ]
    if subprotocol:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    if extensions is not None:
        lines.append(f"Sec-WebSocket-Extensions: {extensions}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def http_date() -> str:
    """Return the present as HTTP writes it."""
    return _date_of(int(time()))


@lru_cache(maxsize=1)
def _date_of(second: int) -> str:
    return formatdate(second, usegmt=True)
