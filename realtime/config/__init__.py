"""
The configuration: ``realtime.toml``, then the environment, then the command line.

Unknown keys are errors, every error names the line or the variable it is about, and all
errors are reported together.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from realtime.config.build import build
from realtime.config.checks import is_loopback, warnings
from realtime.config.hooks import load_functions, used_points
from realtime.config.model import Config
from realtime.config.problems import ConfigErrors
from realtime.config.sources import read_sources
from realtime.errors import ConfigError

__all__ = [
    "Config",
    "ConfigErrors",
    "find_file",
    "is_loopback",
    "load",
    "load_functions",
    "used_points",
    "warnings",
]

FILE_NAME = "realtime.toml"
FILE_VARIABLE = "REALTIME_CONFIG"


def find_file(given: str | None, environ: Mapping[str, str]) -> str | None:
    """
    Return the path of the file to load, or None if there is none.

    That is *given*, or what ``REALTIME_CONFIG`` says, or ``realtime.toml`` in the
    current directory if it exists.
    """
    named = given or environ.get(FILE_VARIABLE)
    if named:
        return named
    return FILE_NAME if Path(FILE_NAME).is_file() else None


def load(
    path: str | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> Config:
    """
    Return the configuration that the three sources make together.

    *overrides* are by dotted key, such as ``{"server.port": 8081}``; None is none.

    Raises:
        ConfigErrors: With everything that is wrong (it is a ConfigError).
    """
    try:
        sources = read_sources(path, environ, overrides)
    except ConfigError as exc:
        raise ConfigErrors([exc], path) from exc
    return build(sources)
