"""
JSON and MessagePack: bytes to plain values and back, within bounds.

A *plain value* is None, a bool, an int from -2**63 to 2**64 - 1, a finite float, a str,
a list of plain values or a dict from str to plain values, nested at most ``MAX_DEPTH``
deep. Whatever ``decode`` returns is one; whatever it cannot make one of is
`Undecodable`, and nothing else is ever raised. The memory taken is proportional to the
bytes given, whose number the reader of the socket bounds.

Where a key is repeated in an object, the last value wins. A JSON integer that needs
more than 64 bits becomes a float.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Final, Never, Protocol

import msgpack
import orjson

from realtime.errors import RealtimeError
from realtime.types import JSONText

MAX_DEPTH: Final = 32
"""How many objects and arrays may lie within one another."""


class Undecodable(RealtimeError):
    """The bytes are no plain value, or the value is not plain; says why."""


class InvalidUtf8(Undecodable):
    """The bytes of a text are not UTF-8 (RFC 6455, 8.1: the connection fails)."""


class Codec(Protocol):
    """One way to write plain values as bytes."""

    def decode(self, data: bytes) -> object:
        """Return the plain value that *data* is. Raises Undecodable."""

    def load(self, data: bytes) -> object:
        """Return what `decode` would, or what only `check` refuses."""

    def check(self, value: object, data: bytes) -> None:
        """Raise Undecodable if *value*, loaded from *data*, is no plain value."""

    def encode(self, value: object) -> bytes:
        """Return the bytes of *value*. Raises Undecodable if it is not plain."""

    def embed(self, text: JSONText) -> object:
        """Return what stands for *text* within a value given to `encode`."""


def json_text(value: object) -> JSONText:
    """
    Return *value* as JSON text on one line.

    Raises:
        Undecodable: If it is not a plain value.
    """
    return JSONText(JSON.encode(value))


# -- JSON ------------------------------------------------------------------------------

_Container = dict[str, object] | list[object]


class JSONCodec:
    """RFC 8259, strictly: no comments, no NaN, no byte order mark, UTF-8 only."""

    __slots__ = ()

    def decode(self, data: bytes) -> object:
        """
        Return the plain value that *data* is.

        Raises:
            InvalidUtf8: If *data* is not UTF-8.
            Undecodable: If it is no JSON, or nested too deeply.
        """
        value = self.load(data)
        self.check(value, data)
        return value

    def load(self, data: bytes) -> object:
        """See ``Codec``."""
        try:
            value: object = orjson.loads(data)
        except orjson.JSONDecodeError as exc:
            raise _not_json(data, exc) from exc
        return value

    def check(self, value: object, data: bytes) -> None:
        """See ``Codec``."""
        openers = data.count(b"{") + data.count(b"[")
        if openers > MAX_DEPTH and _too_deep(value, openers):
            raise Undecodable(f"the message is nested more than {MAX_DEPTH} deep")

    def encode(self, value: object) -> bytes:
        """Return *value* as JSON on one line. Raises Undecodable if it is not plain."""
        try:
            return orjson.dumps(value)
        except orjson.JSONEncodeError as exc:
            raise Undecodable(f"the value cannot be written as JSON: {exc}") from exc

    def embed(self, text: JSONText) -> object:
        """Return a fragment that `encode` splices in without reading it."""
        return orjson.Fragment(text)


def _not_json(data: bytes, exc: orjson.JSONDecodeError) -> Undecodable:
    try:
        data.decode()
    except UnicodeDecodeError as bad:
        return InvalidUtf8(f"the text is not UTF-8: {bad.reason} at byte {bad.start}")
    if "depth" in exc.msg:
        return Undecodable(f"the message is nested more than {MAX_DEPTH} deep")
    return Undecodable(f"the text is no JSON: {exc}")


def _too_deep(value: object, openers: int) -> bool:
    """
    Tell whether *value* is too deep; its text has this many *openers*, [ and {.

    Hot: once per message of many events. Containers not seen yet are at most the
    openers less those seen, so most messages are decided without a look into them: for
    20 events this takes a third of the time of decoding, where visiting every value
    took twice that.
    """
    if type(value) is not dict and type(value) is not list:
        return False
    level: list[_Container] = [value]
    unseen = openers - 1
    for depth in range(1, MAX_DEPTH + 1):
        if depth + unseen <= MAX_DEPTH:
            return False
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        unseen -= len(level)
    return bool(level)


# -- MessagePack -----------------------------------------------------------------------

_SCALARS = frozenset({str, int, bool, type(None)})
_SMALL_BYTES = 1024


class MessagePackCodec:
    """The part of MessagePack that JSON has too: no raw bytes, no extension types."""

    __slots__ = ()

    def decode(self, data: bytes) -> object:
        """
        Return the plain value that *data* is.

        Raises:
            Undecodable: If it is no single MessagePack value, or none that is plain.
        """
        value = self.load(data)
        _check_plain(value)
        return value

    def load(self, data: bytes) -> object:
        """See ``Codec``."""
        try:
            if len(data) > _SMALL_BYTES:
                _check_whole(data)
            value: object = msgpack.unpackb(
                data, max_bin_len=0, max_ext_len=0, ext_hook=_refuse_extension
            )
        except (ValueError, msgpack.UnpackException) as exc:
            raise Undecodable(_msgpack_problem(exc)) from exc
        return value

    def check(self, value: object, data: bytes) -> None:
        """See ``Codec``."""
        _check_plain(value)

    def encode(self, value: object) -> bytes:
        """Return *value* as MessagePack. Raises Undecodable if it is not plain."""
        try:
            packed: bytes = msgpack.packb(value)
        except (TypeError, ValueError, OverflowError) as exc:
            raise Undecodable(
                f"the value cannot be written as MessagePack: {exc}"
            ) from exc
        return packed

    def embed(self, text: JSONText) -> object:
        """Return the value that *text* is: there is nothing to splice here."""
        value: object = orjson.loads(text)
        return value


def _check_whole(data: bytes) -> None:
    """
    Raise unless *data* has all the values that its headers announce.

    The decoder makes room for an array when it reads the array's length. A thousand
    nested headers, each claiming a quarter of a million values, would take 2 GB and
    half a second before the first missing value is noticed. Skipping makes no room and
    takes 2 us per KiB; what is whole announces no more values than it has bytes.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=len(data))
    unpacker.feed(data)
    unpacker.skip()


def _check_plain(value: object) -> None:
    level: list[Iterable[object]] = [(value,)]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Iterable[object]] = []
        for values in level:
            for child in values:
                if type(child) in _SCALARS:
                    continue
                if type(child) is dict:
                    inner.append(_values_of(child))
                elif type(child) is list:
                    inner.append(child)
                else:
                    _check_float(child)
        if not inner:
            return
        level = inner
    raise Undecodable(f"the message is nested more than {MAX_DEPTH} deep")


def _values_of(mapping: Mapping[object, object]) -> Iterable[object]:
    # The decoder has refused every other key that is no string.
    if b"" in mapping:
        raise Undecodable("a key is raw bytes (bin); keys are strings")
    return mapping.values()


def _check_float(value: object) -> None:
    # What is left besides floats is bytes: the decoder has refused extension types.
    if type(value) is not float:
        raise Undecodable("raw bytes (bin) are not taken; send a string")
    if not isfinite(value):
        raise Undecodable(f"{value} is not taken; numbers must be finite")


def _refuse_extension(code: int, _data: bytes) -> Never:
    raise Undecodable(f"extension type {code} is not taken")


# What the library says, and what it means here; the first that is found in it counts.
_PROBLEMS = (
    ("max_bin_len", "raw bytes (bin) are not taken; send a string"),
    ("max_ext_len", "extension types are not taken"),
    ("timestamp", "extension types are not taken"),
    ("map key", "a key is not a string"),
    ("extra data", "there are bytes after the message"),
    ("exceeds max", "a length is greater than the message"),
    ("incomplete", "the message is cut short"),
    ("No more data", "the message is cut short"),
)


def _msgpack_problem(exc: Exception) -> str:
    if isinstance(exc, msgpack.StackError):
        return f"the message is nested more than {MAX_DEPTH} deep"
    if isinstance(exc, UnicodeDecodeError):
        return f"a string is not UTF-8: {exc.reason}"
    said = str(exc)
    for part, meaning in _PROBLEMS:
        if part in said:
            return meaning
    return "the message is no MessagePack"


JSON: Final = JSONCodec()
MSGPACK: Final = MessagePackCodec()
