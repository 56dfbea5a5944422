"""Joins the descriptions of all resources into one document."""

from __future__ import annotations

from realtime.edges.http.openapi import (
    counters,
    events,
    history,
    live,
    ops,
    orders,
    parts,
    presence,
    publish,
)
from realtime.edges.http.openapi.parts import Facts, Json

_DESCRIPTION = """\
Events in, publications in, counters out. Everything that has no answer of its own here
is answered with `{"error": {...}}`; the number and the name say what is wrong, `retry`
says what to do about it."""


def document(facts: Facts, dashboard: bool) -> Json:
    """The whole OpenAPI 3.1 document, true for a server with these *facts*."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "realtime",
            "version": facts.version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [
            {"name": "events", "description": "What happened, counted exactly once."},
            {"name": "counters", "description": "What it adds up to."},
            {"name": "channels", "description": "Messages, as they are published."},
            {"name": "presence", "description": "Who is there, who is online."},
            {"name": "orders", "description": "To every node, by backends."},
            {"name": "operations", "description": "Alive, ready, measured."},
        ],
        "paths": {
            **events.paths(facts),
            **counters.paths(facts),
            **publish.paths(facts),
            **history.paths(facts),
            **presence.paths(facts),
            **live.paths(facts),
            **orders.paths(facts),
            **ops.paths(facts),
            **(ops.page_paths(facts) if dashboard else {}),
        },
        "components": {
            "schemas": {
                **parts.SCHEMAS,
                **events.SCHEMAS,
                **counters.SCHEMAS,
                **publish.SCHEMAS,
                **history.SCHEMAS,
                **presence.SCHEMAS,
                **orders.SCHEMAS,
                **ops.SCHEMAS,
            },
            "responses": parts.RESPONSES,
            "securitySchemes": parts.SECURITY_SCHEMES,
        },
    }
