"""Describes what backends order and ask of all nodes."""

from __future__ import annotations

from realtime.adapters.blocks.port import MAX_ORDERS
from realtime.core.channels import MAX_LIVE_CHARS
from realtime.edges.http.blocks import MAX_BLOCKS
from realtime.edges.http.fields import MAX_INSTANT, MAX_SPAN_S
from realtime.edges.http.openapi.orders_schemas import NOT_EVERYWHERE, SCHEMAS, SECONDS
from realtime.edges.http.openapi.parts import (
    CALLING,
    CHANNEL,
    READING,
    Facts,
    Json,
    answer,
    body,
    errors,
    integer,
    left_out,
    operation,
    query,
    record,
    ref,
    security,
    text,
)
from realtime.edges.http.orders import (
    MAX_CHANNELS,
    MAX_ID_CHARS,
    MAX_REASON_CHARS,
    MAX_USER_CHARS,
)

_FOR: Json = {
    "description": "Seconds, or a text such as 30s, 5m, 12h or 7d.",
    "anyOf": [
        {"type": "number", "minimum": 1, "maximum": MAX_SPAN_S},
        text(pattern="^([1-9][0-9]{0,4}[smh]|[1-9][0-9]{0,3}d)$"),
    ],
}
_INSTANT: Json = {**SECONDS, "minimum": 0, "maximum": MAX_INSTANT}


def _in_path(name: str, longest: int) -> Json:
    schema = text(minLength=1, maxLength=longest)
    return {"name": name, "in": "path", "required": True, "schema": schema}


_TARGETS = {
    "/v1/users/{user}": ("user", "a user", _in_path("user", MAX_USER_CHARS)),
    "/v1/connections/{connection}": (
        "connection",
        "a connection",
        _in_path("connection", MAX_ID_CHARS),
    ),
}


__all__ = ["SCHEMAS", "paths"]


def paths(facts: Facts) -> Json:
    """The paths of orders."""
    found: Json = {}
    for prefix, (suffix, whom, parameter) in _TARGETS.items():
        for name, describe in (
            ("disconnect", _disconnect),
            ("unsubscribe", _unsubscribe),
            ("refresh", _refresh),
        ):
            more: Json = {
                "parameters": [parameter],
                "security": security(facts, "key"),
            }
            order = describe(f"{name}_{suffix}", whom, more)
            found[f"{prefix}/{name}"] = {"post": order}
    return {**found, **_user_paths(facts), **_list_paths(facts)}


def _order(
    name: str, summary: str, about: str, schema: str, more: Json, *statuses: int
) -> Json:
    described = {
        "200": answer("Every node has obeyed.", ref(schema)),
        **errors(*READING, *CALLING, 429, *statuses),
        "503": NOT_EVERYWHERE,
    }
    return operation(name, "orders", summary, about, described, **more)


def _optional(schema: Json, example: Json) -> Json:
    return {**body(schema, example), "required": False}


def _disconnect(name: str, whom: str, more: Json) -> Json:
    fields: Json = {
        "reconnect": left_out({"type": "boolean"}),
        "reason": left_out(text(minLength=1, maxLength=MAX_REASON_CHARS)),
    }
    return _order(
        name,
        f"Disconnect {whom}",
        "Closes the connections with 4504, not to come back; or, with `reconnect`, "
        "with 4007, to come back at once.",
        "Disconnected",
        {
            **more,
            "requestBody": _optional(record(fields, *fields), {"reconnect": True}),
        },
    )


def _unsubscribe(name: str, whom: str, more: Json) -> Json:
    return _order(
        name,
        f"Unsubscribe {whom}",
        "Ends the subscription to a channel. What may be subscribed again is decided "
        "by the token, as before.",
        "Unsubscribed",
        {
            **more,
            "requestBody": body(record({"channel": CHANNEL}), {"channel": "chat:42"}),
        },
        404,
    )


def _refresh(name: str, whom: str, more: Json) -> Json:
    fields: Json = {"expires_at": left_out(_INSTANT)}
    return _order(
        name,
        f"Let {whom} get a new token",
        "The token expires now, so that the app gets another within `auth.grace`; or "
        "at `expires_at`, whatever it says itself.",
        "Refreshed",
        {
            **more,
            "requestBody": _optional(record(fields, *fields), {"expires_at": 2e9}),
        },
    )


def _user_paths(facts: Facts) -> Json:
    user = _in_path("user", MAX_USER_CHARS)
    more: Json = {"parameters": [user], "security": security(facts, "key")}
    block = _order(
        "block",
        "Block a user",
        "Turns the user away on every node, now and until the time is over. A new "
        f"order replaces the last one. There may be {MAX_ORDERS} at a time.",
        "Blocked",
        {**more, "requestBody": body(record({"for": _FOR}), {"for": "1h"})},
    )
    unblock = _taken_back("unblock", "a block", "Unblocked", more)
    connections = operation(
        "connections",
        "orders",
        "A user's connections",
        "On all nodes, the oldest first.",
        {
            "200": answer("The connections.", ref("Connections")),
            **errors(400, *CALLING, 429),
            "503": NOT_EVERYWHERE,
        },
        **more,
    )
    return {
        "/v1/users/{user}/block": {"put": block, "delete": unblock},
        "/v1/users/{user}/connections": {"get": connections},
        "/v1/users/{user}/revoke": {
            "post": _revoke("revoke_user", "a user's", more),
            "delete": _taken_back("unrevoke_user", "a revocation", "Unrevoked", more),
        },
    }


def _taken_back(name: str, what: str, schema: str, more: Json) -> Json:
    return operation(
        name,
        "orders",
        f"Take {what} back",
        "On every node. Says whether there was one.",
        {
            "200": answer("There is none now.", ref(schema)),
            **errors(400, *CALLING, 429),
            "503": NOT_EVERYWHERE,
        },
        **more,
    )


def _revoke(name: str, whose: str, more: Json) -> Json:
    before: Json = {**_INSTANT, "description": "Seconds since 1970, until now."}
    fields: Json = {"issued_before": left_out(before), "for": left_out(_FOR)}
    return _order(
        name,
        f"Revoke {whose} tokens",
        "Refuses tokens issued before an instant (now, if it is left out), and those "
        "that do not say when they were issued; who is connected with one is closed "
        "with 4506. It is remembered for a year, or for `for`. What was revoked before "
        "stays so.",
        "Revoked",
        {**more, "requestBody": _optional(record(fields, *fields), {"for": "30d"})},
    )


def _channels(key: Json) -> Json:
    return operation(
        "channels",
        "orders",
        "Channels with subscribers",
        "On all nodes, by name, a page at a time; each with its subscribers.",
        {
            "200": answer("The channels.", ref("Channels")),
            **errors(400, *CALLING, 429),
            "503": NOT_EVERYWHERE,
        },
        parameters=[
            query("prefix", "How they begin.", text(maxLength=MAX_LIVE_CHARS)),
            query("limit", "So many.", integer(1, MAX_CHANNELS, default=100)),
            query("cursor", "Of the page before.", text(maxLength=MAX_LIVE_CHARS)),
        ],
        **key,
    )


def _blocks(key: Json) -> Json:
    return operation(
        "blocks",
        "orders",
        "Who is blocked",
        "Blocks and revocations in force, by user, a page at a time.",
        {"200": answer("The blocks.", ref("Blocks")), **errors(400, *CALLING)},
        parameters=[
            query("limit", "So many.", integer(1, MAX_BLOCKS, default=100)),
            query("cursor", "Of the page before.", text()),
        ],
        **key,
    )


def _list_paths(facts: Facts) -> Json:
    key: Json = {"security": security(facts, "key")}
    nodes = operation(
        "nodes",
        "orders",
        "The nodes",
        "What every process reports of itself, each second; workers of one port, too.",
        {"200": answer("The nodes.", ref("Nodes")), **errors(400, *CALLING)},
        **key,
    )
    return {
        "/v1/revoke": {
            "post": _revoke("revoke_all", "everybody's", key),
            "delete": _taken_back(
                "unrevoke_all", "everybody's revocation", "Unrevoked", key
            ),
        },
        "/v1/channels": {"get": _channels(key)},
        "/v1/blocks": {"get": _blocks(key)},
        "/v1/nodes": {"get": nodes},
    }
