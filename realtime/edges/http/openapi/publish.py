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
    operation,
    record,
    ref,
    security,
    text,
)
from realtime.edges.http.publish import MAX_CHANNELS

SCHEMAS: Json = {
    "Published": record({"published": integer(1, 1)}),
    "Broadcast": record(
        {
            "published": integer(0, MAX_CHANNELS),
            "errors": array(ref("ChannelFault"), maxItems=MAX_CHANNELS),
        }
    ),
    "ChannelFault": record({"channel": text(), **FAULT_PROPERTIES}, *FAULT_OPTIONAL),
}

_DATA: Json = {
    "description": "Any JSON value; its text may have `limits.max_publication` bytes.",
}


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
            record({"channel": CHANNEL, "data": _DATA}),
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
                    "data": _DATA,
                }
            ),
            {"channels": ["chat:42", "chat:43"], "data": {"text": "hello"}},
        ),
        security=security(facts, "key", "bearer"),
    )
    return {"/v1/publish": {"post": publish}, "/v1/broadcast": {"post": broadcast}}
