"""
Checks of single fields: each returns the value in the type that the message has.

A check is given whatever the codec decoded, except null. It raises `Wrong` with the
rest of a sentence that begins with the name of the field: what would be right, and what
was given.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isfinite
from typing import cast

from realtime.wire.codecs import json_text

Check = Callable[[object], object]

MAX_SAFE = 2**53 - 1
"""The greatest integer that JavaScript can tell from its neighbours."""

_SHOWN_CHARS = 40
_DEVICE = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_SECRET = re.compile(r"[ -~]{16,128}")
_TAG = re.compile(r"[A-Za-z0-9_.-]{1,64}")

MAX_TAGS = 16
"""Of one publication."""

MAX_TAG_CHARS = 128
"""Of one tag's value."""


class Wrong(Exception):
    """
    A field's value is wrong; never leaves the decoder.

    *within* is the path to what is wrong in the field, such as ``[3].channel``.
    """

    def __init__(self, problem: str, within: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.within = within


def shown(value: object) -> str:
    """Return *value* as an error may quote it: short, on one line, never nested."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value[: _SHOWN_CHARS + 1] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


_KINDS = {
    bool: "a boolean",
    dict: "an object",
    float: "a number",
    int: "a number",
    list: "an array",
    str: "a string",
}


def kind_of(value: object) -> str:
    """Return what *value* is, without anything of it."""
    return _KINDS.get(type(value), "null")


def integer(low: int, high: int) -> Check:
    """Take an integer from *low* to *high*; true and 1.0 are none."""

    def check(value: object) -> int:
        # bool is a subclass of int: only the exact type will do.
        if type(value) is int and low <= value <= high:
            return value
        raise Wrong(f"must be an integer from {low} to {high}, not {shown(value)}")

    return check


def text(low: int, high: int) -> Check:
    """Take a string of *low* to *high* characters (code points)."""

    def check(value: object) -> str:
        if type(value) is not str:
            raise Wrong(f"must be a string, not {shown(value)}")
        if low <= len(value) <= high:
            return value
        raise Wrong(f"must have {low} to {high} characters, not {len(value)}")

    return check


def moment(value: object) -> float:
    """Take seconds since the epoch by the sender's clock, however wrong that is."""
    if (type(value) is float or type(value) is int) and isfinite(value):
        return float(value)
    raise Wrong(f"must be a number of seconds since 1970, not {shown(value)}")


def duration(value: object) -> float:
    """Take a number of seconds greater than zero."""
    if (type(value) is float or type(value) is int) and value > 0 and isfinite(value):
        return float(value)
    raise Wrong(f"must be a number of seconds greater than 0, not {shown(value)}")


def array(value: object) -> list[object]:
    """Take an array; what is in it is judged elsewhere."""
    if type(value) is list:
        return value
    raise Wrong(f"must be an array, not {shown(value)}")


def device(value: object) -> str:
    """Take a device's name."""
    if type(value) is str and _DEVICE.fullmatch(value):
        return value
    raise Wrong(f"must be 1 to 128 of A-Z a-z 0-9 _ . : -, not {shown(value)}")


def secret(value: object) -> str:
    """Take a device's secret; what was wrong with it is told without quoting it."""
    if type(value) is str and _SECRET.fullmatch(value):
        return value
    raise Wrong("must be a string of 16 to 128 printable ASCII characters")


def token(value: object) -> str:
    """Take a token; never quoted, and checked elsewhere."""
    if type(value) is str and 1 <= len(value) <= 8192:
        return value
    raise Wrong("must be a string of 1 to 8192 characters")


def json(value: object) -> bytes:
    """Take anything, null too, and return it as JSON text."""
    return json_text(value)


def switch(value: object) -> bool:
    """Take true or false."""
    if value is True or value is False:
        return value
    raise Wrong(f"must be true or false, not {shown(value)}")


def mapping(value: object) -> dict[str, object]:
    """Take an object; what is in it is judged elsewhere."""
    if type(value) is dict:
        return value
    raise Wrong(f"must be an object, not {shown(value)}")


def tags(value: object) -> dict[str, str]:
    """Take an object of few and short strings."""
    found = mapping(value)
    if len(found) > MAX_TAGS:
        raise Wrong(f"must have at most {MAX_TAGS} tags, not {len(found)}")
    for name, tag in found.items():
        if not _TAG.fullmatch(name):
            raise Wrong(
                f"must have names of 1 to 64 of A-Z a-z 0-9 _ . -, not {shown(name)}"
            )
        if type(tag) is not str:
            raise Wrong(f"must be a string, not {shown(tag)}", f".{name}")
        if len(tag) > MAX_TAG_CHARS:
            raise Wrong(
                f"must have at most {MAX_TAG_CHARS} characters, not {len(tag)}",
                f".{name}",
            )
    return cast(dict[str, str], found)
