"""The protocol page says what the code does: examples, fields, codes and limits."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from realtime.errors import CLOSE_CODES, ERRORS
from realtime.settings import LimitSettings
from realtime.wire.messages import (
    Ack,
    ErrorReply,
    Hello,
    Limits,
    Ping,
    Pong,
    Publish,
    Published,
    Refresh,
    Refreshed,
    Rejection,
    SlowDown,
    Subscribe,
    Subscribed,
    TokenExpired,
    Track,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PAGE = (REFERENCE / "protocol.md").read_text(encoding="utf-8")
MESSAGES: dict[str, type] = {
    "hello": Hello,
    "track": Track,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "publish": Publish,
    "ping": Ping,
    "refresh": Refresh,
    "welcome": Welcome,
    "ack": Ack,
    "slow_down": SlowDown,
    "subscribed": Subscribed,
    "unsubscribed": Unsubscribed,
    "published": Published,
    "pong": Pong,
    "refreshed": Refreshed,
    "token_expired": TokenExpired,
    "error": ErrorReply,
}


def section(heading: str) -> str:
    """Return what follows a heading, up to the next one."""
    return PAGE.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]


def rows(text: str, first: str) -> list[list[str]]:
    """Return the cells of the table whose first column is headed *first*."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first} |"))
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return found


def described(message: type) -> dict[str, str]:
    """Return the fields of a dataclass and whether they are always there: yes or no."""
    facts: dict[str, str] = {}
    for field in fields(message):
        names = ["code", "name", "retry"] if field.name == "error" else [field.name]
        required = field.default is MISSING and field.default_factory is MISSING
        facts |= dict.fromkeys(names, "yes" if required else "no")
    return facts


def test_every_message_has_a_section() -> None:
    """The page describes each message once, and nothing else."""
    names = list(MESSAGES)
    names.insert(names.index("pong"), "push")

    assert re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE) == names


@pytest.mark.parametrize("name", MESSAGES)
def test_fields_of_a_message_are_those_of_the_code(name: str) -> None:
    """Each table has exactly the fields of the dataclass, and which are optional."""
    table = rows(section(f"### `{name}`"), "field")

    assert {row[0]: row[2] for row in table} == described(MESSAGES[name])


def test_fields_of_a_push_are_described() -> None:
    """A push is made without a dataclass; its two fields are always there."""
    table = rows(section("### `push`"), "field")

    assert [(row[0], row[2]) for row in table] == [("channel", "yes"), ("data", "yes")]


def test_fields_of_a_rejection_are_those_of_the_code() -> None:
    """What an ack says of a rejected event is described in full."""
    table = rows(section("### `ack`"), "rejection field")

    assert {row[0]: row[2] for row in table} == described(Rejection)


def test_limits_and_their_defaults_are_those_of_the_code() -> None:
    """The table has every limit that welcome tells, and its default."""
    defaults = LimitSettings()

    assert {row[0]: int(row[1]) for row in rows(section("## Limits"), "limit")} == {
        field.name: getattr(defaults, field.name) for field in fields(Limits)
    }


def test_error_tables_equal_the_catalogue() -> None:
    """Number, name, retry and meaning of every error, and advice for each."""
    found = re.findall(
        r"^\| (\d+) \| `(\w+)` \| (never|later|refresh|resend) \| (.+?) \| (.+?) \|$",
        section("## Errors"),
        re.MULTILINE,
    )

    assert [tuple(row[:4]) for row in found] == [
        (str(one.code), one.name, one.retry.value, one.meaning) for one in ERRORS
    ]


def test_close_code_table_equals_the_catalogue() -> None:
    """Number, name, whether to come back and meaning of every code, and advice."""
    found = re.findall(
        r"^\| (\d+) \| `(\w+)` \| (yes|no) \| (.+?) \| (.+?) \|$",
        section("## Closing"),
        re.MULTILINE,
    )

    assert [tuple(row[:4]) for row in found] == [
        (str(one.code), one.name, "yes" if one.reconnect else "no", one.meaning)
        for one in CLOSE_CODES
    ]


def test_close_codes_keep_to_their_ranges() -> None:
    """A client that knows only the ranges does the right thing with our own codes."""
    ours = [one for one in CLOSE_CODES if one.code >= 4000]

    assert all(one.reconnect == (one.code < 4500) for one in ours)


def test_shown_messages_are_the_examples() -> None:
    """Each example of the file is shown on the page, and no message but these."""
    entries = json.loads((REFERENCE / "examples" / "native.json").read_text("utf-8"))
    shown = re.findall(r"^```json\n(.+?)\n```$", PAGE, re.MULTILINE | re.DOTALL)

    assert sorted(shown) == sorted(entry["json"] for entry in entries)


def test_links_lead_somewhere() -> None:
    """Every link within the page has a heading, and every other one a file."""
    headings = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    anchors = {
        "#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert target in anchors or (REFERENCE / target).is_file(), target


def test_settings_that_the_page_quotes_are_the_defaults() -> None:
    """Seconds and counts in the prose are those of the settings."""
    limits = LimitSettings()

    assert (limits.hello_timeout_s, limits.pong_timeout_s) == (10.0, 10.0)
    assert (limits.keepalive_min_s, limits.keepalive_default_s) == (5.0, 25.0)
    assert (limits.keepalive_max_s, limits.max_errors) == (30 * 60.0, 100)
