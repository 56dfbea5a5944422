"""
Where settings come from: the file, then the environment, then the command line.

Each later one overrides the earlier ones key by key. Every value keeps the place it
came from, so that an error can name the line or the variable.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any

from realtime.config.lines import Path, key_lines
from realtime.config.schema import SETTINGS, TABLES, Form
from realtime.errors import ConfigError

PREFIX = "REALTIME_"

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: what an error calls it, and its line in the file."""

    name: str
    line: int | None = None


@dataclass(slots=True)
class Sources:
    """All values that were given, as one tree, and where each came from."""

    path: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, Origin] = field(default_factory=dict)
    problems: list[ConfigError] = field(default_factory=list)

    def put(self, path: Path, value: object, origin: Origin) -> None:
        """Set the value at *path*, replacing what an earlier source said."""
        inner = self.values
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                return  # which is wrong, and reported as such when it is read
        inner[path[-1]] = value
        self.origins[path] = origin

    def put_text(self, path: Path, value: object, origin: Origin) -> None:
        """Set what *value*, if it is a text, means at *path*."""
        try:
            meant = _meaning(path, value) if isinstance(value, str) else value
        except ValueError as exc:
            self.problems.append(ConfigError(origin.name, str(exc)))
        else:
            self.put(path, meant, origin)

    def error(self, path: Path, problem: str) -> ConfigError:
        """Return an error about what stands at *path*."""
        for length in range(len(path), 0, -1):
            origin = self.origins.get(path[:length])
            if origin is not None:
                name = origin.name if length == len(path) else ".".join(path)
                return ConfigError(name, problem, origin.line)
        for known, origin in self.origins.items():
            if known[: len(path)] == path:  # a table that only variables speak of
                return ConfigError(origin.name, problem, origin.line)
        return ConfigError(".".join(path), problem)

    def placed(self, exc: ConfigError) -> ConfigError:
        """Return *exc*, which knows its dotted key only, with its place."""
        path = tuple(re.sub(r"\[\d+\]", "", exc.key).split("."))
        if path not in self.origins:
            in_file = (*path[:-1], f"{path[-1]}_file")
            path = in_file if in_file in self.origins else path
        return self.error(path, exc.problem)


def read_sources(
    path: str | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> Sources:
    """
    Read all three; ``problems`` of the result says which texts have no meaning.

    Raises:
        ConfigError: If the file cannot be read or is not TOML.
    """
    sources = Sources(path)
    if path is not None:
        _read_file(sources, path)
    _read_environment(sources, environ)
    for dotted, value in overrides.items():
        if value is not None:
            target = tuple(dotted.split("."))
            origin = Origin(f"{dotted} (from the command line)")
            sources.put_text(target, value, origin)
    return sources


def _read_file(sources: Sources, path: str) -> None:
    try:
        text = FilePath(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise ConfigError(path, f"cannot be read: {reason}") from exc
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        problem, line = _place(str(exc), text)
        raise ConfigError("not valid TOML", problem, line) from exc
    lines = key_lines(text)
    for key, line in lines.items():
        sources.origins[key] = Origin(".".join(key), line)
    sources.values = tree


def _place(message: str, text: str) -> tuple[str, int]:
    """Part what tomllib says of *text* from the line where it says it is."""
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), .*|end .*)\)", message, re.DOTALL)
    if found is not None and found[2] is not None:
        return found[1], int(found[2])
    return found[1] if found else message, len(text.splitlines()) or 1


def _read_environment(sources: Sources, environ: Mapping[str, str]) -> None:
    for name, path in _variables(environ):
        sources.put_text(path, environ[name], Origin(name))


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    for name in sorted(environ):
        # Names without "__" are not ours to judge: REALTIME_CONFIG, and those that
        # Kubernetes makes for a service called realtime, such as REALTIME_PORT.
        if name.startswith(PREFIX) and "__" in name.removeprefix(PREFIX):
            yield name, tuple(name.removeprefix(PREFIX).lower().split("__"))


def _meaning(path: Path, text: str) -> object:
    """
    Return what *text* means where a value of *path*'s form is expected.

    Raises:
        ValueError: With a sentence, if it means nothing.
    """
    form = form_of(path)
    reader = _READERS.get(form) if form is not None else None
    if form is None or reader is None:
        return text
    try:
        return reader(text)
    except ValueError:
        raise ValueError(f"must be {form.value}; got {text!r}") from None


def form_of(path: Path) -> Form | None:
    """Return how a value at *path* is written; None if nothing is known of it."""
    section, *names = path
    if section in TABLES:
        return TABLES[section].get(names[1]) if len(names) == 2 else None
    if len(names) != 1:
        return None
    setting = SETTINGS.get(section, {}).get(names[0])
    return setting.form if setting is not None else None


def _list(text: str) -> list[str]:
    if text.lstrip().startswith("["):
        found = _toml(text)
        if not isinstance(found, list):
            raise ValueError(text)
        return found
    return [one.strip() for one in text.split(",") if one.strip()]


def _switch(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise ValueError(text)
    return word in _TRUE


def _toml(text: str) -> Any:
    return tomllib.loads(f"value = {text}")["value"]


_READERS: Mapping[Form, Callable[[str], object]] = MappingProxyType(
    {
        Form.LIST: _list,
        Form.INTEGER: int,
        Form.SWITCH: _switch,
        Form.TABLE: _toml,
    }
)
