"""The pages of the documentation, taken apart for tests."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

PAGES = sorted(
    [
        *ROOT.glob("docs/**/*.md"),
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *ROOT.glob("clients/*/README.md"),
    ]
)

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)
_INDENTED = re.compile(r"(?:^    .*\n(?:[ \t]*\n(?=    ))*)+", re.M)
_LINK = re.compile(r"!?\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_CODE_SPAN = re.compile(r"`([^`\n]+)`")
_TABLE_NAME = re.compile(r"\[[\w.-]+\]\s*(#.*)?\n")


@dataclass(frozen=True, slots=True)
class Block:
    """One block of code; *language* is empty for those that are indented."""

    page: Path
    language: str
    text: str

    def __str__(self) -> str:
        return f"{name_of(self.page)}: {self.text.strip().splitlines()[0]}"


@dataclass(frozen=True, slots=True)
class Link:
    """One link; *target* as it is written."""

    text: str
    target: str


def name_of(page: Path) -> str:
    """Return the page's path from the root of the project."""
    return str(page.relative_to(ROOT))


def text_of(page: Path) -> str:
    """Return the whole page."""
    return page.read_text(encoding="utf-8")


def blocks() -> list[Block]:
    """Return every block of code of every page."""
    return [block for page in PAGES for block in _blocks(page)]


def _blocks(page: Path) -> Iterator[Block]:
    text = text_of(page)
    for language, code in _FENCE.findall(text):
        yield Block(page, language, code)
    for code in _INDENTED.findall(_FENCE.sub("", text)):
        lines = [line.removeprefix("    ") for line in code.splitlines()]
        yield Block(page, "", "\n".join(lines).strip("\n") + "\n")


def prose_of(page: Path) -> str:
    """Return the page without its blocks of code."""
    return _INDENTED.sub("", _FENCE.sub("", text_of(page)))


def code_spans(page: Path) -> list[str]:
    """Return what stands between single backticks."""
    return _CODE_SPAN.findall(prose_of(page))


def links(page: Path) -> list[Link]:
    """Return the links that do not lead out of the project."""
    return [
        Link(found["text"], found["target"])
        for found in _LINK.finditer(_CODE_SPAN.sub("", prose_of(page)))
        if not re.match(r"[a-z]+:", found["target"])
    ]


def cited_tests(page: Path) -> list[Link]:
    """Return the links that cite a test as the proof of a promise."""
    return [link for link in links(page) if re.fullmatch(r"test_\w+", link.text)]


def anchors_of(page: Path) -> set[str]:
    """Return what GitHub lets one link to within the page."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text_of(page)), re.M)
    found: set[str] = set()
    for heading in headings:
        plain = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        twin, number = plain, 0
        while twin in found:
            number += 1
            twin = f"{plain}-{number}"
        found.add(twin)
    return found


def configurations() -> list[Block]:
    """Return the blocks that are a ``realtime.toml``."""
    return [
        block
        for block in blocks()
        if block.language == "toml"
        or (not block.language and _TABLE_NAME.match(block.text))
    ]


def commands() -> list[tuple[str, list[str]]]:
    """Return every call of ``realtime`` as where it stands, and its arguments."""
    return [
        (name_of(block.page), words)
        for block in blocks()
        for line in re.sub(r"\s*\\\n\s*", " ", block.text).splitlines()
        for words in _calls(line.replace("%i", "8081"))  # an instance of systemd's
    ]


_CALL = re.compile(
    r"(?:^|[=\s/$(\"])realtime"
    r"(?= (?:serve|check|token|track|publish|watch|presence|replay|nodes|channels"
    r"|connections|disconnect|unsubscribe|block|unblock|blocks|revoke)\b)"
)


def _calls(line: str) -> Iterator[list[str]]:
    for found in _CALL.finditer(line):
        # What follows several spaces explains; [options] stands for any.
        rest = re.split(r"\s{3,}|\s#\s", line[found.end() :])[0]
        if "[options]" not in rest and "FILE" not in rest.split():
            yield _words(rest)


def _words(text: str) -> list[str]:
    """Return the words of a command, up to what the shell keeps for itself."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    try:
        for word in lexer:
            if set(word) <= set("();<>|&"):
                break
            words.append(word)
    except ValueError:  # the call stands within the quotes of another command
        words = text.split('"')[0].rstrip(")").split()
    return [word.strip("'") for word in words]
