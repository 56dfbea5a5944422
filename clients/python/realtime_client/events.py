"""What an event looks like on the wire, checked before it takes a number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite

from realtime_client.codec import to_json
from realtime_client.errors import BadEvent
from realtime_client.values import Json, Scalar

MAX_EVENT_BYTES = 32 * 1024
"""What an event may take while no server has told its own limit."""

_LEAST, _MOST = -(2**63), 2**64 - 1


def encode_event(
    name: object,
    properties: Mapping[str, Scalar] | None,
    at: object,
    max_bytes: int,
) -> bytes:
    """
    Return the event as JSON text.

    What only the server can judge (which names are allowed, what a counter can use) it
    judges later, by rejecting the event; this refuses what could never be sent.

    Raises:
        BadEvent: Naming the field, its value and what would be right.
    """
    if not isinstance(name, str) or not name:
        raise BadEvent(f"name: must be a string with something in it, not {name!r}")
    if isinstance(at, bool) or not isinstance(at, int | float) or not isfinite(at):
        raise BadEvent(f"at: must be seconds since the epoch, not {at!r}")
    event: dict[str, Json] = {"name": name, "at": at}
    if properties:
        for key, value in properties.items():
            _check_property(key, value)
        event["properties"] = dict(properties)
    try:
        body = to_json(event)
    except ValueError as exc:  # what is left by now: a lone surrogate
        raise BadEvent(f"{name!r}: a text is no valid Unicode: {exc}") from exc
    if len(body) > max_bytes:
        raise BadEvent(
            f"{name}: takes {len(body)} bytes, at most {max_bytes} are allowed"
        )
    return body


def _check_property(key: object, value: object) -> None:
    if not isinstance(key, str):
        raise BadEvent(f"properties: names must be strings, not {key!r}")
    if value is None or isinstance(value, bool | str):
        return
    if isinstance(value, int):
        if not _LEAST <= value <= _MOST:
            raise BadEvent(f"properties.{key}: {value} needs more than 64 bits")
    elif isinstance(value, float):
        if not isfinite(value):
            raise BadEvent(f"properties.{key}: must be a finite number, not {value}")
    else:
        raise BadEvent(
            f"properties.{key}: must be a string, a number, a boolean or None, "
            f"not {type(value).__name__}"
        )


def decode_event(body: bytes) -> Mapping[str, Json]:
    """Return what ``encode_event`` was given, as an object."""
    event: dict[str, Json] = json.loads(body)
    return event
