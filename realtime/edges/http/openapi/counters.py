"""
Describes ``/v1/counters`` and, for each counter that the reader may know of, its value
and its cells with their own parameters.
"""

from __future__ import annotations

from realtime.core.counters import CounterDefinition
from realtime.core.naming import MAX_TEXT
from realtime.edges.http.counters import MAX_LISTED
from realtime.edges.http.fields import MAX_INSTANT, MIN_INSTANT
from realtime.edges.http.openapi.parts import (
    CALLING,
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

_NUMBER: Json = {"type": ["number", "null"]}

SCHEMAS: Json = {
    "Counters": record({"counters": array(ref("Counter"))}),
    "Counter": record(
        {
            "name": text(),
            "event": text(),
            "measure": text(enum=["count", "sum", "min", "max", "mean", "unique"]),
            "of": {"type": ["string", "null"]},
            "by": array(text("A dimension.")),
            "windows": array(text(), minItems=1),
            "where": {
                "type": "object",
                "description": "The values that count, by property.",
                "additionalProperties": array(
                    {"type": ["string", "number", "boolean", "null"]}
                ),
            },
            "watch": text(enum=["token", "user", "anyone"]),
        }
    ),
    "Value": record(
        {
            "channel": text("The live channel's canonical name."),
            "value": {
                **_NUMBER,
                "description": "null for min, max and mean of nothing.",
            },
            "at": {
                **_NUMBER,
                "description": "The end of the window's instance; null for the total.",
            },
            "rev": integer(description="Grows with every change of this instance."),
            "final": {"type": "boolean", "description": "Whether it is over."},
        }
    ),
    "Cells": record(
        {
            "counter": text(),
            "window": text(),
            "cells": array(ref("Cell"), maxItems=MAX_LISTED),
            "complete": {
                "type": "boolean",
                "description": "false when there were more cells than are looked at.",
            },
        }
    ),
    "Cell": record(
        {
            "dims": {"type": "object", "additionalProperties": text()},
            "channel": text("Where to watch it."),
            "value": _NUMBER,
        }
    ),
}

_AT = query(
    "at",
    "The instance that contains this time, in place of now: seconds since the epoch, "
    "or ISO 8601.",
    {
        "anyOf": [
            {"type": "number", "minimum": MIN_INSTANT, "maximum": MAX_INSTANT},
            {"type": "string", "format": "date-time"},
        ]
    },
)

# ~ begins what is no plain value: ~none, ~empty, ~other, and ~~ for a real tilde.
_DIMENSION = text(
    pattern="^(~none|~empty|~other|(~~|[^~])[\\s\\S]*)?$", maxLength=MAX_TEXT
)


def paths(facts: Facts) -> Json:
    """The paths of counters."""
    index = operation(
        "counters",
        "counters",
        "What is counted",
        "The counters that the caller may watch, as they are declared.",
        {
            "200": answer("The counters.", ref("Counters")),
            **errors(*CALLING),
        },
        security=security(facts, "key", "bearer"),
    )
    found: Json = {"/v1/counters": {"get": index}}
    for counter in facts.counters:
        path = f"/v1/counters/{counter.name}"
        found[path] = {"get": _value(facts, counter)}
        found[f"{path}/cells"] = {"get": _cells(facts, counter)}
    if not facts.counters:
        found |= _unnamed(facts)
    return found


def _value(facts: Facts, counter: CounterDefinition) -> Json:
    dimensions = [
        query(name, f"The value of {name}.", _DIMENSION, required=True)
        for name in counter.by
    ]
    at = [] if "at" in counter.by else [_AT]
    return operation(
        f"value_of_{counter.name}",
        "counters",
        f"The value of {counter.name}",
        "Now, or at a time that has passed. The same value can be watched on its "
        "channel.",
        _VALUE_ANSWERS,
        parameters=[*dimensions, _window(counter), *at],
        security=security(facts, "key", "bearer"),
    )


def _cells(facts: Facts, counter: CounterDefinition) -> Json:
    return operation(
        f"cells_of_{counter.name}",
        "counters",
        f"Many values of {counter.name}",
        'For API keys, and for everybody when the counter has `watch = "anyone"`.',
        _CELLS_ANSWERS,
        parameters=[_window(counter), _AT, _LIMIT, _ORDER],
        security=security(facts, "key", "bearer"),
    )


def _window(counter: CounterDefinition) -> Json:
    windows = [window.text for window in counter.windows]
    return query("window", f"{windows[0]} if left out.", text(enum=windows))


_LIMIT = query("limit", "At most so many cells.", integer(1, MAX_LISTED, default=100))
_ORDER = query(
    "order",
    "The greatest values first, or by the dimensions' values.",
    text(enum=["value", "name"], default="value"),
)

_VALUE_ANSWERS: Json = {
    "200": answer("The value.", ref("Value")),
    **errors(400, *CALLING, 404),
}
_CELLS_ANSWERS: Json = {
    "200": answer("The cells.", ref("Cells")),
    **errors(400, *CALLING, 404, 429),
}


def _unnamed(facts: Facts) -> Json:
    """For a reader who may know of no counter: how it would be."""
    name: Json = {
        "name": "name",
        "in": "path",
        "description": "A counter of the configuration.",
        "required": True,
        "schema": text(pattern="^[a-z][a-z0-9_-]{0,63}$"),
    }
    value = operation(
        "value",
        "counters",
        "The value of a counter",
        "One parameter per dimension of the counter, beside `window` and `at`.",
        _VALUE_ANSWERS,
        parameters=[name, query("window", "As declared.", text()), _AT],
        security=security(facts, "key", "bearer"),
    )
    cells = operation(
        "cells",
        "counters",
        "Many values of a counter",
        'For API keys, and for everybody when the counter has `watch = "anyone"`.',
        _CELLS_ANSWERS,
        parameters=[name, query("window", "As declared.", text()), _AT, _LIMIT, _ORDER],
        security=security(facts, "key", "bearer"),
    )
    return {
        "/v1/counters/{name}": {"get": value},
        "/v1/counters/{name}/cells": {"get": cells},
    }
