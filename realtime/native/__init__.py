"""
The parts that are written in C: optional, and each with a twin in Python.

A part is built when the package is installed on a machine with a C compiler. It treats
the usual case only and leaves all others to Python. Its twin decides at import which of
the two is used: the native part, unless it was not built or ``REALTIME_PURE`` is 1.
"""

from __future__ import annotations

import os
from importlib import import_module

PARTS = ("fanout", "frames", "usual")
"""The modules there are when everything was built."""

PURE = os.environ.get("REALTIME_PURE", "") == "1"


def find(part: str, name: str) -> object | None:
    """Return what *name* is in module *part*; None if it is not to be used."""
    return None if PURE else built(part, name)


def built(part: str, name: str) -> object | None:
    """Return what *name* is in module *part*; None if it was not built."""
    try:
        module = import_module(f"{__name__}.{part}")
    except ImportError:
        return None
    found: object = getattr(module, name)
    return found


def used() -> bool:
    """Whether this process uses every native part that there is."""
    return not PURE and all(built(part, "__name__") for part in PARTS)
