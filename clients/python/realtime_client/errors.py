"""
What can go wrong, and what to do about it.

    RealtimeError
    |-- CommandError       the server refused one command; the connection lives
    |-- Disconnected       the connection ended, with a close code if there was one
    |-- GoingAway          the server asked to come back a little later
    |-- ConnectFailed      no connection came about; it may the next time
    |-- HandshakeRefused   something answered, but not as a realtime server does
    |-- BadReply           the server sent something that is not the protocol
    |-- TokenFailed        the token function raised
    |-- NotConnected       the command was not sent
    |-- ConnectionLost     the command was sent, its reply never came: outcome unknown
    |-- ClientClosed       the client was closed
    |-- ConnectTimeout     no welcome within the time given (also a TimeoutError)
    |-- FlushTimeout       events are still not acknowledged (also a TimeoutError)
    |-- BadEvent           the event cannot be sent (also a ValueError); no number used
    `-- QueueError         the queue of events cannot be used
        |-- QueueFull      no room; no number was used
        `-- QueueLocked    another process has the file open

Every one has a ``code`` (of the server's catalogue; or None), a ``name`` and ``retry``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

#: Names, in the server's catalogue, of the codes that may end a subscription.
ENDINGS: Mapping[int, str] = {106: "permission_denied", 120: "ended_by_backend"}


class Retry(StrEnum):
    """What may be done after an error."""

    NEVER = "never"  # the same will fail again
    LATER = "later"  # the same may succeed after a delay
    REFRESH = "refresh"  # a new token is needed first
    RESEND = "resend"  # events must be sent again from the number that the error names


class RealtimeError(Exception):
    """Anything this package raises on purpose; ``str()`` explains it to a developer."""

    code: int | None = None
    name: str = "error"
    retry: Retry = Retry.NEVER
    retry_after_s: float | None = None


class CommandError(RealtimeError):
    """
    The server refused one command.

    *field* is the path of the wrong field. *expected* goes with ``gap``: the number
    the server waits for. *retry_after_s* goes with errors to be retried later.
    """

    def __init__(
        self,
        code: int,
        name: str,
        retry: Retry,
        reason: str,
        *,
        field: str | None = None,
        expected: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(code, name, reason)
        self.code = code
        self.name = name
        self.retry = retry
        self.reason = reason
        self.field = field
        self.expected = expected
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.code} {self.name}: {self.reason}"


class Disconnected(RealtimeError):
    """
    The connection ended.

    *code* is the close code that the server sent; None when it sent none (the network
    went away, or nothing was heard in time).
    """

    name = "disconnected"

    #: Codes outside the protocol's own ranges after which the same would happen again.
    FINAL: ClassVar[frozenset[int]] = frozenset({1002, 1007, 1009})
    #: Codes after which another token is needed: expired, revoked.
    NEW_TOKEN: ClassVar[frozenset[int]] = frozenset({4502, 4506})

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.retry = _retry_after_close(code)

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}" if self.code is not None else self.reason


def _retry_after_close(code: int | None) -> Retry:
    if code in Disconnected.NEW_TOKEN:
        return Retry.REFRESH
    if code is not None and (4500 <= code <= 4999 or code in Disconnected.FINAL):
        return Retry.NEVER
    return Retry.LATER


class GoingAway(RealtimeError):
    """
    The server is about to close the connection, for no fault of ours.

    We come back when it says: at *back_at*, by the client's monotonic clock.
    """

    name = "going_away"
    retry = Retry.LATER

    def __init__(self, reason: str, back_at: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.back_at = back_at


class ConnectFailed(RealtimeError):
    """No connection came about: name resolution, TCP, TLS or the handshake failed."""

    name = "connect_failed"
    retry = Retry.LATER


class HandshakeRefused(RealtimeError):
    """
    Something answered the handshake, but not by opening a realtime connection.

    *code* is the HTTP status; None when the connection opened without our sub-protocol.
    """

    name = "handshake_refused"

    def __init__(
        self, code: int | None, reason: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.retry_after_s = retry_after_s
        if code is not None and (code >= 500 or code in (408, 425, 429)):
            self.retry = Retry.LATER

    def __str__(self) -> str:
        return self.reason


class BadReply(RealtimeError):
    """The server sent something that is not the protocol."""

    name = "bad_reply"
    retry = Retry.LATER


class TokenFailed(RealtimeError):
    """The token function raised (the cause has what); it is called again later."""

    name = "token_failed"
    retry = Retry.LATER


class NotConnected(RealtimeError):
    """There is no connection now; the command was not sent."""

    name = "not_connected"
    retry = Retry.LATER


class ConnectionLost(RealtimeError):
    """The command was sent and its reply never came; it may have been done."""

    name = "connection_lost"
    retry = Retry.LATER


class ClientClosed(RealtimeError):
    """The client was closed."""

    name = "client_closed"


class ConnectTimeout(RealtimeError, TimeoutError):
    """No welcome within the time given; the client goes on trying."""

    name = "connect_timeout"
    retry = Retry.LATER


class FlushTimeout(RealtimeError, TimeoutError):
    """Events are still not acknowledged; they stay queued and are sent again."""

    name = "flush_timeout"
    retry = Retry.LATER


class BadEvent(RealtimeError, ValueError):
    """The event cannot be sent; the sentence names the field. No number was used."""

    name = "bad_event"


class QueueError(RealtimeError):
    """The queue of events cannot be read or written."""

    name = "queue_error"


class QueueFull(QueueError):
    """The queue has no room for one more event. No number was used."""

    name = "queue_full"
    retry = Retry.LATER


class QueueLocked(QueueError):
    """Another process has the queue's file open: one process, one device."""

    name = "queue_locked"
