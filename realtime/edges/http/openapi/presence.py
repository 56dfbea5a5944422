"""Describes ``/v1/channels/{channel}/presence`` and ``/v1/users``."""

from __future__ import annotations

from realtime.edges.http.openapi.parts import (
    CALLING,
    CHANNEL,
    READING,
    Facts,
    Json,
    answer,
    array,
    body,
    errors,
    integer,
    operation,
    query,
    record,
    ref,
    security,
    text,
)
from realtime.edges.http.presence import MAX_PAGE, MAX_USERS

SCHEMAS: Json = {
    "Members": record(
        {
            "channel": CHANNEL,
            "members": array(ref("Member")),
            "cursor": text("Asks for the next page; left out on the last one."),
        },
        "cursor",
    ),
    "Member": record(
        {
            "client": text("The connection."),
            "user": text("Whose it is; left out if its token names nobody."),
            "info": {"description": "What its token tells others of the user."},
        },
        "user",
        "info",
    ),
    "PresenceStats": record(
        {"channel": CHANNEL, "clients": integer(), "users": integer()}
    ),
    "Online": record({"user": text(), "online": {"type": "boolean"}}),
    "WhoIsOnline": record(
        {
            "online": {
                "type": "object",
                "additionalProperties": {"type": "boolean"},
                "description": "By user.",
            }
        }
    ),
}


def _in_path(name: str, schema: Json) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def paths(facts: Facts) -> Json:
    """The paths of members and users."""
    members = operation(
        "members",
        "presence",
        "Who is on a channel",
        "A page of members, on all nodes, in a stable order: who is there during the "
        "whole reading is told once. A page has at most `presence.max_page` members.",
        {"200": answer("Members.", ref("Members")), **errors(400, *CALLING, 404)},
        parameters=[
            _in_path("channel", CHANNEL),
            query("limit", "Members in the answer.", integer(1, MAX_PAGE)),
            query("cursor", "Where the page before ended.", text(maxLength=4096)),
        ],
        security=security(facts, "key", "bearer"),
    )
    stats = operation(
        "presenceStats",
        "presence",
        "How many are on a channel",
        "Connections and users, on all nodes; as cheap for many members as for few.",
        {"200": answer("Counts.", ref("PresenceStats")), **errors(400, *CALLING, 404)},
        parameters=[_in_path("channel", CHANNEL)],
        security=security(facts, "key", "bearer"),
    )
    return {
        "/v1/channels/{channel}/presence": {"get": members},
        "/v1/channels/{channel}/presence/stats": {"get": stats},
        **_user_paths(facts),
    }


def _user_paths(facts: Facts) -> Json:
    one = operation(
        "online",
        "presence",
        "Whether a user is online",
        "On any node, or until just now (`users.linger`). Needs `users.online`.",
        {"200": answer("Yes or no.", ref("Online")), **errors(400, *CALLING, 404)},
        parameters=[_in_path("user", text(minLength=1))],
        security=security(facts, "key"),
    )
    many = operation(
        "whoIsOnline",
        "presence",
        "Which users are online",
        "The same for many. A user that is named twice is answered once.",
        {
            "200": answer("Yes or no, by user.", ref("WhoIsOnline")),
            **errors(*READING, *CALLING),
        },
        requestBody=body(
            record({"users": array(text(), minItems=1, maxItems=MAX_USERS)}),
            {"users": ["anna", "ben"]},
        ),
        security=security(facts, "key"),
    )
    return {
        "/v1/users/{user}/online": {"get": one},
        "/v1/users/online": {"post": many},
    }
