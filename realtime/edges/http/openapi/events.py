"""Describes ``/v1/events`` and ``/v1/devices/{device}``."""

from __future__ import annotations

from realtime.edges.http.openapi.parts import (
    CALLING,
    READING,
    Facts,
    Json,
    answer,
    array,
    body,
    errors,
    integer,
    left_out,
    operation,
    record,
    ref,
    security,
    text,
)

_DEVICE = text("The sender's own name for itself.", pattern="^[A-Za-z0-9_.:-]{1,128}$")

_DESCRIPTION = """\
Counts a batch of events exactly once and answers after they are committed.

Either the batch is numbered: `device` names the sender and `first` is the number of the
first event; the next batch begins where this one ends, and sending a batch again is
harmless. Or the request has an `Idempotency-Key`: then `device`, `first` and `lost` are
left out, and repeating the request with the same key and the same body is harmless
within `ledger.idempotency_ttl`.

An event that is not as described is rejected by number; the others count."""

SCHEMAS: Json = {
    "Event": record(
        {
            "name": text(pattern="^[A-Za-z][A-Za-z0-9_.:-]{0,63}$"),
            "at": {
                "type": "number",
                "description": "When it happened, in seconds since the epoch by the "
                "sender's clock; left out, when it was received.",
            },
            "properties": {
                "type": "object",
                "additionalProperties": {
                    "type": ["string", "number", "boolean", "null"]
                },
            },
            "user": text(
                "Whose event it is, if not the batch's `user`; API keys only.",
                minLength=1,
                maxLength=255,
            ),
        },
        "at",
        "properties",
        "user",
    ),
    "Rejection": record(
        {
            "seq": integer(1, description="The event's number; it is used up."),
            "code": integer(200, 299),
            "name": text(),
            "reason": text(),
        }
    ),
    "Counted": record(
        {
            "acked": integer(description="Everything up to this number is done."),
            "rejected": array(ref("Rejection")),
        }
    ),
    "Mark": record({"device": _DEVICE, "acked": integer()}),
}


def _batch(facts: Facts) -> Json:
    # Whatever is in the array is taken and judged one by one, hence the {}.
    events = array(
        {"anyOf": [ref("Event"), {}]}, maxItems=facts.limits.max_batch_events
    )
    return record(
        {
            "events": events,
            "device": left_out(_DEVICE),
            "first": left_out(integer(1)),
            "lost": left_out(
                integer(description="This many numbers before `first` never come.")
            ),
            "sent_at": left_out(
                {"type": "number", "description": "The sender's clock, now."}
            ),
            "user": left_out(
                text(
                    "Whose events they are; API keys only.", minLength=1, maxLength=255
                )
            ),
            "secret": left_out(
                text("Proves an anonymous sender's device.", pattern="^[ -~]{16,128}$")
            ),
        },
        "device",
        "first",
        "lost",
        "sent_at",
        "user",
        "secret",
    )


_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Names this batch, in place of `device` and `first`.",
    "required": False,
    "schema": text(pattern="^[!-~]([ -~]{0,253}[!-~])?$"),
}

_SECRET: Json = {
    "name": "X-Device-Secret",
    "in": "header",
    "description": "The `secret` with which the device's events are sent, if any.",
    "required": False,
    "schema": text(pattern="^[!-~][ -~]{14,126}[!-~]$"),
}

_EXAMPLE: Json = {
    "device": "backend-1",
    "first": 1,
    "events": [{"name": "like", "properties": {"post": "42"}}],
}


def paths(facts: Facts) -> Json:
    """The paths of events."""
    post = operation(
        "track",
        "events",
        "Count events",
        _DESCRIPTION,
        {
            "200": answer("Committed.", ref("Counted")),
            **errors(*READING, *CALLING, 409, 422, 429),
        },
        parameters=[_KEY],
        requestBody=body(_batch(facts), _EXAMPLE),
        security=security(facts, "key", "bearer"),
    )
    mark = operation(
        "mark",
        "events",
        "How far a device has been counted",
        "For resuming after a restart: number the next event `acked + 1`. A device "
        "that is not known yet belongs to this API key from now on, or to who shows "
        "the secret.",
        {
            "200": answer("The mark.", ref("Mark")),
            **errors(400, *CALLING),
        },
        parameters=[
            {"name": "device", "in": "path", "required": True, "schema": _DEVICE},
            _SECRET,
        ],
        security=security(facts, "key", "bearer"),
    )
    return {"/v1/events": {"post": post}, "/v1/devices/{device}": {"get": mark}}
