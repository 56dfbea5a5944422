"""The example of a configuration that people copy."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from realtime.config import load
from realtime.config.schema import SETTINGS, TABLES, Setting

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "realtime.example.toml"
DEMO = ROOT / "realtime" / "demo" / "demo.toml"


def line_of(key: str, section: str) -> str | None:
    """Return the value that the example gives *key*, commented out or not."""
    text = EXAMPLE.read_text(encoding="utf-8")
    body = re.search(rf"^\[{section}\]\n(.*?)(?=^\[|\Z)", text, re.M | re.S)
    assert body is not None, f"[{section}] is missing"
    found = re.search(rf"^(?:# )?{key} = (.*?)(?:  +#.*)?$", body[1], re.M)
    return found[1] if found else None


def all_settings() -> list[Setting]:
    """Every key of the sections that have a fixed set of keys."""
    return [one for section in SETTINGS.values() for one in section.values()]


@pytest.mark.parametrize("path", [EXAMPLE, DEMO], ids=lambda path: path.name)
def test_it_is_a_valid_configuration(path: Path) -> None:
    """The server starts with the file as it is."""
    config = load(str(path), {}, {})
    assert config.counters.get("likes") is not None


@pytest.mark.parametrize("setting", all_settings(), ids=lambda one: one.dotted)
def test_it_shows_every_setting(setting: Setting) -> None:
    """Each key is there, and what is commented out is the default."""
    shown = line_of(setting.key, setting.section)
    assert shown is not None, f"{setting.dotted} is missing"
    if setting.default is not None:
        assert _same(shown, setting), f"{setting.dotted} is {setting.default}"


def _same(shown: str, setting: Setting) -> bool:
    value = tomllib.loads(f"value = {shown}")["value"]
    return bool(setting.convert(value) == setting.default)


def test_it_shows_every_option_of_a_counter() -> None:
    """Whatever a counter can be told is told in one of the examples."""
    text = EXAMPLE.read_text(encoding="utf-8")
    for option in TABLES["counters"]:
        assert re.search(rf"^(?:# )?{option} = ", text, re.M), option
