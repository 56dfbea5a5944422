"""
How the Redis form writes members: bytes whose order is that of users and clients.

A member is ``<user>\\0<client>\\0<mark>\\0<info>``: the user begins with a ``u`` and is
empty for members without one, the mark is ``mark_of`` the client in digits, the info is
JSON text or empty. In user and client, a ``\\0`` is written ``\\1\\1`` and a ``\\1``
is written ``\\1\\2``.
"""

from __future__ import annotations

from dataclasses import dataclass

from realtime.adapters.presence.cursor import Key, key_of
from realtime.adapters.presence.port import mark_of
from realtime.types import Channel, ConnectionId, JSONText, Member, UserId

_BRACES = str.maketrans({"%": "%25", "{": "%7B", "}": "%7D"})


def tag_of(prefix: str, channel: Channel) -> bytes:
    """Return the hash tag that all keys of *channel* begin with."""
    return f"{{{prefix}:p:{channel.translate(_BRACES)}}}".encode()


@dataclass(frozen=True, slots=True)
class Parts:
    """A member as the scripts take it: each part with the zeros on its outer side."""

    user: bytes
    client: bytes
    mark: bytes
    info: bytes

    def __bytes__(self) -> bytes:
        return self.user + self.client + self.mark + self.info


def parts_of(member: Member) -> Parts:
    """Return the parts of *member*."""
    user, client = key_parts(member.user, member.client)
    mark = b"%d" % mark_of(member.client)
    return Parts(user, client, mark, b"\0" + (member.info or b""))


def key_parts(user: UserId | None, client: ConnectionId) -> tuple[bytes, bytes]:
    """Return ``<user>\\0`` and ``<client>\\0``."""
    first, second = key_of(user, client)
    return _escape(first) + b"\0", _escape(second) + b"\0"


def after(key: Key | None) -> bytes:
    """Return the begin of the range of the members after *key*."""
    if key is None:
        return b"-"
    user, client = key
    return b"(%b\0%b\1" % (_escape(user), _escape(client))


def range_of(user: UserId) -> tuple[bytes, bytes]:
    """Return begin and end of the range of a user's members."""
    name = _escape(f"u{user}")
    return b"[%b\0" % name, b"(%b\1" % name


def member_of(entry: bytes) -> Member:
    """Undo ``bytes(parts_of(member))``."""
    user, client, _, info = entry.split(b"\0", 3)
    return Member(
        ConnectionId(_unescape(client)),
        UserId(_unescape(user)[1:]) if user else None,
        JSONText(info) if info else None,
    )


def _escape(text: str) -> bytes:
    raw = text.encode()
    if b"\0" in raw or b"\1" in raw:
        raw = raw.replace(b"\1", b"\1\2").replace(b"\0", b"\1\1")
    return raw


def _unescape(raw: bytes) -> str:
    if b"\1" in raw:
        raw = raw.replace(b"\1\1", b"\0").replace(b"\1\2", b"\1")
    return raw.decode()
