"""
From what was given to the resolved configuration, or to a list of all that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from realtime.config.api_keys import parse_api_keys, texts_of
from realtime.config.checks import relations
from realtime.config.files import check_shown, read_secret, resolve
from realtime.config.lines import Path
from realtime.config.model import Config
from realtime.config.problems import ConfigErrors, suggest
from realtime.config.schema import SECTIONS, SETTINGS, TABLES, Setting
from realtime.config.sources import PREFIX, Sources
from realtime.core.counters import CounterDefinition, CounterSet
from realtime.core.namespaces import NamespaceDefinition
from realtime.errors import ConfigError

_READ_FROM_FILES = (
    ("auth", "hmac_secret"),
    ("auth", "public_key"),
    ("redis", "url"),
    ("hooks", "secret"),
    ("webhooks", "secret"),
)
_FILES = ("tls_cert", "tls_key")

Defined = TypeVar("Defined")


def build(sources: Sources) -> Config:
    """
    Return the configuration.

    Raises:
        ConfigErrors: With everything that is wrong.
    """
    problems = sources.problems
    _check_names(sources)
    sections = {name: _section(sources, name) for name in SECTIONS}
    tick_s = sections["ledger"].tick_s
    counters = _tables(
        sources, "counters", lambda name, raw: _counter(name, raw, tick_s)
    )
    config = Config(
        **sections,
        api_keys=tuple(
            key
            for keys in _tables(sources, "api_keys", parse_api_keys).values()
            for key in keys
        ),
        namespaces=_tables(sources, "namespaces", NamespaceDefinition.parse),
        counters=CounterSet(tuple(counters.values())),
        sources=sources,
    )
    if not problems:  # else they would be about defaults that nobody asked for
        problems.extend(sources.placed(exc) for exc in relations(config))
    if problems:
        problems.sort(key=lambda exc: exc.line or 0)  # those of variables come first
        raise ConfigErrors(problems, sources.path)
    return config


def _check_names(sources: Sources) -> None:
    known = (*SECTIONS, *TABLES)
    for name, value in sources.values.items():
        if name not in known:
            problem = f"there is no section [{name}]; {suggest(name, known)}"
            home = [section for section in SETTINGS if name in SETTINGS[section]]
            if home and not isinstance(value, dict):
                problem = f"belongs into a section: [{home[0]}]"
            sources.problems.append(sources.error((name,), problem))


def _table(sources: Sources, path: Path, written: str) -> Mapping[str, Any]:
    """Return the table at *path*; an empty one, and a problem, if it is none."""
    found: Any = sources.values
    for name in path:
        found = found.get(name, {})
    if isinstance(found, dict):
        return found
    sources.problems.append(
        sources.error(path, f"must be a table of settings, written {written}")
    )
    return {}


# -- sections ------------------------------------------------------------------


def _section(sources: Sources, name: str) -> Any:
    given: dict[str, Any] = {}
    for key, value in _table(sources, (name,), f"[{name}]").items():
        path = (name, key)
        setting = SETTINGS[name].get(key)
        if setting is None:
            sources.problems.append(sources.error(path, _unknown(sources, path)))
            continue
        try:
            given[setting.field] = _value(sources, path, setting, value)
        except ValueError as exc:
            sources.problems.append(sources.error(path, str(exc)))
    for section, key in _READ_FROM_FILES:
        if section == name:
            _read_from_file(sources, (section, key), given)
    return SECTIONS[name](**given)


def _unknown(sources: Sources, path: Path) -> str:
    section, key = path
    hint = suggest(key, SETTINGS[section])
    if sources.origins[path].name.startswith(PREFIX):
        return f"there is no setting {section}.{key}; {hint}"
    homes = [other for other in SETTINGS if key in SETTINGS[other]]
    if homes:
        hint = f"it belongs into [{homes[0]}]"
    return f"there is no such setting; {hint}"


def _value(sources: Sources, path: Path, setting: Setting, value: object) -> Any:
    converted = setting.convert(value)
    if converted is None:
        return None
    if setting.secret:
        check_shown(converted)
    from_file = sources.origins[path].line is not None
    if from_file and (setting.key.endswith("_file") or setting.key in _FILES):
        return resolve(converted, sources.path)
    return converted


def _read_from_file(sources: Sources, path: Path, given: dict[str, Any]) -> None:
    key = path[-1]
    file = given.get(f"{key}_file")
    if file is None:
        return
    in_file = (*path[:-1], f"{key}_file")
    if given.get(key) is not None:
        problem = f"{key} is given too; keep one of them"
        sources.problems.append(sources.error(in_file, problem))
        return
    try:
        given[key] = read_secret(file)
    except ValueError as exc:
        sources.problems.append(sources.error(in_file, str(exc)))


# -- named tables --------------------------------------------------------------


def _tables(
    sources: Sources,
    section: str,
    parse: Callable[[str, Mapping[str, Any]], Defined],
) -> dict[str, Defined]:
    found = {}
    for name in _table(sources, (section,), f"[{section}.NAME]"):
        raw = _table(sources, (section, name), f"[{section}.{name}]")
        if not isinstance(sources.values[section][name], dict):
            continue
        try:
            if section == "api_keys":
                raw = _with_key_read(sources, name, raw)
            found[name] = parse(name, raw)
        except ConfigError as exc:
            sources.problems.append(sources.placed(exc))
    return found


def _counter(name: str, raw: Mapping[str, Any], tick_s: float) -> CounterDefinition:
    return CounterDefinition.parse(name, raw, tick_s)


def _with_key_read(
    sources: Sources, name: str, raw: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return *raw* with the contents of ``key_file`` as ``key``."""
    files = texts_of(raw.get("key_file"))
    if files is None or len(raw) != 1:
        return raw
    path = ("api_keys", name, "key_file")
    beside = sources.path if sources.origins[path].line is not None else None
    try:
        return {"key": [read_secret(resolve(file, beside)) for file in files]}
    except ValueError as exc:
        raise ConfigError(".".join(path), str(exc)) from None
