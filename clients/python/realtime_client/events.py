"""What an event looks like on the wire, checked before it takes a number."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite

from realtime_client.codec import to_json
from realtime_client.errors import BadEvent
from realtime_client.values import Json, Scalar

MAX_EVENT_BYTES = 32 * 1024
"""What an event may take while no server has told its own limit."""

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}")
MAX_PROPERTIES = 64
MAX_KEY = 64  # characters
MAX_STRING = 1024  # characters
_LEAST, _MOST = -(2**63), 2**64 - 1
_MAX_AT = 1e11  # the year 5138; milliseconds are beyond it


def encode_event(
    name: object,
    properties: Mapping[str, Scalar] | None,
    at: object,
    max_bytes: int,
) -> bytes:
    """
    Return the event as JSON text.

    This refuses what the protocol does not allow at all. What depends on the server
    (who may track what, what a counter can use) it judges later, by rejecting events.

    Raises:
        BadEvent: Naming the field, its value and what would be right.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadEvent(
            "name: must be a letter, then at most 63 letters, digits or any of "
            f"_ . : -, not {name!r:.80}"
        )
    if (
        isinstance(at, bool)
        or not isinstance(at, int | float)
        or not abs(at) <= _MAX_AT
    ):
        raise BadEvent(f"at: must be seconds since the epoch, not {at!r:.80}")
    event: dict[str, Json] = {"name": name, "at": at}
    if properties:
        event["properties"] = _checked(properties)
    try:
        body = to_json(event)
    except UnicodeEncodeError as exc:
        raise BadEvent(f"{name}: a property is no valid Unicode: {exc}") from exc
    if len(body) > max_bytes:
        raise BadEvent(f"{name}: takes {len(body)} bytes, at most {max_bytes} may be")
    return body


def _checked(properties: Mapping[str, Scalar]) -> dict[str, Scalar]:
    if len(properties) > MAX_PROPERTIES:
        raise BadEvent(
            f"properties: there are {len(properties)}, at most {MAX_PROPERTIES} may be"
        )
    for key, value in properties.items():
        _check_property(key, value)
    return dict(properties)


def _check_property(key: object, value: object) -> None:
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY:
        raise BadEvent(
            f"properties: names must be strings of 1 to {MAX_KEY} characters, "
            f"not {key!r:.80}"
        )
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        if len(value) > MAX_STRING:
            raise BadEvent(
                f"properties.{key}: has {len(value)} characters, at most {MAX_STRING} "
                "may be"
            )
    elif isinstance(value, int):
        if not _LEAST <= value <= _MOST:
            raise BadEvent(
                f"properties.{key}: takes {value.bit_length()} bits, at most 64 may be"
            )
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
