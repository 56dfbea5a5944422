"""What the pages say is true, as far as a machine can tell."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from realtime import cli
from realtime.bench.program import parser_of
from realtime.bench.scenarios import SCENARIOS
from realtime.config import load
from realtime.config.schema import SETTINGS
from realtime.wire.messages import Limits
from tests.docs import cli_page
from tests.docs.pages import (
    PAGES,
    ROOT,
    Block,
    anchors_of,
    blocks,
    cited_tests,
    code_spans,
    commands,
    configurations,
    links,
    name_of,
    text_of,
)
from tests.signing import SECRET, certificate, ec_key, public_pem

# What a file that a configuration names must hold, by the setting that names it.
CONTENTS = {
    "hmac_secret_file": SECRET,
    "public_key_file": public_pem(ec_key()),
    "url_file": "redis://127.0.0.1:6379",
}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file of the project, and to a heading that it has."""
    for link in links(page):
        path, _, anchor = link.target.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link.target
        assert target.is_relative_to(ROOT), link.target
        if anchor and target.suffix == ".md":
            assert anchor in anchors_of(target), link.target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_that_is_cited_exists(page: Path) -> None:
    """In the file that the citation leads to."""
    for link in cited_tests(page):
        cited = (page.parent / link.target).read_text(encoding="utf-8")
        assert re.search(rf"def {link.text}\(", cited), f"{link.text} in {link.target}"


def test_every_page_can_be_found() -> None:
    """Each page of the documentation is linked from its index."""
    index = ROOT / "docs" / "index.md"
    linked = {
        (index.parent / link.target.partition("#")[0]).resolve()
        for link in links(index)
    }
    pages = {page for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert pages - linked - {index} == set()


def _complete(block: Block, folder: Path) -> Path:
    """Write the block as a file, and the files that it names."""
    text = re.sub(r'"/(?:etc|run)/\w+(?:/\w+)*/', '"', block.text)
    certificate(folder)  # cert.pem and key.pem
    for key, names in re.findall(r"^(\w+_file) = (.+)$", text, re.M):
        for name in re.findall(r'"([^"]+)"', names):
            contents = CONTENTS.get(key, f"the API key that is in {name}")
            (folder / name).write_text(contents, encoding="utf-8")
    path = folder / "realtime.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("block", configurations(), ids=str)
def test_every_configuration_is_valid(block: Block, tmp_path: Path) -> None:
    """As it stands, once the files are there that it names."""
    load(str(_complete(block, tmp_path)), {}, {})


@pytest.mark.parametrize(
    ("page", "arguments"),
    commands(),
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:3]),
)
def test_every_command_is_understood(page: str, arguments: list[str]) -> None:
    """Its options exist and have values that they take."""
    cli.new_parser().parse_args(arguments)
    if arguments[0] == "bench" and arguments[1] in SCENARIOS:
        parser_of(arguments[1]).parse_args(arguments[2:])


def test_commands_are_found() -> None:
    """The search for commands finds them in all their forms."""
    found = {page for page, _ in commands()}
    assert {"README.md", "docs/howto/deploy.md", "docs/reference/cli.md"} <= found
    assert ["token", "--subscribe", "live:*"] in [words for _, words in commands()]
    assert len(commands()) > 50


def _options(command: str) -> set[str]:
    actions = ALL[command]._actions
    return {option for action in actions for option in action.option_strings}


ALL = {**cli_page.parsers(), **cli_page.bench_parsers()}
"""Every command, and every benchmark as ``bench NAME``."""


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_in_sentences_exist(page: Path) -> None:
    """Also where a command is not shown as a whole."""
    known = set().union(*(_options(command) for command in ALL))
    for span in code_spans(page):
        words = span.split()
        if words[:1] == ["realtime"] and len(words) > 1 and words[1].islower():
            options = {word for word in words[2:] if word.startswith("--")}
            command = " ".join(words[1:3])
            assert options <= _options(command if command in ALL else words[1]), span
        elif re.fullmatch(r"--[a-z][a-z-]*( \S+)?", span):
            assert words[0] in known, span


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_settings_in_sentences_exist(page: Path) -> None:
    """A name such as ledger.tick is a key of a section, or a limit told by welcome."""
    told = {field.name for field in fields(Limits)}
    for span in code_spans(page):
        section, dot, key = span.partition(".")
        if dot and section in SETTINGS and re.fullmatch(r"[a-z_]+", key):
            assert key in {*SETTINGS[section], *told}, span


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_in_sentences_exist(page: Path) -> None:
    """A path that begins with a folder of the project leads there."""
    for span in code_spans(page):
        if re.fullmatch(r"(realtime|tests|docs|benchmarks)/[\w./]*", span):
            assert (ROOT / span).exists(), span


def test_every_folder_of_the_package_is_on_the_file_map() -> None:
    """So that nobody has to guess what is in it."""
    spans = code_spans(ROOT / "docs" / "topics" / "architecture.md")
    for package in (ROOT / "realtime").glob("*/__init__.py"):
        folder = f"realtime/{package.parent.name}"
        assert any(span.startswith(folder) for span in spans), folder


PYTHON = [block for block in blocks() if block.language == "python"]


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_compiles(block: Block) -> None:
    """Every block that says it is Python."""
    compile(block.text, name_of(block.page), "exec", dont_inherit=True)


JSON = [block for block in blocks() if block.language == "json"]


@pytest.mark.parametrize("block", JSON, ids=str)
def test_json_is_json(block: Block) -> None:
    """Every block that says it is."""
    json.loads(block.text)


def test_the_command_line_is_described_as_it_is() -> None:
    """Make the page anew: python -m tests.docs.cli_page > docs/reference/cli.md."""
    page = ROOT / "docs" / "reference" / "cli.md"
    assert text_of(page) == cli_page.render()


@pytest.mark.parametrize("command", ALL)
def test_every_option_says_what_it_does(command: str) -> None:
    """In a few words, in the help and so on the page."""
    for action in cli_page.shown_actions(ALL[command]):
        assert isinstance(action, argparse.Action)
        assert action.help, action.dest


def test_lines_of_the_log_are_written_by_the_code() -> None:
    """The table of the log names only events that exist."""
    page = text_of(ROOT / "docs" / "howto" / "deploy.md")
    table = page.partition("\n## The log\n")[2].partition("\n## ")[0]
    source = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "realtime").rglob("*.py")
    )
    rows = re.findall(r"^\| (`[^|]+) \| [^|]+ \| ", table, re.M)
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert len(names) > 15
    assert [name for name in names[1:] if f'"{name}"' not in source] == []
