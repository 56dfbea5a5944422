"""
Filters over the tags of publications: which of them a subscriber wants.

A filter is a tree, given as JSON:

    {"tag": "symbol", "eq": "BTC"}          leaves compare one tag with
    {"tag": "price", "gte": "99.5"}           eq ne in exists prefix suffix contains
    {"all": [...]}  {"any": [...]}            gt gte lt lte
    {"not": {...}}

Laws: what two clients spell differently and mean alike is one filter wherever that can
be told cheaply (*form*), so that it is evaluated once for both; evaluating makes no
objects but the number that a tag's text stands for, which is remembered. A publication
without the tag matches only ``ne``, ``"exists": false`` and ``not``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any

from realtime.errors import BAD_MESSAGE, CommandError
from realtime.wire.checks import shown

MAX_NODES = 64
MAX_DEPTH = 8
MAX_VALUES = 64  # of one "in"
MAX_CHARS = 128  # of a tag's name and of what it is compared with

Tags = Mapping[str, str]
Test = Callable[[Tags], bool]
Form = tuple[Any, ...]
"""A filter as nested tuples, the canonical way to say it."""

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_EXACT = Context(prec=MAX_CHARS)  # more digits than any text that is taken
_NO_TAGS: Tags = {}
_ROOT = "filter"


class Filter:
    """
    A filter that has been checked; equal to every other one of the same form.

    Immutable. ``compile_filter`` makes them.
    """

    __slots__ = ("_hash", "_test", "form")

    def __init__(self, form: Form) -> None:
        self.form = form
        self._test = _test_of(form)
        self._hash = hash(form)

    def matches(self, tags: Tags | None) -> bool:
        """Whether a publication with *tags* is wanted."""
        # Hot: once per group of subscribers and publication.
        return self._test(tags or _NO_TAGS)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filter) and self.form == other.form

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Filter({self.form!r})"


def compile_filter(tree: object) -> Filter:
    """
    Make a filter of what a client has sent.

    Raises:
        CommandError: BAD_MESSAGE; its field is the path to what is wrong, such as
            ``filter.all[0].eq``.
    """
    return Filter(_Reader().read(tree, _ROOT, 1))


def number_of(text: str) -> Decimal | None:
    """Return the number that *text* spells, or None if it spells none."""
    if len(text) > MAX_CHARS or not _NUMBER.fullmatch(text):
        return None
    return Decimal(text)


# -- reading -------------------------------------------------------------------


class _Reader:
    """Reads one tree, counting its nodes."""

    def __init__(self) -> None:
        self._nodes = 0

    def read(self, tree: object, path: str, depth: int) -> Form:
        """Return the canonical form of *tree*, which stands at *path*."""
        if type(tree) is not dict:
            raise _wrong(path, f"must be an object, not {shown(tree)}")
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _wrong(path, f"is one part too many; at most {MAX_NODES} are taken")
        if depth > MAX_DEPTH:
            raise _wrong(path, f"is {depth} levels deep; at most {MAX_DEPTH} are taken")
        if "tag" in tree:
            return _leaf(tree, path)
        key, value = self._only(tree, path)
        if key == "not":
            return _negated(self.read(value, f"{path}.not", depth + 1))
        if key not in ("all", "any"):
            raise _wrong(path, f"has {shown(key)} without a tag; {_WITHOUT}")
        if type(value) is not list:
            raise _wrong(f"{path}.{key}", f"must be an array, not {shown(value)}")
        parts = (
            self.read(part, f"{path}.{key}[{at}]", depth + 1)
            for at, part in enumerate(value)
        )
        return _joined(key, parts)

    @staticmethod
    def _only(tree: dict[object, object], path: str) -> tuple[object, object]:
        if len(tree) != 1:
            raise _wrong(path, f"has {len(tree)} keys without a tag; {_WITHOUT}")
        return next(iter(tree.items()))


def _leaf(tree: dict[object, object], path: str) -> Form:
    tag = _text(tree["tag"], f"{path}.tag")
    if len(tree) != 2:
        raise _wrong(path, f"must compare its tag once, by one of {_KNOWN}")
    [key] = (key for key in tree if key != "tag")
    reader = _LEAVES.get(key)
    if reader is None:
        raise _wrong(path, f"has {shown(key)}, which is none of {_KNOWN}")
    return reader(tag, tree[key], f"{path}.{key}")


def _text(value: object, path: str) -> str:
    if type(value) is not str:
        raise _wrong(path, f"must be a string, not {shown(value)}")
    if len(value) > MAX_CHARS:
        most = f"at most {MAX_CHARS} characters"
        raise _wrong(path, f"must have {most}, not {len(value)}")
    return value


def _equal(tag: str, value: object, path: str) -> Form:
    return ("in", tag, frozenset({_text(value, path)}))


def _unequal(tag: str, value: object, path: str) -> Form:
    return _negated(_equal(tag, value, path))


def _among(tag: str, value: object, path: str) -> Form:
    if type(value) is not list:
        raise _wrong(path, f"must be an array, not {shown(value)}")
    if len(value) > MAX_VALUES:
        raise _wrong(path, f"must have at most {MAX_VALUES} values, not {len(value)}")
    texts = (_text(one, f"{path}[{at}]") for at, one in enumerate(value))
    return ("in", tag, frozenset(texts))


def _exists(tag: str, value: object, path: str) -> Form:
    if type(value) is not bool:
        raise _wrong(path, f"must be true or false, not {shown(value)}")
    form = ("exists", tag)
    return form if value else _negated(form)


def _part_of(key: str) -> Callable[[str, object, str], Form]:
    return lambda tag, value, path: (key, tag, _text(value, path))


def _than(key: str) -> Callable[[str, object, str], Form]:
    return lambda tag, value, path: (key, tag, _decimal(value, path))


def _decimal(value: object, path: str) -> Decimal:
    # repr: the shortest text that is this float, which is what the client wrote.
    kind = type(value)
    text = value if kind is str else repr(value) if kind in (int, float) else ""
    found = number_of(str(text))
    if found is None:
        raise _wrong(
            path, f'must be a number, or one as a string ("99.5"), not {shown(value)}'
        )
    return found.normalize(_EXACT) if found else Decimal(0)  # 1.0 is 1, and -0 is 0


_LEAVES: Mapping[object, Callable[[str, object, str], Form]] = {
    "eq": _equal,
    "ne": _unequal,
    "in": _among,
    "exists": _exists,
    **{key: _part_of(key) for key in ("prefix", "suffix", "contains")},
    **{key: _than(key) for key in ("gt", "gte", "lt", "lte")},
}
_KNOWN = ", ".join(map(str, _LEAVES))
_WITHOUT = "give a tag and a comparison, or one of all, any and not"


def _wrong(path: str, problem: str) -> CommandError:
    return CommandError(BAD_MESSAGE, f"{path}: {problem}", field=path)


# -- the canonical form --------------------------------------------------------


def _negated(form: Form) -> Form:
    return form[1] if form[0] == "not" else ("not", form)


def _joined(key: str, parts: Any) -> Form:
    """Join *parts* by "all" or "any": flat, none twice, whatever their order."""
    flat: set[Form] = set()
    for part in parts:
        flat |= part[1] if part[0] == key else {part}
    if len(flat) == 1:
        return flat.pop()
    return (key, frozenset(flat))


# -- evaluating ----------------------------------------------------------------


def _test_of(form: Form) -> Test:
    kind = form[0]
    if kind == "not":
        inner = _test_of(form[1])
        return lambda tags: not inner(tags)
    if kind in ("all", "any"):
        parts = tuple(map(_test_of, form[1]))
        return _all_of(parts) if kind == "all" else _any_of(parts)
    return _TESTS[kind](*form[1:])


def _all_of(parts: tuple[Test, ...]) -> Test:
    def test(tags: Tags) -> bool:
        # No generator: `all()` would make one at every evaluation.
        for part in parts:  # noqa: SIM110
            if not part(tags):
                return False
        return True

    return test


def _any_of(parts: tuple[Test, ...]) -> Test:
    def test(tags: Tags) -> bool:
        for part in parts:  # noqa: SIM110
            if part(tags):
                return True
        return False

    return test


def _test_among(tag: str, values: frozenset[str]) -> Test:
    return lambda tags: tags.get(tag) in values


def _test_exists(tag: str) -> Test:
    return lambda tags: tag in tags


def _test_prefix(tag: str, part: str) -> Test:
    return lambda tags: (found := tags.get(tag)) is not None and found.startswith(part)


def _test_suffix(tag: str, part: str) -> Test:
    return lambda tags: (found := tags.get(tag)) is not None and found.endswith(part)


def _test_contains(tag: str, part: str) -> Test:
    return lambda tags: (found := tags.get(tag)) is not None and part in found


# One tag is compared by many filters, and most tags have few values.
_number = lru_cache(maxsize=4096)(number_of)


def _test_than(holds: Callable[[Decimal, Decimal], bool]) -> Callable[..., Test]:
    def make(tag: str, bound: Decimal) -> Test:
        def test(tags: Tags) -> bool:
            text = tags.get(tag)
            if text is None:
                return False
            found = _number(text)
            return found is not None and holds(found, bound)

        return test

    return make


_TESTS: Mapping[str, Callable[..., Test]] = {
    "in": _test_among,
    "exists": _test_exists,
    "prefix": _test_prefix,
    "suffix": _test_suffix,
    "contains": _test_contains,
    "gt": _test_than(Decimal.__gt__),
    "gte": _test_than(Decimal.__ge__),
    "lt": _test_than(Decimal.__lt__),
    "lte": _test_than(Decimal.__le__),
}
