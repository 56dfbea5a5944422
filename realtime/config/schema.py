"""
Which settings there are, how each is written, and between which bounds it makes sense.

The settings are the fields of the dataclasses in settings.py; a key is the field's name
without its unit: ``tick_s`` is written ``tick = "100ms"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from types import MappingProxyType
from typing import Any, get_type_hints

from realtime.config.bounds import BOUNDS, CHOICES, EXAMPLES, SECRET
from realtime.config.toml import quoted, to_toml
from realtime.settings import (
    AuthSettings,
    DrainSettings,
    EventSettings,
    HistorySettings,
    HookSettings,
    LedgerSettings,
    LimitSettings,
    LogSettings,
    PresenceSettings,
    RedisSettings,
    ServerSettings,
    UserSettings,
    WebhookSettings,
)
from realtime.units import format_duration, parse_bytes, parse_duration_s

SECTIONS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "server": ServerSettings,
        "redis": RedisSettings,
        "auth": AuthSettings,
        "limits": LimitSettings,
        "ledger": LedgerSettings,
        "events": EventSettings,
        "history": HistorySettings,
        "presence": PresenceSettings,
        "users": UserSettings,
        "drain": DrainSettings,
        "hooks": HookSettings,
        "webhooks": WebhookSettings,
        "logs": LogSettings,
    }
)


class Form(Enum):
    """How a value is written."""

    TEXT = "a text"
    LIST = "a list of texts"
    INTEGER = "a whole number"
    SWITCH = "true or false"
    DURATION = "a duration"
    SIZE = "a size"
    TABLE = "a table"


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of one section."""

    section: str
    key: str
    field: str
    form: Form
    optional: bool
    default: Any

    @property
    def dotted(self) -> str:
        """The name under which it is spoken of: ``ledger.tick``."""
        return f"{self.section}.{self.key}"

    @property
    def secret(self) -> bool:
        """Whether its value must not be shown."""
        return self.dotted in SECRET

    def convert(self, value: object) -> Any:
        """
        Return *value*, as the file has it, as the dataclass wants it.

        Raises:
            ValueError: With a sentence that says what would be right.
        """
        converted = _CONVERTERS[self.form](self, value)
        self._check_bounds(converted)
        return converted

    def _check_bounds(self, value: Any) -> None:
        choices = CHOICES.get(self.dotted)
        if choices is not None and value not in choices:
            known = ", ".join(to_toml(choice) for choice in choices)
            raise ValueError(f"must be one of {known}; got {quoted(value)}")
        low, high = BOUNDS.get(self.dotted, (None, None))
        if low is not None and high is not None and not low <= value <= high:
            raise ValueError(
                f"must be between {self.display(low)} and {self.display(high)}; "
                f"got {self.display(value)}"
            )

    def display(self, value: Any) -> str:
        """Return a value of the dataclass as it is written in the file."""
        return to_toml(display(self.form, value))

    def mistaken(self, value: object) -> ValueError:
        """Return the error about a value of the wrong type."""
        example = EXAMPLES.get(self.dotted)
        if example is None:
            example = to_toml(display(self.form, self.default))
        got = "" if self.secret else f"; got {quoted(value)}"
        return ValueError(f"must be {self.form.value}, such as {example}{got}")


def display(form: Form, value: Any) -> Any:
    """Return *value* as people write it: 0.1 of form DURATION is ``"100ms"``."""
    if form is Form.DURATION:
        return format_duration(value)
    return format_bytes(value) if form is Form.SIZE else value


def format_bytes(size: int) -> str | int:
    """Return *size* in the largest unit that divides it: 65536 is ``"64KiB"``."""
    for unit, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return size


def _text(setting: Setting, value: object) -> str | None:
    if not isinstance(value, str):
        raise setting.mistaken(value)
    if not value.strip():
        if setting.optional:
            return None
        raise ValueError("must not be empty")
    return value


def _list(setting: Setting, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise setting.mistaken(value)
    if not all(isinstance(one, str) and one.strip() for one in value):
        raise setting.mistaken(value)
    return tuple(value)


def _integer(setting: Setting, value: object) -> int:
    # A bool is an int to Python, but `port = true` is a mistake.
    if isinstance(value, bool) or not isinstance(value, int):
        raise setting.mistaken(value)
    return value


def _switch(setting: Setting, value: object) -> bool:
    if not isinstance(value, bool):
        raise setting.mistaken(value)
    return value


def _duration(setting: Setting, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise setting.mistaken(value)
    return parse_duration_s(value)


def _size(setting: Setting, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise setting.mistaken(value)
    return parse_bytes(value)


_CONVERTERS: Mapping[Form, Callable[[Setting, object], Any]] = MappingProxyType(
    {
        Form.TEXT: _text,
        Form.LIST: _list,
        Form.INTEGER: _integer,
        Form.SWITCH: _switch,
        Form.DURATION: _duration,
        Form.SIZE: _size,
    }
)

_FORMS: Mapping[Any, Form] = MappingProxyType(
    {
        str: Form.TEXT,
        str | None: Form.TEXT,
        int: Form.INTEGER,
        bool: Form.SWITCH,
        tuple[str, ...]: Form.LIST,
    }
)


def _settings_of(section: str, cls: type[Any]) -> dict[str, Setting]:
    hints = get_type_hints(cls)
    found = {}
    for field in fields(cls):
        hint = hints[field.name]
        if field.name.endswith("_s"):
            form, key = Form.DURATION, field.name.removesuffix("_s")
        elif field.name.endswith("_bytes"):
            form, key = Form.SIZE, field.name.removesuffix("_bytes")
        else:
            form, key = _FORMS[hint], field.name
        found[key] = Setting(
            section, key, field.name, form, hint == str | None, field.default
        )
    return found


SETTINGS: Mapping[str, Mapping[str, Setting]] = MappingProxyType(
    {section: _settings_of(section, cls) for section, cls in SECTIONS.items()}
)

TABLES: Mapping[str, Mapping[str, Form]] = MappingProxyType(
    {
        "api_keys": {"key": Form.TEXT, "key_file": Form.TEXT, "sha256": Form.LIST},
        "namespaces": {
            "subscribe": Form.TEXT,
            "publish": Form.TEXT,
            "history": Form.TEXT,
            "members": Form.TEXT,
            "history_size": Form.INTEGER,
            "history_ttl": Form.TEXT,
            "last_value": Form.SWITCH,
            "presence": Form.SWITCH,
            "join_leave": Form.SWITCH,
            "linger": Form.TEXT,
            "conflate": Form.TEXT,
            "conflate_by": Form.TEXT,
            "max_rate": Form.INTEGER,
            "batch": Form.TEXT,
            "overflow": Form.TEXT,
        },
        "counters": {
            "event": Form.TEXT,
            "where": Form.TABLE,
            "measure": Form.TEXT,
            "of": Form.TEXT,
            "by": Form.LIST,
            "windows": Form.LIST,
            "lateness": Form.TEXT,
            "cadence": Form.TEXT,
            "max_cells": Form.INTEGER,
            "decimals": Form.INTEGER,
            "watch": Form.TEXT,
        },
    }
)
"""Sections of named tables, and how their options are written in the environment."""
