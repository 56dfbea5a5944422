"""
Values as TOML text, for showing a configuration and for errors that quote a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def key_to_toml(name: str) -> str:
    """Return *name* as a key, in quotes where it needs them."""
    return name if _BARE.fullmatch(name) else text_to_toml(name)


def text_to_toml(text: str) -> str:
    """Return *text* as a basic string."""
    # JSON's escapes are TOML's, but for DEL, which TOML wants escaped, and surrogate
    # pairs, which ensure_ascii would make.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def to_toml(value: object) -> str:
    """Return *value* as the right-hand side of a TOML statement, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return text_to_toml(value)
    if isinstance(value, Mapping):
        inside = ", ".join(
            f"{key_to_toml(str(name))} = {to_toml(inner)}"
            for name, inner in value.items()
        )
        return f"{{{inside}}}"
    if isinstance(value, Sequence):
        return f"[{', '.join(to_toml(inner) for inner in value)}]"
    return str(value)


def quoted(value: object) -> str:
    """Return *value* for an error: as TOML, cut to a readable length."""
    text = to_toml(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
