"""
Reading one counter's table: values of the right type, or an error naming the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

from realtime.errors import ConfigError
from realtime.units import format_duration, parse_duration_s, shown

Choice = TypeVar("Choice", bound=StrEnum)


class Fields:
    """The table ``[counters.NAME]``; every method raises ConfigError for its key."""

    def __init__(self, counter: str, raw: Mapping[str, object]) -> None:
        self._prefix = f"counters.{counter}"
        self._raw = raw

    def error(self, key: str, problem: str) -> ConfigError:
        """Return the error to raise about *key*."""
        return ConfigError(f"{self._prefix}.{key}", problem)

    def check_keys(self, known: Sequence[str]) -> None:
        """Refuse keys that are not *known*, with the closest one that is."""
        for key in self._raw:
            if key in known:
                continue
            close = get_close_matches(key, known, n=1)
            hint = (
                f"did you mean {close[0]!r}?" if close else "keys: " + ", ".join(known)
            )
            raise self.error(key, f"there is no such key; {hint}")

    def text(self, key: str) -> str | None:
        """Return a string that is not empty; None if it is not given."""
        value = self._raw.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            raise self.error(key, f"is {shown(value)}; it must be a string")
        return value

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return a list of strings."""
        value = self._raw.get(key, default)
        if not isinstance(value, list | tuple):
            raise self.error(
                key, f"is {shown(value)}; it must be a list of strings, in brackets"
            )
        for each in value:
            if not isinstance(each, str):
                raise self.error(key, f"lists {shown(each)}; it must list strings")
        return tuple(value)

    def table(self, key: str) -> Mapping[str, object]:
        """Return a table; an empty one if it is not given."""
        value = self._raw.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            right = '{ property = "value" }'
            raise self.error(key, f"is {shown(value)}; it must be a table: {right}")
        return value

    def choice(self, key: str, kind: type[Choice], default: Choice) -> Choice:
        """Return one of *kind*'s values."""
        value = self._raw.get(key, default)
        try:
            return kind(value)  # type: ignore[arg-type]
        except ValueError:
            right = ", ".join(kind)
            raise self.error(
                key, f"is {shown(value)}; it must be one of {right}"
            ) from None

    def integer(self, key: str, default: int, least: int, most: int) -> int:
        """Return a whole number within bounds."""
        value = self._raw.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, f"is {shown(value)}; it must be a whole number")
        if not least <= value <= most:
            raise self.error(
                key, f"is {shown(value)}; it must be between {least} and {most}"
            )
        return value

    def duration(self, key: str, default: float, least: float, most: float) -> float:
        """Return seconds within bounds."""
        value = self._raw.get(key, default)
        try:
            seconds = parse_duration_s(value)  # type: ignore[arg-type]
        except ValueError as exc:
            raise self.error(key, str(exc)) from None
        if not least <= seconds <= most:
            raise self.error(
                key,
                f"is {shown(value)}; it must be between {format_duration(least)} and "
                f"{format_duration(most)}",
            )
        return seconds
