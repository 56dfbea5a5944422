"""
Names of cells and live channels: ``live:likes;post=42;window=5m``.

Two steps make a value of a dimension part of a name, and each can be undone:

1. *text*: what ``text_of`` writes. ``~none``, ``~empty`` and ``~other`` stand for no
   value, the empty string and what overflowed; a real value that begins with ``~``
   gets another one in front, so that nobody can send an event into ``~other``.
2. *encoding*: the text's UTF-8, percent-encoded where it is not a letter, a digit or
   one of ``_ . - ~``. Several texts are joined by ``;``.

A client composes a channel's name with its platform's own percent-encoding; what it
leaves unencoded beyond the set above is accepted; the canonical name has it encoded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, unquote_to_bytes

from realtime.core.windows import Window
from realtime.errors import BAD_CHANNEL, UNKNOWN_CHANNEL, CommandError
from realtime.types import Channel, Scalar
from realtime.units import shown

LIVE = "live:"
MAX_TEXT = 128  # characters of one dimension's text; longer values are rejected events
MAX_DIMS = 3200  # of an encoded combination: with it, no channel's name is over 4,096

NONE = "~none"  # the event did not have the property
EMPTY = "~empty"  # the property was the empty string
OTHER = "~other"  # the counter had max_cells combinations already

_SPECIALS = frozenset({NONE, EMPTY, OTHER})
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_EXACT = 2**53  # integral floats below it are written as the integers they are


def text_of(value: Scalar) -> str:
    """
    Return the text of a dimension's *value*: ``42``, ``true``, ``~none``.

    A number is the same text as an integer and as a float: JSON knows only one kind.
    """
    if isinstance(value, str):
        if value == "":
            return EMPTY
        return "~" + value if value[0] == "~" else value
    return NONE if value is None else plain_text(value)


def plain_text(value: str | int | float | bool) -> str:
    """Return *value* as a string, without the special texts of dimensions."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    return repr(value)


def encode_dims(texts: Sequence[str]) -> str:
    """Join the *texts* of a combination of dimension values; ``""`` for none at all."""
    return ";".join([encode_text(text) for text in texts])


def decode_dims(dims: str) -> tuple[str, ...]:
    """Undo ``encode_dims``, for what it returned."""
    if not dims:
        return ()
    return tuple([unquote_to_bytes(part).decode() for part in dims.split(";")])


def encode_text(text: str) -> str:
    """Percent-encode one text. An empty one is ``~empty``, lest it be invisible."""
    if text.isascii() and text.isalnum():  # Hot: spares quote() 0.6 us for most ids
        return text
    return quote(text, safe="") or EMPTY


def is_unicode(text: str) -> bool:
    """Whether *text* can be written as UTF-8: it has no surrogate on its own."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def other_dims(count: int) -> str:
    """Return the encoded dims of the cell for what overflows *count* dimensions."""
    return ";".join([OTHER] * count)


def too_long(dims: str) -> str:
    """Return the rest of a sentence about values that take more than ``MAX_DIMS``."""
    return (
        f"take {len(dims)} characters together when percent-encoded; at most "
        f"{MAX_DIMS} are allowed"
    )


class Named(Protocol):
    """What a name must know of a counter (CounterDefinition has it)."""

    @property
    def name(self) -> str: ...
    @property
    def by(self) -> tuple[str, ...]: ...
    @property
    def windows(self) -> tuple[Window, ...]: ...


class Catalogue(Protocol):
    """Where a counter is found by name (CounterSet has it)."""

    def get(self, name: str) -> Named | None: ...


@dataclass(frozen=True, slots=True)
class LiveName:
    """One live channel: a counter, one combination of its dimensions, one window."""

    counter: str
    dims: str  # encoded
    window: str  # as declared
    channel: Channel  # the canonical name; follows from the others

    @classmethod
    def of(
        cls, counter: Named, values: Mapping[str, str], window: str | None = None
    ) -> LiveName:
        """
        Name the channel of *counter* for these texts of its dimensions.

        Without a *window*, it is the first that the counter declares.

        Raises:
            CommandError: If a dimension is missing, unknown or malformed, or the window
                is not one of the counter's.
        """
        _check_dimensions(counter, values)
        texts = [_checked_text(name, values[name]) for name in counter.by]
        encoded = [encode_text(text) for text in texts]
        dims = ";".join(encoded)
        if len(dims) > MAX_DIMS:
            raise _bad(f"the values of the dimensions {too_long(dims)}")
        chosen = _choose_window(counter, window)
        parts = [
            f"{name}={part}" for name, part in zip(counter.by, encoded, strict=True)
        ]
        channel = Channel(";".join([LIVE + counter.name, *parts, f"window={chosen}"]))
        return cls(counter.name, dims, chosen, channel)


def parse_live(channel: str, counters: Catalogue) -> LiveName:
    """
    Read a live channel's name: its dimensions in any order, the window optional.

    Raises:
        CommandError: ``unknown_channel`` if there is no such counter, ``bad_channel``
            if the rest is malformed; the sentence says what is wrong and what there is.
    """
    if not channel.startswith(LIVE):
        raise _bad(f'{shown(channel)} is no live channel: its name begins with "live:"')
    name, *parts = channel[len(LIVE) :].split(";")
    counter = counters.get(name)
    if counter is None:
        reason = f"there is no counter {shown(name)}"
        raise CommandError(UNKNOWN_CHANNEL, reason, field="channel")
    values: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals:
            raise _bad(f"{shown(part)} must be name=value; {_what_there_is(counter)}")
        if key in values:
            raise _bad(f"{shown(key)} is given twice")
        values[key] = _decoded(key, value)
    window = values.pop("window", None)
    return LiveName.of(counter, values, window)


def _check_dimensions(counter: Named, values: Mapping[str, str]) -> None:
    for name in counter.by:
        if name not in values:
            raise _bad(f"dimension {name!r} is missing; {_what_there_is(counter)}")
    if len(values) > len(counter.by):
        unknown = next(name for name in values if name not in counter.by)
        raise _bad(f"there is no dimension {shown(unknown)}; {_what_there_is(counter)}")


def _checked_text(name: str, text: str) -> str:
    if len(text) > MAX_TEXT:
        raise _bad(
            f"the value of {name!r} has {len(text)} characters; none is longer than "
            f"{MAX_TEXT}"
        )
    if not is_unicode(text):
        raise _bad(f"the value {shown(text)} of {name!r} is not valid Unicode")
    if text[:1] == "~" and text[1:2] != "~" and text not in _SPECIALS:
        raise _bad(
            f"{shown(text)} is no value of {name!r}: write ~none, ~empty or ~other; a "
            "value that begins with ~ has another one in front"
        )
    return text or EMPTY


def _choose_window(counter: Named, window: str | None) -> str:
    if window is None:
        return counter.windows[0].text
    for declared in counter.windows:
        if declared.text == window:
            return window
    raise _bad(f"there is no window {shown(window)}; {_what_there_is(counter)}")


def _decoded(name: str, value: str) -> str:
    try:
        if _BAD_ESCAPE.search(value):
            raise ValueError
        return unquote_to_bytes(value).decode()
    except ValueError:  # also UnicodeError, of either direction
        raise _bad(
            f"the value {shown(value)} of {shown(name)} is not percent-encoded UTF-8"
        ) from None


def _what_there_is(counter: Named) -> str:
    dimensions = ", ".join(counter.by) or "none"
    windows = ", ".join(window.text for window in counter.windows)
    return f"counter {counter.name!r} has dimensions: {dimensions}; windows: {windows}"


def _bad(reason: str) -> CommandError:
    return CommandError(BAD_CHANNEL, reason, field="channel")
