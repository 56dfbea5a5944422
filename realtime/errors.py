"""
What can go wrong, numbered, and what the other side should do about it.

    RealtimeError
    |-- CommandError          answered on the same socket; the session lives
    |   `-- RejectedEvent     one event of a batch; the rest of the batch counts
    |-- Disconnect            the connection is closed with a code
    |-- ConfigError           start-up stops; names the key, the line and what is right
    `-- Unavailable           the broker, the ledger or the issuer cannot answer now
        |-- BrokerUnavailable
        |-- LedgerUnavailable
        |-- KeysUnavailable
        `-- HookUnavailable

Numbers are part of the protocol (docs/reference/protocol.md): they never change
meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Retry(StrEnum):
    """What a client that receives an error may do."""

    NEVER = "never"  # the same request will fail again
    LATER = "later"  # the same request may succeed after a delay
    REFRESH = "refresh"  # first refresh the token, then repeat
    RESEND = "resend"  # send again from the number that the error names


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One line of the catalogue of errors that are answered on the socket."""

    code: int
    name: str
    retry: Retry
    meaning: str


INTERNAL = ErrorCode(
    100, "internal", Retry.LATER, "the server failed; it has been logged"
)
BAD_MESSAGE = ErrorCode(101, "bad_message", Retry.NEVER, "a field is missing or wrong")
UNKNOWN_TYPE = ErrorCode(102, "unknown_type", Retry.NEVER, "no such message type")
NOT_READY = ErrorCode(103, "not_ready", Retry.NEVER, "the first message must be hello")
UNAUTHORIZED = ErrorCode(
    104, "unauthorized", Retry.NEVER, "the token is missing or invalid"
)
TOKEN_EXPIRED = ErrorCode(105, "token_expired", Retry.REFRESH, "the token has expired")
PERMISSION_DENIED = ErrorCode(106, "permission_denied", Retry.NEVER, "not granted")
UNKNOWN_CHANNEL = ErrorCode(
    107, "unknown_channel", Retry.NEVER, "no such namespace or counter"
)
BAD_CHANNEL = ErrorCode(
    108, "bad_channel", Retry.NEVER, "the channel's name is malformed"
)
ALREADY_SUBSCRIBED = ErrorCode(
    109, "already_subscribed", Retry.NEVER, "subscribed before"
)
NOT_SUBSCRIBED = ErrorCode(110, "not_subscribed", Retry.NEVER, "no such subscription")
LIMIT_EXCEEDED = ErrorCode(
    111, "limit_exceeded", Retry.NEVER, "over a limit of hello's reply"
)
GAP = ErrorCode(112, "gap", Retry.RESEND, "numbers are missing before this batch")
DEVICE_TAKEN = ErrorCode(
    113, "device_taken", Retry.NEVER, "the device belongs to another"
)
UNAVAILABLE = ErrorCode(
    114, "unavailable", Retry.LATER, "Redis, or a hook, does not answer"
)
RATE_LIMITED = ErrorCode(115, "rate_limited", Retry.LATER, "too many commands")
NO_DEVICE = ErrorCode(
    116,
    "no_device",
    Retry.NEVER,
    "hello named no device, or the session may track nothing",
)
NOT_AVAILABLE = ErrorCode(
    117, "not_available", Retry.NEVER, "the namespace does not offer this"
)
BLOCKED = ErrorCode(118, "blocked", Retry.LATER, "the user is blocked for a time")
TOKEN_REVOKED = ErrorCode(
    119, "token_revoked", Retry.REFRESH, "the token has been revoked"
)
ENDED_BY_BACKEND = ErrorCode(
    120, "ended_by_backend", Retry.NEVER, "the backend ended the subscription"
)

BAD_EVENT = ErrorCode(
    200, "bad_event", Retry.NEVER, "the event is not an object as described"
)
BAD_EVENT_NAME = ErrorCode(
    201, "bad_event_name", Retry.NEVER, "the event's name is malformed"
)
BAD_PROPERTIES = ErrorCode(
    202, "bad_properties", Retry.NEVER, "a property is malformed"
)
EVENT_TOO_LARGE = ErrorCode(
    203, "event_too_large", Retry.NEVER, "the event is over the limit"
)
EVENT_TOO_OLD = ErrorCode(
    204, "event_too_old", Retry.NEVER, "older than the server accepts"
)
BAD_VALUE = ErrorCode(
    205, "bad_value", Retry.NEVER, "a counter cannot use the property's value"
)
EVENT_DENIED = ErrorCode(
    206, "event_denied", Retry.NEVER, "the token may not track this event"
)
EVENT_REFUSED = ErrorCode(
    207, "event_refused", Retry.NEVER, "a hook of the server refused the event"
)

ERRORS: tuple[ErrorCode, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, ErrorCode)
)


@dataclass(frozen=True, slots=True)
class CloseCode:
    """
    One line of the catalogue of close codes.

    4000 to 4499: come back, with back-off. 4500 to 4999: do not come back unchanged.
    """

    code: int
    name: str
    reconnect: bool
    meaning: str


GOING_AWAY = CloseCode(1001, "going_away", True, "the server is shutting down")
PROTOCOL_ERROR = CloseCode(1002, "protocol_error", False, "the frame breaks RFC 6455")
INVALID_UTF8 = CloseCode(1007, "invalid_utf8", False, "a text frame is not UTF-8")
TOO_BIG = CloseCode(
    1009, "too_big", False, "a frame is over the limit of hello's reply"
)
SLOW = CloseCode(
    4001, "slow", True, "the connection's outbox is full: it reads too slowly"
)
KEEPALIVE_TIMEOUT = CloseCode(
    4002, "keepalive_timeout", True, "nothing was heard in time"
)
HELLO_TIMEOUT = CloseCode(4003, "hello_timeout", True, "no hello in time")
OVERLOADED = CloseCode(4004, "overloaded", True, "this node is full")
INTERNAL_CLOSE = CloseCode(
    4005, "internal", True, "the server failed; it has been logged"
)
ROTATED = CloseCode(
    4006, "rotated", True, "the connection has reached its greatest age"
)
RECONNECT_ASKED = CloseCode(
    4007, "reconnect_asked", True, "the backend asks the client to connect anew"
)
TOO_MANY_CONNECTIONS = CloseCode(
    4008, "too_many_connections", True, "the user has as many connections as allowed"
)
BAD_FRAME = CloseCode(
    4500, "bad_frame", False, "the frame is no message in the codec agreed"
)
UNAUTHORIZED_CLOSE = CloseCode(4501, "unauthorized", False, "hello was refused")
EXPIRED_CLOSE = CloseCode(
    4502, "token_expired", False, "the token has expired: get a new one"
)
TOO_MANY_ERRORS = CloseCode(4503, "too_many_errors", False, "too many bad messages")
DISCONNECTED = CloseCode(
    4504, "disconnected", False, "the backend ended the connection"
)
BLOCKED_CLOSE = CloseCode(4505, "blocked", False, "the user is blocked for a time")
REVOKED_CLOSE = CloseCode(
    4506, "token_revoked", False, "the token has been revoked: get a new one"
)

CLOSE_CODES: tuple[CloseCode, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, CloseCode)
)


class RealtimeError(Exception):
    """Anything this package raises on purpose."""


class CommandError(RealtimeError):
    """
    A command that is answered with an error; the session lives.

    *reason* is a sentence for a developer: it names the field, the value and what
    would be right. *field* is the path of the field, such as ``events[3].name``.
    *expected* goes with ``gap``: the number the server waits for.
    *retry_after_s* goes with errors to be retried later.
    """

    def __init__(
        self,
        code: ErrorCode,
        reason: str = "",
        *,
        field: str | None = None,
        expected: int | None = None,
        retry_after_s: float | None = None,
        request: int | None = None,
    ) -> None:
        super().__init__(reason or code.meaning)
        self.code = code
        self.reason = reason or code.meaning
        self.field = field
        self.expected = expected
        self.retry_after_s = retry_after_s
        self.request = request

    def __str__(self) -> str:
        return f"{self.code.code} {self.code.name}: {self.reason}"


class RejectedEvent(CommandError):
    """One event that will not be counted; its number is still used up."""


class Disconnect(RealtimeError):
    """
    The connection must be closed with this code; *reason* is at most 123 bytes of
    UTF-8.
    """

    def __init__(self, code: CloseCode, reason: str = "") -> None:
        super().__init__(reason or code.meaning)
        self.code = code
        self.reason = reason or code.meaning

    def __str__(self) -> str:
        return f"{self.code.code} {self.code.name}: {self.reason}"


class ConfigError(RealtimeError):
    """
    The configuration is wrong; the sentence says where and what would be right.

    *key* is dotted, such as ``counters.likes.measure``; *line* is filled in by the
    loader when the value came from a file.
    """

    def __init__(self, key: str, problem: str, line: int | None = None) -> None:
        super().__init__(key, problem, line)
        self.key = key
        self.problem = problem
        self.line = line

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        return f"{where}{self.key}: {self.problem}"


class Unavailable(RealtimeError):
    """
    A service that the server stands on does not answer now; it may, *retry_after_s*
    seconds later.
    """

    retry_after_s = 1.0


class BrokerUnavailable(Unavailable):
    """Publications may not travel between nodes at the moment."""


class LedgerUnavailable(Unavailable):
    """It is unknown whether the commit happened; repeating the same commit is safe."""


class KeysUnavailable(Unavailable):
    """The issuer's keys cannot be had now: it is unknown whether a token is good."""


class HookUnavailable(Unavailable):
    """A hook of the developer's does not answer, so nobody knows what it would say."""

    def __init__(self, reason: str, retry_after_s: float = 1.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
