"""Describes what operators and the dashboard ask."""

from __future__ import annotations

from realtime.edges.http.openapi.parts import (
    Facts,
    Json,
    answer,
    errors,
    operation,
    record,
    ref,
    text,
)

_CHECKS: Json = {
    "type": "object",
    "description": "`ok`, or a sentence, for everything the node stands on.",
    "additionalProperties": text(),
}

SCHEMAS: Json = {
    "Alive": record({"status": {"const": "ok"}}),
    "Ready": record({"status": {"const": "ready"}, "checks": _CHECKS}),
    "NotReady": record({"error": ref("Fault"), "checks": _CHECKS}),
    "Page": {"type": "object", "properties": {"title": text()}},
}


def paths(facts: Facts) -> Json:
    """The paths of operations; they need no credentials."""
    return {
        "/healthz": {
            "get": _open(
                "alive",
                "Is the process alive",
                "Says nothing about what it stands on: see /readyz.",
                {"200": answer("It answers.", ref("Alive"))},
            )
        },
        "/readyz": {
            "get": _open(
                "ready",
                "Can it deliver",
                "Whether events are counted and a probe through the broker came back.",
                {
                    "200": answer("It can.", ref("Ready")),
                    "503": answer("It cannot, and why.", ref("NotReady")),
                },
            )
        },
        "/metrics": {
            "get": _open(
                "metrics",
                "Measurements",
                "For Prometheus, of this process.",
                {"200": answer("The exposition text.", text(), "text/plain")},
            )
        },
        "/openapi.json": {
            "get": _open(
                "openapi",
                "This description",
                "As true for the one who asks: with the counters that he may watch.",
                {
                    "200": answer("OpenAPI 3.1.", {"type": "object"}),
                    **errors(401, 503),
                },
            )
        },
    }


def page_paths(facts: Facts) -> Json:
    """The paths that exist with the dashboard."""
    describe = _open(
        "page",
        "What the page shows",
        "The page at / asks for it.",
        {"200": answer("The description.", ref("Page"))},
    )
    return {"/v1/page": {"get": describe}}


def _open(name: str, summary: str, description: str, responses: Json) -> Json:
    return operation(
        name,
        "operations",
        summary,
        description,
        {**errors(), **responses},
        security=[],
    )
