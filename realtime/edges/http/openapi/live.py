"""Describes ``/v1/live``."""

from __future__ import annotations

from realtime.edges.http.openapi.parts import (
    CALLING,
    CHANNEL,
    LIVE_CHANNEL,
    Facts,
    Json,
    answer,
    array,
    errors,
    operation,
    query,
    security,
    text,
)

_DESCRIPTION = """\
Server-sent events, for as long as the connection lasts: first the present value of
every live channel, then what is published.

    event: push
    data: {"channel": "live:likes;post=42;window=5m", "data": {"value": 12, ...}}

Events of channels with a history have an `id`, from which a stream goes on where
another ended; `event: gap` says that something before its position is lost.

A slow reader misses values of live channels, never the latest; on other channels it is
ended. `: keepalive` comes after 15 seconds of silence. The stream ends with

    event: end
    data: {"code": 1001, "name": "going_away", "reconnect": true, "reason": "..."}"""


_ID = "^[0-9]{1,15},[^,]{1,64},[!-~]+$"


def paths(facts: Facts) -> Json:
    """The path of streams."""
    get = operation(
        "live",
        "channels",
        "Watch channels",
        _DESCRIPTION,
        {
            "200": answer("The stream.", text(), "text/event-stream"),
            **errors(400, *CALLING, 404, 406),
        },
        parameters=[
            {
                **query(
                    "channel",
                    "A channel; given once or more.",
                    array(
                        {"anyOf": [CHANNEL, LIVE_CHANNEL]},
                        minItems=1,
                        maxItems=facts.limits.max_subscriptions,
                    ),
                    required=True,
                ),
                "style": "form",
                "explode": True,
            },
            {
                **query(
                    "since",
                    "Where to go on: the `id` of an event, for each channel once.",
                    array(text(pattern=_ID), maxItems=facts.limits.max_subscriptions),
                ),
                "style": "form",
                "explode": True,
            },
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "The same, as browsers send it when they return.",
                "schema": text(pattern=_ID),
            },
        ],
        security=security(facts, "key", "bearer", "address"),
    )
    return {"/v1/live": {"get": get}}
