"""
Judging what devices send: an event as described, or a reason why not.

An event is ``{"name": "like", "at": 1700000000.25, "properties": {"post": "42"}}``;
only the name is required. Nothing is repaired: what is wrong is named and rejected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from realtime.core.event_time import correct
from realtime.errors import (
    BAD_EVENT,
    BAD_EVENT_NAME,
    BAD_PROPERTIES,
    EVENT_DENIED,
    EVENT_TOO_LARGE,
    ErrorCode,
    RejectedEvent,
)
from realtime.settings import EventSettings, LimitSettings
from realtime.types import DeviceId, Event, Scalar, UserId
from realtime.units import shown

EVENT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}")

MAX_NAMES = 1000  # remembered as well-formed
MAX_PROPERTIES = 64
MAX_KEY = 64  # characters
MAX_STRING = 1024  # characters
_MAX_INT = 2**64 - 1  # what MessagePack can carry
_MIN_INT = -(2**63)

# The year 5138: a device's wrong clock is corrected, but milliseconds are a mistake.
MAX_AT = 1e11

_FIELDS = frozenset({"name", "at", "properties"})
_NO_PROPERTIES: Mapping[str, Scalar] = MappingProxyType({})

# An event without properties, in JSON; and what surrounds each property and its value.
_EVENT_BYTES = 64
_PROPERTY_BYTES = 6
_NUMBER_BYTES = 16


class Bounds(NamedTuple):
    """What the settings say of events; the seconds are floats."""

    max_ahead_s: float
    max_age_s: float
    max_bytes: int


class EventRules:
    """What an event must be like; made once from the settings."""

    __slots__ = ("_max_bytes", "_names", "_settings", "bounds")

    def __init__(self, events: EventSettings, limits: LimitSettings) -> None:
        self._settings = events
        self._max_bytes = limits.max_event_bytes
        ahead_s, age_s = float(events.max_ahead_s), float(events.max_age_s)
        self.bounds = Bounds(ahead_s, age_s, self._max_bytes)
        self._names: set[str] = set()  # well-formed ones, seen before

    def judge(
        self,
        raw: object,
        *,
        device: DeviceId,
        seq: int,
        user: UserId | None,
        received_at: float,
        offset_s: float,
        may_track: Callable[[str], bool],
    ) -> Event:
        """
        Return the event that *raw* describes, its time corrected.

        Raises:
            RejectedEvent: With a code and a sentence naming the field and its value.
        """
        if not isinstance(raw, dict):
            raise _bad(BAD_EVENT, f"the event is {shown(raw)}; it must be an object")
        name = raw.get("name")
        if type(name) is not str or name not in self._names:
            name = self._check_name(name)
        if not may_track(name):
            raise _bad(EVENT_DENIED, f"the event {name!r} may not be tracked", "name")
        at = raw.get("at")
        properties = raw.get("properties")
        if len(raw) > 1 + ("at" in raw) + ("properties" in raw):
            raise _unknown_field(raw)
        if at is None:
            at = received_at
        else:
            at = correct(_checked_at(at), offset_s, received_at, self._settings)
        if properties is None:
            properties = _NO_PROPERTIES
        else:
            self.check_properties(properties)
        return Event(name, device, seq, at, user, properties)

    def _check_name(self, name: object) -> str:
        if not isinstance(name, str) or EVENT_NAME.fullmatch(name) is None:
            problem = "is missing" if name is None else f"is {shown(name)}"
            raise _bad(
                BAD_EVENT_NAME,
                f"name {problem}; it must be a letter, then at most 63 letters, digits "
                "or any of _ . : -",
                "name",
            )
        if len(self._names) < MAX_NAMES:  # strangers choose them
            self._names.add(name)
        return name

    def check_properties(self, properties: object) -> None:
        """
        Raise unless these may be the properties of an event.

        Raises:
            RejectedEvent: BAD_PROPERTIES or EVENT_TOO_LARGE.
        """
        check_properties(properties, self._max_bytes)


def check_properties(properties: object, max_bytes: int) -> None:
    """
    Raise unless these may be the properties of an event of *max_bytes*.

    Raises:
        RejectedEvent: BAD_PROPERTIES or EVENT_TOO_LARGE.
    """
    # Hot: every property of every event passes here.
    if not isinstance(properties, dict):
        reason = f"properties is {shown(properties)}; it must be an object"
        raise _bad(BAD_PROPERTIES, reason, "properties")
    if len(properties) > MAX_PROPERTIES:
        raise _bad(
            BAD_PROPERTIES,
            f"the event has {len(properties)} properties; at most {MAX_PROPERTIES} "
            "are allowed",
            "properties",
        )
    size = _EVENT_BYTES
    for key, value in properties.items():
        # The usual case in one expression: no calls but of the strings themselves.
        if (
            type(key) is type(value) is str
            and key.isascii()
            and value.isascii()
            and 1 <= len(key) <= MAX_KEY
            and len(value) <= MAX_STRING
        ):
            size += _PROPERTY_BYTES + len(key) + len(value)
        else:
            size += _key_bytes(key) + _value_bytes(key, value)
    if size > max_bytes:
        raise _bad(
            EVENT_TOO_LARGE,
            f"the event takes about {size} bytes; at most {max_bytes} are allowed",
            "properties",
        )


def _checked_at(at: object) -> float:
    if type(at) is not float and type(at) is not int:
        raise _bad(
            BAD_EVENT, f"at is {shown(at)}; it must be a number of seconds", "at"
        )
    if not -MAX_AT <= at <= MAX_AT:  # also true for NaN
        raise _bad(
            BAD_EVENT,
            f"at is {shown(at)}; it must be seconds (not milliseconds) since the epoch",
            "at",
        )
    return at


def _key_bytes(key: object) -> int:
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY:
        raise _bad(
            BAD_PROPERTIES,
            f"property {shown(key)} must be named by 1 to {MAX_KEY} characters",
            "properties",
        )
    return _PROPERTY_BYTES + _text_bytes(key, key)


def _value_bytes(key: str, value: object) -> int:
    if isinstance(value, str):
        if len(value) > MAX_STRING:
            raise _bad_value(key, value, f"at most {MAX_STRING} characters are allowed")
        return _text_bytes(key, value)
    if isinstance(value, float):
        if value - value != 0.0:  # NaN, or infinite
            raise _bad_value(key, value, "it must be finite")
    elif isinstance(value, int):
        if not _MIN_INT <= value <= _MAX_INT:
            raise _bad_value(key, value, "an integer must fit in 64 bits")
    elif value is not None:
        raise _bad_value(key, value, "it must be a string, a number, a boolean or null")
    return _NUMBER_BYTES


def _text_bytes(key: str, text: str) -> int:
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise _bad_value(key, text, "it must be valid Unicode") from None


def _bad_value(key: str, value: object, right: str) -> RejectedEvent:
    reason = f"property {shown(key)} is {shown(value)}; {right}"
    return _bad(BAD_PROPERTIES, reason, "properties." + key)


def _unknown_field(raw: Mapping[object, object]) -> RejectedEvent:
    unknown = next(key for key in raw if key not in _FIELDS)
    reason = f"there is no field {shown(unknown)}; there are name, at and properties"
    return _bad(BAD_EVENT, reason, unknown if isinstance(unknown, str) else None)


def _bad(code: ErrorCode, reason: str, field: str | None = None) -> RejectedEvent:
    return RejectedEvent(code, reason, field=field)
