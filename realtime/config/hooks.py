"""
The developer's module of hooks: found, imported, and looked through.

Nothing is imported when the configuration is merely read: only what runs hooks, or
checks them, calls ``load_functions``.
"""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Iterator
from difflib import get_close_matches
from inspect import isasyncgenfunction, isgeneratorfunction, signature
from pathlib import Path
from types import ModuleType
from typing import Any

from realtime.config.model import Config
from realtime.config.problems import ConfigErrors
from realtime.engine.hooks import Function, HookFunctions
from realtime.engine.hooks.functions import ON_START, ON_STOP
from realtime.errors import ConfigError
from realtime.hooks import Point

KEY = "hooks.module"

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_ARGUMENTS = {**{point.value: 1 for point in Point}, ON_START: 0, ON_STOP: 0}
_CLOSE = 0.7  # of difflib: "authorize_subscribe" and "on_event" are, "on" is not


def load_functions(config: Config) -> HookFunctions | None:
    """
    Import the module of ``[hooks]`` and return its hooks; None if none is configured.

    Raises:
        ConfigErrors: If it cannot be imported, or has not what it should have.
    """
    name = config.hooks.module
    if name is None:
        return None
    try:
        module = _import(name, config.path)
        problems = list(_problems(module, config))
    except ConfigError as exc:
        problems = [exc]
    if problems:
        raise ConfigErrors([config.placed(exc) for exc in problems], config.path)
    return _functions(module)


def used_points(functions: HookFunctions | None, config: Config) -> dict[str, str]:
    """Return which points are used, and where their answers come from."""
    found = dict.fromkeys(config.hooks.points, str(config.hooks.url))
    if functions is not None:
        found |= dict.fromkeys(functions.points, functions.module)
    return {point: found[point] for point in Point if point in found}


# -- finding -----------------------------------------------------------------------


def _import(name: str, config_path: str | None) -> ModuleType:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            KEY, f'must be the name of a module, such as "myapp.hooks"; got {name!r}'
        )
    folder = str(Path(config_path or "realtime.toml").absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and f"{name}.".startswith(f"{exc.name}."):
            raise ConfigError(
                KEY, f"there is no module {exc.name}, neither in {folder} nor installed"
            ) from None
        raise _failed(name, exc) from exc
    except (Exception, SystemExit) as exc:
        raise _failed(name, exc) from exc


def _failed(name: str, exc: BaseException) -> ConfigError:
    """Say what the module raised, and on which line of whose file."""
    place = ""
    frames = [
        frame
        for frame in traceback.extract_tb(exc.__traceback__)
        if "importlib" not in frame.filename and frame.filename != __file__
    ]
    if isinstance(exc, SyntaxError):
        place = f" ({exc.filename}, line {exc.lineno})"
    elif frames:
        place = f" ({frames[-1].filename}, line {frames[-1].lineno})"
    said = exc.msg if isinstance(exc, SyntaxError) else str(exc)
    kind = type(exc).__name__
    return ConfigError(KEY, f"importing {name} failed: {kind}: {said}{place}")


# -- looking through ---------------------------------------------------------------


def _problems(module: ModuleType, config: Config) -> Iterator[ConfigError]:
    found = [name for name in _ARGUMENTS if hasattr(module, name)]
    for name in found:
        problem = _misfit(getattr(module, name), _ARGUMENTS[name])
        if problem is not None:
            yield ConfigError(KEY, f"{module.__name__}.{name} {problem}")
    for name in found:
        if name in config.hooks.points:
            problem = f"{name} is in the module {module.__name__} too; keep one of them"
            yield ConfigError("hooks.points", problem)
    misnamed = list(_misnamed(module))
    yield from misnamed
    if not found and not misnamed:
        known = ", ".join(_ARGUMENTS)
        yield ConfigError(KEY, f"{module.__name__} has no hook; there are {known}")


def _misfit(function: Any, arguments: int) -> str | None:
    """Say what is wrong with a hook; None if nothing is."""
    if not callable(function):
        return "is no function"
    if isgeneratorfunction(function) or isasyncgenfunction(function):
        return "must return its answer, not yield it"
    try:
        signature(function).bind(*range(arguments))
    except TypeError:
        return f"must take {arguments or 'no'} argument{'s' * (arguments == 0)}"
    except ValueError:  # a built-in without a signature
        return None
    return None


def _misnamed(module: ModuleType) -> Iterator[ConfigError]:
    """Yield an error for each public function whose name looks like a hook's."""
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__
        if name in _ARGUMENTS or name.startswith("_") or not callable(value) or not own:
            continue
        if isinstance(value, type):
            continue
        close = get_close_matches(name, _ARGUMENTS, n=1, cutoff=_CLOSE)
        if close or name.startswith("on_"):
            meant = close[0] if close else ", ".join(_ARGUMENTS)
            problem = (
                f"{module.__name__}.{name} is no hook, but looks like one; did you "
                f"mean {meant}? If not, let its name begin with an underscore"
            )
            yield ConfigError(KEY, problem)


def _functions(module: ModuleType) -> HookFunctions:
    def function(name: str) -> Function | None:
        found = getattr(module, name, None)
        return None if found is None else Function.of(found)

    points = {point: function(point.value) for point in Point}
    return HookFunctions(
        module.__name__,
        {point: found for point, found in points.items() if found is not None},
        function(ON_START),
        function(ON_STOP),
    )
