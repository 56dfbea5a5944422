"""Describes ``/v1/publish`` and ``/v1/broadcast``."""

from __future__ import annotations

from realtime.edges.http.openapi.parts import (
    CALLING,
    CHANNEL,
    FAULT_OPTIONAL,
    FAULT_PROPERTIES,
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
from realtime.edges.http.publish import MAX_CHANNELS, MAX_KEY_CHARS
from realtime.wire import checks

_PLACED: Json = {
    "offset": integer(1, description="Its number in the channel's history."),
    "epoch": text("Which numbering that is."),
    "skipped": text(
        "Why it was not published: its key came before, or its version is not newer.",
        enum=["duplicate", "stale"],
    ),
    "local": {
        "type": "boolean",
        "description": "True: Redis is away, and only the subscribers of this process "
        "were given it. Left out otherwise.",
    },
}

SCHEMAS: Json = {
    "Published": record({"published": integer(0, 1), **_PLACED}, *_PLACED),
    "Broadcast": record(
        {
            "published": integer(0, MAX_CHANNELS),
            "errors": array(ref("ChannelFault"), maxItems=MAX_CHANNELS),
            "placed": array(
                ref("ChannelPlace"),
                maxItems=MAX_CHANNELS,
                description="Of channels with a history, and where it was skipped or "
                "local.",
            ),
        },
        "placed",
    ),
    "ChannelPlace": record({"channel": text(), **_PLACED}, *_PLACED),
    "ChannelFault": record({"channel": text(), **FAULT_PROPERTIES}, *FAULT_OPTIONAL),
}

_MESSAGE: Json = {
    "data": {
        "description": "Any JSON value; its text may have `limits.max_publication` "
        "bytes.",
    },
    "tags": left_out(
        {
            "type": "object",
            "description": "What filters and conflation look at.",
            "propertyNames": {"pattern": "^[A-Za-z0-9_.-]{1,64}$"},
            "additionalProperties": text(maxLength=checks.MAX_TAG_CHARS),
            "maxProperties": checks.MAX_TAGS,
        }
    ),
    "idempotency_key": left_out(
        text(
            "Makes repeating safe for `history.idempotency_ttl`.",
            minLength=1,
            maxLength=MAX_KEY_CHARS,
        )
    ),
    "version": left_out(
        integer(
            description="Not published unless it is greater than the channel's last "
            "one; for channels that keep a history."
        )
    ),
}
_OPTIONAL = ("tags", "idempotency_key", "version")


def paths(facts: Facts) -> Json:
    """The paths of publications."""
    publish = operation(
        "publish",
        "channels",
        "Publish to a channel",
        "Answers once the broker has the publication.",
        {
            "200": answer("Handed over.", ref("Published")),
            **errors(*READING, *CALLING, 404),
        },
        requestBody=body(
            record({"channel": CHANNEL, **_MESSAGE}, *_OPTIONAL),
            {"channel": "chat:42", "data": {"text": "hello"}},
        ),
        security=security(facts, "key", "bearer"),
    )
    broadcast = operation(
        "broadcast",
        "channels",
        "Publish to many channels",
        "Publishes the same data to every channel. Channels that failed are told one "
        "by one; the others have it. A channel that is named twice gets it once.",
        {
            "200": answer("What became of it.", ref("Broadcast")),
            **errors(*READING, *CALLING),
        },
        requestBody=body(
            record(
                {
                    "channels": array(text(), minItems=1, maxItems=MAX_CHANNELS),
                    **_MESSAGE,
                },
                *_OPTIONAL,
            ),
            {"channels": ["chat:42", "chat:43"], "data": {"text": "hello"}},
        ),
        security=security(facts, "key", "bearer"),
    )
    return {"/v1/publish": {"post": publish}, "/v1/broadcast": {"post": broadcast}}
