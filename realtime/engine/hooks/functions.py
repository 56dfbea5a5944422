"""The developer's functions, as the configuration has found them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any

from realtime.hooks import Point

ON_START, ON_STOP = "on_start", "on_stop"
"""Functions without an argument, which frame all calls of the others."""


@dataclass(frozen=True, slots=True)
class Function:
    """One of them; one that is no coroutine function may block its thread."""

    call: Callable[..., Any]
    blocks: bool

    @classmethod
    def of(cls, call: Callable[..., Any]) -> Function:
        """Wrap what a module has under a known name."""
        return cls(call, not iscoroutinefunction(call))


@dataclass(frozen=True, slots=True)
class HookFunctions:
    """The hooks of one module."""

    module: str
    points: Mapping[Point, Function]
    on_start: Function | None = None
    on_stop: Function | None = None

    @property
    def block(self) -> bool:
        """Whether any of them may block a thread."""
        return any(function.blocks for function in self.points.values())
