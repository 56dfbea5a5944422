"""
On which line of a TOML file each key stands.

The standard library's parser does not say. This scanner runs over text that the parser
has accepted, so it needs to tell keys from values and nothing more.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

Path = tuple[str, ...]

_BLANK = re.compile(r"(?:\s+|#[^\n]*)*")
_KEY = re.compile(r"""\s*([A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')\s*(\.?)""")
_VALUE = re.compile(
    r'''
    (?P<string>
        """(?:[^\\]|\\.)*?"{3,5}
      | \'\'\'.*?\'{3,5}
      | "(?:[^"\\\n]|\\.)*"
      | '[^'\n]*'
    )
  | (?P<open>[\[{])
  | (?P<close>[\]}])
  | (?P<comment>\#[^\n]*)
  | (?P<newline>\n)
  | (?P<other>.)
    ''',
    re.VERBOSE | re.DOTALL,
)


def key_lines(text: str) -> dict[Path, int]:
    """
    Return the line, counted from 1, of every table and key of valid TOML.

    What is inside an inline table stands on the line of the key that holds it.
    """
    starts = [match.end() for match in re.finditer("\n", text)]
    lines: dict[Path, int] = {}
    table: Path = ()
    at = _skip_blank(text, 0)
    while at < len(text):
        line = bisect_right(starts, at) + 1
        if text[at] == "[":
            table, at = _read_path(text, at + (2 if text.startswith("[[", at) else 1))
            _note(lines, table, line)
            at = _end_of_line(text, at)
        else:
            path, at = _read_path(text, at)
            _note(lines, table + path, line)
            at = _end_of_line(text, at)
        at = _skip_blank(text, at)
    return lines


def _note(lines: dict[Path, int], path: Path, line: int) -> None:
    for length in range(1, len(path) + 1):
        lines.setdefault(path[:length], line)


def _skip_blank(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    assert match is not None
    return match.end()


def _read_path(text: str, at: int) -> tuple[Path, int]:
    """Read a dotted key; return it and the place after it."""
    names = []
    more = True
    while more:
        match = _KEY.match(text, at)
        assert match is not None, "the parser accepts no statement without a key"
        written, at, more = match[1], match.end(), bool(match[2])
        names.append(_unquoted(written) if written[0] in "\"'" else written)
    return tuple(names), at


def _unquoted(written: str) -> str:
    return next(iter(tomllib.loads(f"{written} = 0")))


def _end_of_line(text: str, at: int) -> int:
    """Return the place after the statement that goes on at *at*."""
    depth = 0
    while at < len(text):
        match = _VALUE.match(text, at)
        assert match is not None
        at = match.end()
        if match["open"]:
            depth += 1
        elif match["close"]:
            depth -= 1
        elif match["newline"] and depth <= 0:
            break
    return at
