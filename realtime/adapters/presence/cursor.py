"""
Where a reading of members stands: the user and the client of the last one told.

Members are told in the order of (user, client), those without a user first. A cursor is
that pair as a text that may stand in a URL.
"""

from __future__ import annotations

import base64
import binascii

import msgpack

from realtime.types import ConnectionId, UserId

Key = tuple[str, str]
"""The place of a member in the order; the first is "" without a user, else "u..."."""


def key_of(user: UserId | None, client: ConnectionId) -> Key:
    """Return the place of a member."""
    return ("" if user is None else f"u{user}", client)


def write_cursor(user: UserId | None, client: ConnectionId) -> str:
    """Return the cursor that continues after this member."""
    packed: bytes = msgpack.packb(key_of(user, client))
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def read_cursor(cursor: str) -> Key | None:
    """
    Return the place to continue after; None to begin.

    Raises:
        ValueError: If it is none that ``write_cursor`` has made.
    """
    if not cursor:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        packed = base64.b64decode(padded, altchars=b"-_", validate=True)
        user, client = msgpack.unpackb(packed)
    except (ValueError, TypeError, binascii.Error, msgpack.UnpackException):
        raise ValueError(f"cursor: {cursor!r} is none that was given out") from None
    if not isinstance(user, str) or not isinstance(client, str):
        raise ValueError(f"cursor: {cursor!r} is none that was given out")
    return user, client
