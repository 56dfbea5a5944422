"""
Fields of a body or a query, read one by one; a refusal names the field and the value.

Unknown fields are refused too: a misspelt optional field must not be ignored silently.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import NoReturn, TypeVar, cast

from starlette.datastructures import QueryParams

from realtime.errors import BAD_MESSAGE, CommandError
from realtime.wire import checks
from realtime.wire.checks import Wrong, shown

T = TypeVar("T")

MIN_INSTANT, MAX_INSTANT = -62_135_596_800.0, 253_402_300_799.0
"""The years 1 to 9999."""


def refuse(field: str, problem: str) -> NoReturn:
    """Raise BAD_MESSAGE about *field*."""
    raise CommandError(BAD_MESSAGE, f"{field}: {problem}", field=field)


class Body:
    """
    The fields of a decoded body, which must be an object.

    As on sockets, a field that is null counts as left out, unless null is a value of
    its own.
    """

    __slots__ = ("_fields",)

    def __init__(self, value: object, known: Collection[str]) -> None:
        if not isinstance(value, dict):
            raise CommandError(
                BAD_MESSAGE, f"the body must be an object, not {shown(value)}"
            )
        for name in value:
            if name not in known:
                refuse(name, f"no such field; there are {', '.join(sorted(known))}")
        self._fields: Mapping[str, object] = value

    def required(self, name: str, check: Callable[[object], T]) -> T:
        """What *check* makes of the field, which must be there."""
        if self._fields.get(name) is None:
            refuse(name, "is missing")
        return self._checked(name, check)

    def optional(self, name: str, check: Callable[[object], T]) -> T | None:
        """The same, or None when the field is left out."""
        if self._fields.get(name) is None:
            return None
        return self._checked(name, check)

    def nullable(self, name: str, check: Callable[[object], T]) -> T:
        """The same as ``required``, for a field of which null is a value."""
        if name not in self._fields:
            refuse(name, "is missing")
        return self._checked(name, check)

    def without(self, names: Collection[str], reason: str) -> None:
        """Refuse the fields that have no place here."""
        for name in names:
            if self._fields.get(name) is not None:
                refuse(name, f"must be left out: {reason}")

    def _checked(self, name: str, check: Callable[[object], T]) -> T:
        try:
            return check(self._fields[name])
        except Wrong as exc:
            refuse(name + exc.within, str(exc))


def integer(low: int) -> Callable[[object], int]:
    """
    Take an integer from *low* to 2**53 - 1.

    1.0 is one too, as it is for JSON Schema, which describes this API to others.
    """
    exact = checks.integer(low, checks.MAX_SAFE)

    def check(value: object) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return cast(int, exact(value))

    return check


def text(longest: int) -> Callable[[object], str]:
    """Take a string of 1 to *longest* characters."""
    check = checks.text(1, longest)
    return lambda value: cast(str, check(value))


def texts(most: int) -> Callable[[object], list[str]]:
    """Take an array of 1 to *most* strings."""

    def check(value: object) -> list[str]:
        found = checks.array(value)
        if not 1 <= len(found) <= most:
            raise Wrong(f"must have 1 to {most} items, not {len(found)}")
        for index, item in enumerate(found):
            if type(item) is not str:
                raise Wrong(f"item {index} must be a string, not {shown(item)}")
        return cast("list[str]", found)

    return check


_SPAN = re.compile(r"([1-9][0-9]{0,4})([smh])|([1-9][0-9]{0,3})d")
_UNITS_S = {"s": 1, "m": 60, "h": 3600}
MAX_SPAN_S = 9_999 * 86_400


def span(value: object) -> float:
    """Take a length of time: seconds from 1, or a text such as 30s, 5m, 12h or 7d."""
    if type(value) is int or type(value) is float:
        if 1 <= value <= MAX_SPAN_S:
            return float(value)
    elif type(value) is str and (found := _SPAN.fullmatch(value)):
        number, unit, days = found.groups()
        return float(days) * 86_400 if days else float(number) * _UNITS_S[unit]
    raise Wrong(
        f"must be seconds from 1 to {MAX_SPAN_S}, or a text such as 30s, 5m, 12h or "
        f"7d, not {shown(value)}"
    )


def instant(value: object) -> float:
    """Take seconds since the epoch, from 1970 on."""
    if (type(value) is int or type(value) is float) and 0 <= value <= MAX_INSTANT:
        return float(value)
    raise Wrong(f"must be seconds since 1970 (not milliseconds), not {shown(value)}")


class Query:
    """The parameters of a query; each may be given once."""

    __slots__ = ("_values",)

    def __init__(self, params: QueryParams, known: Collection[str]) -> None:
        self._values: dict[str, str] = {}
        for name, value in params.multi_items():
            if name not in known:
                refuse(name, f"no such parameter; there are {', '.join(sorted(known))}")
            if name in self._values:
                refuse(name, "is given twice")
            self._values[name] = value

    def get(self, name: str) -> str | None:
        """The value as it is, None when it is left out."""
        return self._values.get(name)

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        """One of *choices*."""
        value = self._values.get(name, default)
        if value not in choices:
            refuse(name, f"must be one of {', '.join(choices)}, not {shown(value)}")
        return value

    def integer(self, name: str, least: int, most: int, default: int) -> int:
        """An integer from *least* to *most*, in plain digits."""
        text = self._values.get(name)
        if text is None:
            return default
        digits = text.isascii() and text.isdigit() and len(text) <= len(str(most))
        if not digits or not least <= int(text) <= most:
            refuse(
                name, f"must be an integer from {least} to {most}, not {shown(text)}"
            )
        return int(text)

    def instant(self, name: str) -> float | None:
        """A time: seconds since the epoch, or ISO 8601 (in UTC unless it says)."""
        text = self._values.get(name)
        if text is None:
            return None
        at = _epoch(text)
        if at is None or not MIN_INSTANT <= at <= MAX_INSTANT:
            refuse(
                name,
                "must be seconds since the epoch or a time such as "
                f"2026-01-31T12:00:00Z, not {shown(text)}",
            )
        return at


_NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_LOST_PLUS = re.compile(r"(?<=[0-9]) (?=[0-9]{2}:?[0-9]{2}$)")


def _epoch(text: str) -> float | None:
    if _NUMBER.fullmatch(text):
        return float(text)
    if "T" in text:  # a plus that was not percent-encoded arrives as a space
        text = _LOST_PLUS.sub("+", text)
    try:
        found = datetime.fromisoformat(text.upper())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (OverflowError, ValueError):
        return None
