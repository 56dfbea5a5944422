"""
The resolved configuration as TOML, complete but for the secrets.

What is printed is read back to the same configuration, once the secrets are filled in.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from realtime.config.files import HIDDEN
from realtime.config.schema import SETTINGS, Setting
from realtime.config.toml import key_to_toml, to_toml
from realtime.core.counters import CounterDefinition
from realtime.core.namespaces import OPTIONS, NamespaceDefinition
from realtime.units import format_duration

if TYPE_CHECKING:
    from realtime.config.model import Config

_PASSWORD = re.compile(r"(://[^/?#]*?:)[^/?#]*@|(password=)[^&#]*", re.IGNORECASE)


def render(config: Config) -> str:
    """Return *config* as the text of a ``realtime.toml``."""
    tables = [
        *(_section(config, section) for section in SETTINGS),
        *_api_keys(config),
        *(
            _table("namespaces", name, _namespace(each))
            for name, each in config.namespaces.items()
        ),
        *(_table("counters", each.name, _counter(each)) for each in config.counters),
    ]
    return "\n".join("".join(f"{line}\n" for line in table) for table in tables)


def _api_keys(config: Config) -> Iterator[Iterator[str]]:
    for name, number in Counter(key.name for key in config.api_keys).items():
        hidden = HIDDEN if number == 1 else [HIDDEN] * number
        yield _table("api_keys", name, [("sha256", hidden)])


def _section(config: Config, section: str) -> Iterator[str]:
    yield f"[{section}]"
    settings = getattr(config, section)
    for setting in SETTINGS[section].values():
        value = getattr(settings, setting.field)
        if value is None:
            yield f"# {setting.key} is not set"
        elif getattr(settings, f"{setting.field}_file", None) is None:
            yield f"{setting.key} = {_shown(setting, value)}"


def _shown(setting: Setting, value: Any) -> str:
    if not setting.secret:
        return setting.display(value)
    if setting.dotted == "redis.url":
        return to_toml(hide_password(value))
    return to_toml(HIDDEN)


def hide_password(url: str) -> str:
    """Return *url* with ``(set)`` in the place of its passwords."""
    return _PASSWORD.sub(
        lambda found: f"{found[1]}{HIDDEN}@" if found[1] else f"{found[2]}{HIDDEN}", url
    )


def _table(
    section: str, name: str, options: Iterable[tuple[str, object]]
) -> Iterator[str]:
    yield f"[{section}.{key_to_toml(name)}]"
    for option, value in options:
        yield f"{option} = {to_toml(value)}"


def _namespace(namespace: NamespaceDefinition) -> Iterator[tuple[str, object]]:
    """Yield who may subscribe and publish, and what else is not as by default."""
    default = NamespaceDefinition(namespace.name)
    for option, (field, _) in OPTIONS.items():
        value = getattr(namespace, field)
        if option in ("subscribe", "publish") or value != getattr(default, field):
            yield option, format_duration(value) if field.endswith("_s") else value


def _counter(counter: CounterDefinition) -> Iterator[tuple[str, object]]:
    yield "event", counter.event
    if counter.where:
        yield "where", _where(counter.where)
    yield "measure", counter.measure
    if counter.of is not None:
        yield "of", counter.of
    yield "by", counter.by
    yield "windows", [window.text for window in counter.windows]
    yield "lateness", format_duration(counter.lateness_s)
    yield "cadence", format_duration(counter.cadence_s)
    yield "max_cells", counter.max_cells
    yield "decimals", counter.decimals
    yield "watch", counter.watch


def _where(where: Mapping[str, tuple[Any, ...]]) -> Mapping[str, Any]:
    return {
        name: values[0] if len(values) == 1 else values
        for name, values in where.items()
    }
