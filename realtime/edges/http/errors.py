"""
Errors as HTTP answers: one JSON shape, and the status that goes with each number.

    {"error": {"code": 112, "name": "gap", "retry": "resend", "reason": "...",
               "field": "first", "expected": 41}}

The numbers are those of the socket protocol (realtime/errors.py); those from 300 to 399
exist on HTTP only and are listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from realtime import errors
from realtime.errors import CommandError, ErrorCode, Retry, Unavailable

log = structlog.get_logger(__name__)

NOT_FOUND = ErrorCode(300, "not_found", Retry.NEVER, "there is nothing at this path")
METHOD_NOT_ALLOWED = ErrorCode(
    301, "method_not_allowed", Retry.NEVER, "the path does not answer this method"
)
NOT_ACCEPTABLE = ErrorCode(
    302, "not_acceptable", Retry.NEVER, "the Accept header excludes what is sent here"
)
BODY_TOO_LARGE = ErrorCode(
    303, "body_too_large", Retry.NEVER, "the body is over limits.max_body"
)
UNSUPPORTED_MEDIA_TYPE = ErrorCode(
    304,
    "unsupported_media_type",
    Retry.NEVER,
    "the body is neither JSON nor MessagePack",
)
KEY_REUSED = ErrorCode(
    305, "key_reused", Retry.NEVER, "the Idempotency-Key came with another body before"
)

BODY_TOO_SLOW = ErrorCode(
    306, "body_too_slow", Retry.LATER, "the body was not complete in time"
)

HTTP_ERRORS: tuple[ErrorCode, ...] = (
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    NOT_ACCEPTABLE,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    KEY_REUSED,
    BODY_TOO_SLOW,
)

#: The status of every error that is not the caller's plain mistake (400).
STATUS: Mapping[ErrorCode, int] = {
    errors.INTERNAL: 500,
    errors.UNAUTHORIZED: 401,
    errors.TOKEN_EXPIRED: 401,
    errors.TOKEN_REVOKED: 401,
    errors.BLOCKED: 403,
    errors.PERMISSION_DENIED: 403,
    errors.DEVICE_TAKEN: 403,
    errors.UNKNOWN_CHANNEL: 404,
    errors.NOT_AVAILABLE: 404,
    errors.GAP: 409,
    errors.LIMIT_EXCEEDED: 413,
    errors.RATE_LIMITED: 429,
    errors.UNAVAILABLE: 503,
    NOT_FOUND: 404,
    METHOD_NOT_ALLOWED: 405,
    NOT_ACCEPTABLE: 406,
    BODY_TOO_LARGE: 413,
    UNSUPPORTED_MEDIA_TYPE: 415,
    KEY_REUSED: 422,
    BODY_TOO_SLOW: 408,
}

#: After these the rest of a body may still be on its way: the connection cannot go on.
_CLOSING = frozenset({BODY_TOO_LARGE, BODY_TOO_SLOW, UNSUPPORTED_MEDIA_TYPE})

#: Why a good token is no longer taken.
_INVALID = {errors.TOKEN_EXPIRED: "expired", errors.TOKEN_REVOKED: "revoked"}

#: What starlette itself raises, in our words.
_OF_STATUS: Mapping[int, ErrorCode] = {
    404: NOT_FOUND,
    405: METHOD_NOT_ALLOWED,
    413: BODY_TOO_LARGE,
}

RETRY_AFTER_S = 1.0
"""Told with 503 and 429 when the error names no delay of its own."""


class JSONResponse(Response):
    """A body of JSON by orjson, never stored by caches on the way."""

    media_type = "application/json"

    def __init__(
        self,
        content: object,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            orjson.dumps(content),
            status_code,
            {"cache-control": "no-store", **(headers or {})},
        )


def status_of(code: ErrorCode) -> int:
    """The HTTP status that goes with *code*."""
    return STATUS.get(code, 400)


def error_object(exc: CommandError) -> dict[str, object]:
    """*exc* as the value of ``error`` in a body, without what it does not know."""
    found: dict[str, object] = {
        "code": exc.code.code,
        "name": exc.code.name,
        "retry": exc.code.retry.value,
        "reason": exc.reason,
        "field": exc.field,
        "expected": exc.expected,
        "retry_after_s": exc.retry_after_s,
    }
    return {key: value for key, value in found.items() if value is not None}


def error_response(
    exc: CommandError,
    headers: Mapping[str, str] | None = None,
    body: object = None,
) -> Response:
    """
    The whole answer for *exc*, with the headers that its status asks for.

    *body* takes the place of the usual one.
    """
    status = status_of(exc.code)
    extra = dict(headers or {})
    if status == 401:
        extra["www-authenticate"] = _challenge(exc.code)
    if status in (429, 503):
        delay_s = RETRY_AFTER_S if exc.retry_after_s is None else exc.retry_after_s
        # Whole seconds (RFC 9110, 10.2.3); retry_after_s in the body is exact.
        extra["retry-after"] = str(max(1, ceil(delay_s)))
    if exc.code in _CLOSING:
        extra["connection"] = "close"
    return JSONResponse(body or {"error": error_object(exc)}, status, extra)


def _challenge(code: ErrorCode) -> str:
    realm = 'Bearer realm="realtime"'
    if code in _INVALID:  # RFC 6750, 3.1
        why = _INVALID[code]
        return f'{realm}, error="invalid_token", error_description="{why}"'
    return realm


def unavailable(exc: Unavailable) -> CommandError:
    """What a caller is told when the broker or the ledger does not answer."""
    return CommandError(
        errors.UNAVAILABLE,
        str(exc) or errors.UNAVAILABLE.meaning,
        retry_after_s=RETRY_AFTER_S,
    )


async def _command_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, CommandError)
    if exc.code.retry is Retry.NEVER:
        _note(request, exc)
    return error_response(exc)


def _note(request: Request, exc: CommandError) -> None:
    """Log a mistake of the caller's, without anything that he sent."""
    route = request.scope.get("route")
    log.info(
        "request_refused",
        remote=request.client.host if request.client else None,
        method=request.method,
        route=getattr(route, "path", None),
        status=status_of(exc.code),
        error=exc.code.name,
    )


async def _unavailable(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Unavailable)
    return error_response(unavailable(exc))


async def _http_exception(request: Request, exc: Exception) -> Response:
    """
    Answer what starlette's router and parsers raise.

    OPTIONS comes here as a method that no route has: it is answered with what the
    path does have (RFC 9110, 9.3.7).
    """
    assert isinstance(exc, HTTPException)
    headers = dict(exc.headers or {})
    if allowed := headers.pop("Allow", ""):
        headers["allow"] = ", ".join(sorted({*allowed.split(", "), "OPTIONS"}))
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
    code = _OF_STATUS.get(exc.status_code, errors.BAD_MESSAGE)
    return error_response(CommandError(code, _sentence(code, request)), headers)


def not_found(request: Request) -> CommandError:
    """What is raised for a path that leads nowhere."""
    return CommandError(NOT_FOUND, _sentence(NOT_FOUND, request))


def _sentence(code: ErrorCode, request: Request) -> str:
    if code is NOT_FOUND:
        return f"there is nothing at {request.url.path}; see /openapi.json for what is"
    if code is METHOD_NOT_ALLOWED:
        return f"{request.url.path} does not answer {request.method}"
    return code.meaning


def exception_handlers() -> dict[type[Exception], ExceptionHandler]:
    """For ``ExceptionMiddleware``: everything that is raised on purpose."""
    return {
        CommandError: _command_error,
        Unavailable: _unavailable,
        HTTPException: _http_exception,
    }
