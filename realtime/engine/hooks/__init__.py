"""
Hooks: code of the developer's own, asked what to do.

Nothing here is on the way of an event or a publication unless a hook is there for it.
"""

from __future__ import annotations

from realtime.engine.hooks.asker import Asker, Outcome
from realtime.engine.hooks.facade import LONGEST_STOP_S, HookParts, Hooks
from realtime.engine.hooks.functions import Function, HookFunctions
from realtime.engine.hooks.module import ModuleAsker

__all__ = [
    "LONGEST_STOP_S",
    "Asker",
    "Function",
    "HookFunctions",
    "HookParts",
    "Hooks",
    "ModuleAsker",
    "Outcome",
]
