"""
Values as people write and read them: ``"50ms"``, ``"72h"``, ``"64KiB"``.

One number and one unit; a plain number is seconds, or bytes. What is refused is refused
with a ValueError whose sentence says what would be right.
"""

from __future__ import annotations

import re
from decimal import Decimal

_NUMBER = re.compile(r"(\d{1,15}(?:\.\d{1,30})?)\s?([A-Za-z]*)")

_SECONDS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_BYTES = {
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}

_DURATION_HELP = 'write a number and ms, s, m, h or d, such as "50ms" or "5m"'
_BYTES_HELP = (
    'write a whole number of bytes, or one with KiB, MiB or GiB, such as "64KiB"'
)


def parse_duration_s(text: str | int | float) -> float:
    """
    Return the seconds meant by *text*: ``"5m"`` is 300.0, ``"50ms"`` is 0.05.

    Raises:
        ValueError: If it is not a duration, or is negative or not finite.
    """
    if isinstance(text, str):
        number, unit = _split(text, "duration", _DURATION_HELP)
        factor = _SECONDS.get(unit or "s")
        if factor is None:
            raise ValueError(f"{text[:40]!r} has no known unit: {_DURATION_HELP}")
        return float(number * factor)
    _check_number(text, "duration", _DURATION_HELP)
    return float(text)


def parse_bytes(text: str | int) -> int:
    """
    Return the bytes meant by *text*: ``"64KiB"`` is 65536, ``"1kB"`` is 1000.

    Raises:
        ValueError: If it is not a size, or not a whole number of bytes.
    """
    if isinstance(text, str):
        number, unit = _split(text, "size", _BYTES_HELP)
        factor = _BYTES.get(unit.lower() or "b")
        if factor is None:
            raise ValueError(f"{text[:40]!r} has no known unit: {_BYTES_HELP}")
        size = number * factor
        if size != int(size):
            raise ValueError(f"{text[:40]!r} is not a whole number of bytes")
        return int(size)
    _check_number(text, "size", _BYTES_HELP)
    if not isinstance(text, int):
        raise ValueError(f"{text!r} is not a size: {_BYTES_HELP}")
    return text


def format_duration(seconds: float) -> str:
    """
    Write *seconds* (finite, not negative) so that ``parse_duration_s`` reads it back.

    Whole seconds take the largest unit that divides them: 300 is ``"5m"``.
    """
    _check_number(seconds, "duration", _DURATION_HELP)
    exact = Decimal(repr(seconds))
    if exact == int(exact):
        whole = int(exact)
        for unit in ("d", "h", "m"):
            if whole and whole % int(_SECONDS[unit]) == 0:
                return f"{whole // int(_SECONDS[unit])}{unit}"
        return f"{whole}s"
    milliseconds = exact * 1000
    if exact < 1 and milliseconds == int(milliseconds):
        return f"{int(milliseconds)}ms"
    return f"{exact:f}s"


def shown(value: object) -> str:
    """Return *value* as a sentence may quote it: at most 40 characters of its repr."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # thousands of digits, or of levels
        return f"a huge {type(value).__name__}"
    return text if len(text) <= 40 else text[:37] + "..."


def _split(text: str, what: str, right: str) -> tuple[Decimal, str]:
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a {what}: {right}")
    return Decimal(match[1]), match[2]


def _check_number(value: object, what: str, right: str) -> None:
    # bool is an int to Python, but `tick = true` is a mistake.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a {what}: {right}")
    if not 0 <= value < 10**15:  # also false for NaN
        raise ValueError(
            f"{value!r} is out of range: a {what} is finite and not negative"
        )
