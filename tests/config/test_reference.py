"""The pages about configuration and tokens say what the code does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import jwt
import pytest

from realtime import cli
from realtime.config import load
from realtime.config.bounds import BOUNDS, CHOICES
from realtime.config.schema import SETTINGS, TABLES, Setting
from realtime.core.tokens import KeySet, TokenError, verify
from realtime.settings import AuthSettings
from tests.signing import NOW, SECRET, claims, ec_key, jwk, public_pem, token

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
HOWTO = (DOCS / "howto" / "tokens.md").read_text(encoding="utf-8")

ALL = [setting for section in SETTINGS.values() for setting in section.values()]


def rows(section: str) -> dict[str, list[str]]:
    """The rows of the table under this heading, by key, without backticks."""
    body = re.search(
        rf"^## \[{re.escape(section)}\]\n(.*?)(?=^## )", REFERENCE, re.M | re.S
    )
    assert body is not None, section
    found = {}
    for line in body[1].splitlines():
        if line.startswith("| `"):
            cells = [
                cell.strip().replace("`", "") for cell in re.split(r" \|(?= )", line)
            ]
            found[cells[0].removeprefix("| ")] = cells[1:]
    return found


@pytest.mark.parametrize("setting", ALL, ids=[setting.dotted for setting in ALL])
def test_every_setting_is_described_with_its_default_and_bounds(setting: Setting):
    """As the code has them."""
    default, allowed, meaning = rows(setting.section)[setting.key]
    if setting.default is None:
        assert default == "not set"
    else:
        assert default == setting.display(setting.default)
    if setting.dotted in BOUNDS:
        low, high = (setting.display(bound) for bound in BOUNDS[setting.dotted])
        assert allowed == f"{low} to {high}".replace('"', "")
    if setting.dotted in CHOICES:
        assert allowed == ", ".join(CHOICES[setting.dotted])
    assert meaning


@pytest.mark.parametrize("section", SETTINGS)
def test_nothing_is_described_that_does_not_exist(section):
    """Not even what once did."""
    assert set(rows(section)) == set(SETTINGS[section])


@pytest.mark.parametrize("section", TABLES)
def test_every_option_of_a_declaration_is_described(section):
    """Of API keys, namespaces and counters."""
    assert set(rows(f"{section}.NAME")) == set(TABLES[section])


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


@pytest.mark.parametrize("text", blocks(HOWTO, "toml"))
def test_every_example_of_the_guide_is_a_valid_configuration(write, text):
    """With the files that the guide has made before."""
    write(SECRET, "hmac.secret")
    write(public_pem(ec_key()), "issuer.pem")
    load(write(text), {}, {})


def test_the_examples_of_declarations_are_valid(write):
    """Those that are indented in the reference."""
    for name in ("shop", "job-old", "job-new"):
        write(name * 4, name)
    text = "\n".join(
        line.removeprefix("    ")
        for line in REFERENCE.splitlines()
        if re.match(r"    (\[\w+\.\w+\]|\w+ = )", line)
    )
    config = load(write(text.replace("/run/secrets/", "")), {}, {})
    assert [key.name for key in config.api_keys] == ["shop", "job", "job"]
    assert config.counters.get("revenue") is not None


def test_every_command_line_of_the_guide_is_understood(capsys):
    """Their options exist; what they do is tested elsewhere."""
    parser = cli.new_parser()
    joined = HOWTO.replace("\\\n", " ")
    commands = re.findall(r"^    (realtime .*)$", joined, re.M)
    assert len(commands) >= 2
    for command in commands:
        parser.parse_args(shlex.split(command)[1:])


SECRET_KEYS = {"hmac_secret": SECRET}
PUBLIC_KEYS = {"public_key": public_pem(ec_key())}
SEVERAL = KeySet.from_jwks({"keys": [jwk(ec_key(name), kid=name) for name in "ab"]})

REFUSED = [
    (token("x" * 32), SECRET_KEYS),
    (token(), PUBLIC_KEYS),
    (token(ec_key("b"), "ES256", kid="b"), PUBLIC_KEYS),
    (token(ec_key(), "ES256"), {}),
    (jwt.encode(claims(), SECRET * 2, "HS384"), SECRET_KEYS),
    (token(exp=None), SECRET_KEYS),
    (token(exp=NOW * 1000), SECRET_KEYS),
    (token(exp=NOW - 9), SECRET_KEYS),
    (token(iat=NOW + 9), SECRET_KEYS),
    (token(iss="a"), {**SECRET_KEYS, "issuer": "a/"}),
    (token(aud="a"), SECRET_KEYS),
    (token(realtime={"subscribe": "a"}), SECRET_KEYS),
]


def test_every_sentence_about_a_refusal_is_really_said():
    """The table of the guide and what the code says, row by row."""
    table = HOWTO.partition("## When a token is refused")[2]
    sentences = re.findall(r"^\| `([^`]+)` \|", table, re.M)
    for sentence, (text, given) in zip(sentences, REFUSED, strict=True):
        settings = AuthSettings(**given)
        keys = KeySet.configured(settings) if given else SEVERAL
        with pytest.raises(TokenError) as caught:
            verify(text, keys, NOW, settings)
        wanted = ".*".join(map(re.escape, sentence.split("...")))
        assert re.search(wanted, caught.value.reason)
