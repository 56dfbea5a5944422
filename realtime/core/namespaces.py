"""
Namespaces: what their channels keep, tell and allow by default.

A namespace exists when the configuration declares it; what it declares is the default
for its channels. A token may grant more, never less.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, TypeVar

from realtime.core.channels import LIVE, Rule
from realtime.errors import ConfigError
from realtime.units import parse_duration_s

_NAMESPACE = re.compile(r"[A-Za-z0-9_-]{1,63}")
_TAG = re.compile(r"[A-Za-z0-9_.-]{1,64}")

DAY_S = 86400.0

Spelled = TypeVar("Spelled", bound=StrEnum)


class Overflow(StrEnum):
    """What happens to a subscriber whose outbox is full."""

    DISCONNECT = "disconnect"  # closed with a code that says to come back
    DROP = "drop"  # what waits is dropped, and a gap is told
    COALESCE = "coalesce"  # only the latest of a channel (of a key) is kept


@dataclass(frozen=True, slots=True)
class NamespaceDefinition:
    """``[namespaces.NAME]``: what its channels allow to whom no token grants more."""

    name: str
    subscribe: Rule = Rule.TOKEN
    publish: Rule = Rule.TOKEN
    history: Rule = Rule.TOKEN  # who may read it; to recover, subscribing is enough
    members: Rule = Rule.TOKEN  # who may ask who is there
    history_size: int = 0  # publications kept; 0: none, and no positions
    history_ttl_s: float = 300.0
    last_value: bool = False  # subscribing answers with the last publication
    presence: bool = False
    join_leave: bool = False  # who asks for it is told who comes and goes
    linger_s: float = 0.0  # who comes back within this time was never away
    conflate_s: float = 0.0  # at most one publication a key and interval, the latest
    conflate_by: str | None = None  # the tag that is the key; else the whole channel
    max_rate: int = 0  # publications a second to one subscriber; 0: no limit
    batch_s: float = 0.0  # publications wait this long for others to go with
    overflow: Overflow = Overflow.DISCONNECT

    @property
    def keeps_history(self) -> bool:
        """Whether its channels have positions and can be recovered."""
        return self.history_size > 0

    @classmethod
    def parse(cls, name: str, raw: Mapping[str, object]) -> NamespaceDefinition:
        """
        Make a definition of the table *raw* of the configuration.

        Raises:
            ConfigError: If the name or a key is unknown or malformed.
        """
        key = f"namespaces.{name}"
        if name == LIVE:
            raise ConfigError(
                key, "is reserved: live channels are declared by [counters.NAME]"
            )
        if not _NAMESPACE.fullmatch(name):
            raise ConfigError(
                key,
                "the name must be 1 to 63 characters of A-Z, a-z, 0-9, _ and -, "
                "such as [namespaces.chat]",
            )
        given: dict[str, Any] = {}
        for option, value in raw.items():
            if option not in OPTIONS:
                raise ConfigError(f"{key}.{option}", _unknown(option))
            field, parse = OPTIONS[option]
            given[field] = parse(f"{key}.{option}", value)
        definition = cls(name, **_implied(given))
        _check_relations(key, definition)
        return definition


def _implied(given: dict[str, Any]) -> dict[str, Any]:
    """A last value is a history of one, unless more is asked for."""
    if given.get("last_value") and "history_size" not in given:
        given = {"history_ttl_s": DAY_S, **given, "history_size": 1}
    return given


def _check_relations(key: str, definition: NamespaceDefinition) -> None:
    if definition.last_value and not definition.history_size:
        raise ConfigError(
            f"{key}.history_size", "must be 1 or more: last_value is the last of them"
        )
    if definition.join_leave and not definition.presence:
        raise ConfigError(f"{key}.join_leave", "needs presence = true")
    if definition.linger_s and not definition.presence:
        raise ConfigError(f"{key}.linger", "needs presence = true")
    if definition.conflate_by is not None and not definition.conflate_s:
        raise ConfigError(
            f"{key}.conflate_by", 'needs an interval, such as conflate = "200ms"'
        )


def parse_rule(key: str, value: object) -> Rule:
    """
    Return the rule that the configuration spells *value*.

    Raises:
        ConfigError: If there is no such rule.
    """
    return _one_of(Rule, key, value)


def _one_of(kind: type[Spelled], key: str, value: object) -> Spelled:
    try:
        return kind(value)  # type: ignore[arg-type]
    except ValueError:
        known = ", ".join(f'"{one}"' for one in kind)
        raise ConfigError(key, f"must be one of {known}; got {value!r}") from None


def _overflow(key: str, value: object) -> Overflow:
    return _one_of(Overflow, key, value)


def _switch(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(key, f"must be true or false; got {value!r}")
    return value


def _count(most: int) -> Callable[[str, object], int]:
    def parse(key: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(key, f"must be a whole number; got {value!r}")
        if not 0 <= value <= most:
            raise ConfigError(key, f"must be between 0 and {most}; got {value}")
        return value

    return parse


def _duration(most_s: float, written: str) -> Callable[[str, object], float]:
    def parse(key: str, value: object) -> float:
        try:
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise ValueError
            found = parse_duration_s(value)
        except ValueError as exc:
            problem = str(exc) or f'must be a duration, such as "5m"; got {value!r}'
            raise ConfigError(key, problem) from None
        if not 0 <= found <= most_s:
            raise ConfigError(key, f"must be between 0 and {written}; got {value!r}")
        return found

    return parse


def _tag(key: str, value: object) -> str:
    if not isinstance(value, str) or not _TAG.fullmatch(value):
        raise ConfigError(
            key, f'must be the name of a tag, such as "symbol"; got {value!r}'
        )
    return value


OPTIONS: Mapping[str, tuple[str, Callable[[str, object], Any]]] = {
    "subscribe": ("subscribe", parse_rule),
    "publish": ("publish", parse_rule),
    "history": ("history", parse_rule),
    "members": ("members", parse_rule),
    "history_size": ("history_size", _count(1_000_000)),
    "history_ttl": ("history_ttl_s", _duration(365 * DAY_S, '"365d"')),
    "last_value": ("last_value", _switch),
    "presence": ("presence", _switch),
    "join_leave": ("join_leave", _switch),
    "linger": ("linger_s", _duration(3600.0, '"1h"')),
    "conflate": ("conflate_s", _duration(60.0, '"1m"')),
    "conflate_by": ("conflate_by", _tag),
    "max_rate": ("max_rate", _count(1_000_000)),
    "batch": ("batch_s", _duration(10.0, '"10s"')),
    "overflow": ("overflow", _overflow),
}
"""By the option's name in the file: the field that it fills, and what reads it."""


def _unknown(option: str) -> str:
    close = get_close_matches(option, OPTIONS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(OPTIONS)}"
    return f"is not a setting of a namespace; {hint}"
