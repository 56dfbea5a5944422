"""What several descriptions share: parameters, answers and the shapes in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from realtime.core.channels import MAX_CHANNEL_CHARS, MAX_LIVE_CHARS
from realtime.core.counters import CounterDefinition
from realtime.edges.http.errors import HTTP_ERRORS
from realtime.errors import ERRORS, Retry
from realtime.settings import LimitSettings

Json = dict[str, object]

MAX_SAFE = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Facts:
    """What a description depends on."""

    version: str
    limits: LimitSettings
    counters: Sequence[CounterDefinition]  # those that the reader may know of
    open: bool  # whether requests without credentials are answered


def ref(name: str) -> Json:
    """Point to a schema of ``SCHEMAS``."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(properties: Mapping[str, object], *optional: str) -> Json:
    """An object with exactly these properties, all required but the *optional* ones."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def array(items: object, **more: object) -> Json:
    """An array of *items*."""
    return {"type": "array", "items": items, **more}


def text(description: str = "", **more: object) -> Json:
    """A string."""
    return {
        "type": "string",
        **({"description": description} if description else {}),
        **more,
    }


def integer(low: int = 0, high: int = MAX_SAFE, **more: object) -> Json:
    """An integer within bounds."""
    return {"type": "integer", "minimum": low, "maximum": high, **more}


# Printable, without spaces, with a namespace before the first colon, not begun by @.
CHANNEL = text(
    "`namespace:name`; 1 to 255 printable characters without spaces.",
    pattern="^[!-9;-?A-~][!-9;-~]*:[!-~]*$",
    maxLength=MAX_CHANNEL_CHARS,
)
LIVE_CHANNEL = text(
    "A counter's value, such as `live:likes;post=42;window=5m`.",
    pattern="^live:[!-~]*$",
    maxLength=MAX_LIVE_CHARS,
)


def left_out(schema: Json) -> Json:
    """The same, where null counts as left out."""
    return {"anyOf": [schema, {"type": "null"}]}


def query(name: str, description: str, schema: Json, required: bool = False) -> Json:
    """A parameter of the query."""
    return {
        "name": name,
        "in": "query",
        "description": description,
        "required": required,
        "schema": schema,
    }


def body(schema: Json, example: object) -> Json:
    """A body, in either codec."""
    return {
        "required": True,
        "content": {
            "application/json": {"schema": schema, "example": example},
            "application/msgpack": {"schema": schema},
        },
    }


def answer(description: str, schema: Json, media: str = "application/json") -> Json:
    """An answer with a body."""
    return {"description": description, "content": {media: {"schema": schema}}}


def operation(
    name: str,
    tag: str,
    summary: str,
    description: str,
    responses: Mapping[str, object],
    **more: object,
) -> Json:
    """One method of a path."""
    return {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "description": description,
        "responses": dict(responses),
        **more,
    }


def errors(*statuses: int) -> Json:
    """The error answers of these statuses, and 500, which any request may meet."""
    return {
        str(status): {"$ref": f"#/components/responses/{_RESPONSES[status]}"}
        for status in sorted({*statuses, 500})
    }


_RESPONSES = {
    400: "Bad",
    401: "Unauthorized",
    403: "Denied",
    404: "Unknown",
    406: "NotAcceptable",
    408: "TooSlow",
    409: "Gap",
    413: "TooLarge",
    415: "Unsupported",
    422: "KeyReused",
    429: "Busy",
    500: "Internal",
    503: "Unavailable",
}

READING = (400, 408, 413, 415)
"""What may be wrong with any body."""

CALLING = (401, 403, 503)
"""What may be wrong with any caller; 503: the issuer's keys cannot be had."""

_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds to wait before the same request is sent again.",
        "required": True,
        "schema": integer(1),
    }
}
_CHALLENGE = {
    "WWW-Authenticate": {
        "description": "The scheme that is expected.",
        "required": True,
        "schema": text(pattern="^Bearer "),
    }
}


def _error_answer(
    description: str, headers: Mapping[str, object] | None = None
) -> Json:
    found = answer(description, ref("Error"))
    return {**found, "headers": headers} if headers else found


RESPONSES: Json = {
    "Bad": _error_answer("A field or a parameter is missing or wrong; it is named."),
    "Unauthorized": _error_answer(
        "The API key or the token is missing, invalid or expired.", _CHALLENGE
    ),
    "Denied": _error_answer("It is known who asks, and that this is not granted."),
    "Unknown": _error_answer("No such path, namespace or counter."),
    "NotAcceptable": _error_answer("The Accept header excludes what is sent here."),
    "TooSlow": _error_answer("The body was not complete in time."),
    "Gap": _error_answer(
        "Numbers are missing before this batch: send again from `expected`, or declare "
        "the hole with `lost`."
    ),
    "TooLarge": _error_answer("The body, the batch or the publication is too large."),
    "Unsupported": _error_answer("The body is neither JSON nor MessagePack."),
    "KeyReused": _error_answer("The Idempotency-Key came with another body before."),
    "Busy": _error_answer("Too much at once; nothing was done.", _RETRY_AFTER),
    "Internal": _error_answer("The server failed; it has been logged."),
    "Unavailable": _error_answer(
        "Redis or the token's issuer does not answer; repeating is safe.", _RETRY_AFTER
    ),
}

_CODES = sorted(code.code for code in (*ERRORS, *HTTP_ERRORS))
_NAMES = sorted(code.name for code in (*ERRORS, *HTTP_ERRORS))

FAULT_PROPERTIES: Json = {
    "code": {"type": "integer", "enum": _CODES},
    "name": {"type": "string", "enum": _NAMES},
    "retry": text(
        "never: the same request fails again; later: it may succeed; refresh: first "
        "get a new token; resend: from the number in `expected`",
        enum=[retry.value for retry in Retry],
    ),
    "reason": text("A sentence for a developer."),
    "field": text("What is wrong, such as `first`."),
    "expected": integer(1, description="The number that is waited for, with gap."),
    "retry_after_s": {"type": "number", "minimum": 0},
}
FAULT_OPTIONAL = ("field", "expected", "retry_after_s")

SCHEMAS: Json = {
    "Error": record({"error": ref("Fault")}),
    "Fault": record(FAULT_PROPERTIES, *FAULT_OPTIONAL),
}

SECURITY_SCHEMES: Json = {
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "A backend's key of `[api_keys]`.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A backend's key, or a user's token (JWT).",
    },
    "address": {
        "type": "apiKey",
        "in": "query",
        "name": "access_token",
        "description": "A user's token, where a browser cannot send headers.",
    },
}


def security(facts: Facts, *schemes: str) -> list[Json]:
    """Any one of *schemes*; or none, where requests without one are answered."""
    found: list[Json] = [{scheme: []} for scheme in schemes]
    return [*found, {}] if facts.open else found
