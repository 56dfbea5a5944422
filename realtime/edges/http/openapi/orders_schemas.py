"""The shapes of what orders are answered with."""

from __future__ import annotations

from realtime.edges.http.blocks import MAX_BLOCKS
from realtime.edges.http.openapi.parts import (
    Json,
    answer,
    array,
    integer,
    record,
    ref,
    text,
)
from realtime.edges.http.orders import MAX_CHANNELS

_COUNTS: Json = {
    "nodes": integer(1, description="How many nodes there are."),
    "answered": integer(1, description="How many have obeyed: all of them."),
}
SECONDS: Json = {"type": "number", "description": "Seconds since 1970."}
_CURSOR = text("Asks for the next page; left out on the last one.")


def _done(what: str, **more: object) -> Json:
    hit = integer(description="How many it hit, on all nodes.")
    return record({**more, what: hit, **_COUNTS})


SCHEMAS: Json = {
    "Disconnected": _done("disconnected"),
    "Unsubscribed": _done("unsubscribed"),
    "Refreshed": _done("refreshed"),
    "Blocked": _done("disconnected", user=text(), until=SECONDS),
    "Unblocked": record(
        {"user": text(), "unblocked": {"type": "boolean"}, **_COUNTS}, *_COUNTS
    ),
    "Unrevoked": record(
        {
            "user": {"type": ["string", "null"]},
            "unrevoked": {"type": "boolean"},
            **_COUNTS,
        },
        *_COUNTS,
    ),
    "Revoked": _done(
        "disconnected",
        user={"type": ["string", "null"], "description": "null: everybody."},
        until=SECONDS,
        issued_before=SECONDS,
    ),
    "Block": record(
        {
            "user": {"type": ["string", "null"], "description": "null: everybody."},
            "until": SECONDS,
            "issued_before": {
                "type": "number",
                "description": "Of a revocation: older tokens are refused.",
            },
        },
        "issued_before",
    ),
    "Blocks": record(
        {"blocks": array(ref("Block"), maxItems=MAX_BLOCKS), "cursor": _CURSOR},
        "cursor",
    ),
    "Connections": record(
        {
            "connections": array(ref("Connection")),
            "complete": {
                "type": "boolean",
                "description": "false when a node has more than 1000 of them.",
            },
            **_COUNTS,
        }
    ),
    "Connection": record(
        {
            "connection": text("Its id."),
            "node": text(),
            "since": SECONDS,
            "remote": text("The client's address."),
            "transport": text("The sub-protocol of the WebSocket, or `sse`."),
            "subscriptions": integer(),
            "client": {
                "type": ["string", "null"],
                "description": "What the app calls itself.",
            },
        }
    ),
    "Channels": record(
        {
            "channels": array(ref("ChannelCount"), maxItems=MAX_CHANNELS),
            "cursor": _CURSOR,
            **_COUNTS,
        },
        "cursor",
    ),
    "ChannelCount": record({"channel": text(), "subscribers": integer()}),
    "Nodes": record({"nodes": array(ref("Node")), "at": SECONDS}),
    "Node": record(
        {
            "node": text("Its id; a new one with every start."),
            "started_at": SECONDS,
            "connections": integer(),
            "subscriptions": integer(),
            "events_total": integer(),
            "events_per_s": {"type": "number"},
            "deliveries_per_s": {"type": "number"},
            "cpu": {"type": "number", "description": "Of one core; 1 is all of it."},
            "ready": {"type": "boolean"},
            "draining": {"type": "boolean"},
            "host": text("The machine's name."),
            "pid": integer(),
            "version": text(),
        }
    ),
    "NotEverywhere": record(
        {
            "error": ref("Fault"),
            "nodes": integer(1),
            "answered": integer(),
            "missing": array(text(), description="The nodes that have not obeyed."),
        },
        "nodes",
        "answered",
        "missing",
    ),
}

NOT_EVERYWHERE: Json = {
    **answer(
        "Not every node has obeyed, or Redis does not answer; asking again is safe.",
        ref("NotEverywhere"),
    ),
    "headers": {
        "Retry-After": {
            "description": "Seconds to wait before the same request is sent again.",
            "required": True,
            "schema": integer(1),
        }
    },
}
