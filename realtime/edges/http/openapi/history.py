"""Describes ``/v1/channels/{channel}/history``."""

from __future__ import annotations

from realtime.edges.http.history import MAX_EPOCH_CHARS, MAX_LIMIT, SWITCH
from realtime.edges.http.openapi.parts import (
    CALLING,
    CHANNEL,
    Facts,
    Json,
    answer,
    array,
    errors,
    integer,
    operation,
    query,
    record,
    ref,
    security,
    text,
)

SCHEMAS: Json = {
    "History": record(
        {
            "channel": CHANNEL,
            "offset": integer(
                description="Of the newest publication ever made; 0: none yet."
            ),
            "epoch": text("Which numbering that is."),
            "publications": array(ref("Publication")),
            "complete": {
                "type": "boolean",
                "description": "False: something between the place asked for and the "
                "first of these is lost, or the epoch is another.",
            },
            "more": {
                "type": "boolean",
                "description": "Whether further ones follow in this direction.",
            },
        }
    ),
    "Publication": record(
        {
            "data": {"description": "What was published."},
            "offset": integer(1),
            "tags": {"type": "object", "additionalProperties": text()},
        },
        "tags",
    ),
    "Forgotten": record({"channel": CHANNEL}),
}

_CHANNEL: Json = {"name": "channel", "in": "path", "required": True, "schema": CHANNEL}


def paths(facts: Facts) -> Json:
    """The path of histories."""
    read = operation(
        "history",
        "channels",
        "What a channel has kept",
        "From the oldest on, or what came after a position, which is an `offset` and "
        "an `epoch`; with `reverse`, from the newest or from before the position, "
        "backwards. A page has at most `history.max_page` publications.",
        {"200": answer("A page.", ref("History")), **errors(400, *CALLING, 404)},
        parameters=[
            _CHANNEL,
            query("offset", "Of the position; with `epoch`.", integer()),
            query(
                "epoch",
                "Of the position; with `offset`.",
                text(minLength=1, maxLength=MAX_EPOCH_CHARS),
            ),
            query("limit", "Publications in the answer.", integer(0, MAX_LIMIT)),
            query("reverse", "Backwards.", text(enum=list(SWITCH))),
        ],
        security=security(facts, "key", "bearer"),
    )
    forget = operation(
        "forgetHistory",
        "channels",
        "Remove what a channel has kept",
        "The offsets go on. Nodes forget what they remember within `history.check`.",
        {"200": answer("Removed.", ref("Forgotten")), **errors(400, *CALLING, 404)},
        parameters=[_CHANNEL],
        security=security(facts, "key"),
    )
    return {"/v1/channels/{channel}/history": {"get": read, "delete": forget}}
