"""The protocol page says what the code does: examples, fields, codes and limits."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_args

import pytest

from realtime.core.tokens import MAX_INFO_BYTES
from realtime.errors import CLOSE_CODES, ERRORS
from realtime.settings import HistorySettings, LimitSettings, PresenceSettings
from realtime.types import Member, Position
from realtime.wire.checks import MAX_TAG_CHARS, MAX_TAGS
from realtime.wire.messages import (
    Ack,
    Command,
    ErrorReply,
    Goodbye,
    Hello,
    HistoryPage,
    Limits,
    Ping,
    Pong,
    PresenceCount,
    PresencePage,
    Publish,
    Published,
    ReadHistory,
    ReadPresence,
    ReadPresenceStats,
    Recovering,
    Refresh,
    Refreshed,
    Rejection,
    Reply,
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
# By the headings of their sections, in the order of the page.
COMMANDS: dict[str, type] = {
    "`hello`": Hello,
    "`track`": Track,
    "`subscribe`": Subscribe,
    "`unsubscribe`": Unsubscribe,
    "`publish`": Publish,
    "`history`": ReadHistory,
    "`presence`": ReadPresence,
    "`presence_stats`": ReadPresenceStats,
    "`ping`": Ping,
    "`refresh`": Refresh,
}
REPLIES: dict[str, type] = {
    "`welcome`": Welcome,
    "`ack`": Ack,
    "`slow_down`": SlowDown,
    "`subscribed`": Subscribed,
    "`recovering`": Recovering,
    "`unsubscribed`": Unsubscribed,
    "`published`": Published,
    "`history`, the reply": HistoryPage,
    "`presence`, the reply": PresencePage,
    "`presence_stats`, the reply": PresenceCount,
    "`goodbye`": Goodbye,
    "`pong`": Pong,
    "`refreshed`": Refreshed,
    "`token_expired`": TokenExpired,
    "`error`": ErrorReply,
}
MESSAGES = {**COMMANDS, **REPLIES}
# Made without dataclasses: the fields and whether they are always there.
PUSHES: dict[str, dict[str, str]] = {
    "`push`": {"channel": "yes", "data": "yes", "offset": "no", "tags": "no"},
    "`gap`": {"channel": "yes", "offset": "no", "epoch": "no"},
    "`join`": {"channel": "yes", "member": "yes"},
    "`leave`": {"channel": "yes", "member": "yes"},
}
# Several names for one field of the dataclass.
SPELLED = {"error": ["code", "name", "retry"], "position": ["offset", "epoch"]}


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
        names = SPELLED.get(field.name, [field.name])
        required = field.default is MISSING and field.default_factory is MISSING
        facts |= dict.fromkeys(names, "yes" if required else "no")
    return facts


def table_of(heading: str, first: str = "field") -> dict[str, str]:
    """Return the fields that a table of a section has, and which are always there."""
    return {row[0]: row[2] for row in rows(section(f"### {heading}"), first)}


def test_every_message_has_a_section() -> None:
    """The page describes each message once, and nothing else."""
    names = list(MESSAGES)
    after = names.index("`published`") + 1
    names[after:after] = PUSHES

    assert re.findall(r"^### (.+)$", PAGE, re.MULTILINE) == names
    assert set(COMMANDS.values()) == set(get_args(Command))
    assert set(REPLIES.values()) == set(get_args(Reply))


@pytest.mark.parametrize("heading", MESSAGES)
def test_fields_of_a_message_are_those_of_the_code(heading: str) -> None:
    """Each table has exactly the fields of the dataclass, and which are optional."""
    assert table_of(heading) == described(MESSAGES[heading])


@pytest.mark.parametrize("heading", PUSHES)
def test_fields_of_a_push_are_described(heading: str) -> None:
    """Pushes are made without a dataclass; the page has what the examples show."""
    entries = json.loads((REFERENCE / "examples" / "native.json").read_text("utf-8"))
    kind = heading.strip("`")
    shown = [json.loads(entry["json"]) for entry in entries]
    pushes = [set(one) - {"type"} for one in shown if one["type"] == kind]

    assert table_of(heading) == PUSHES[heading]
    assert set.union(*pushes) == set(PUSHES[heading])
    assert set.intersection(*pushes) == {
        name for name, always in PUSHES[heading].items() if always == "yes"
    }


def test_fields_of_a_position_and_a_member_are_those_of_the_code() -> None:
    """What is nested in other messages is described in full, too."""
    assert table_of("`subscribe`", "position field") == described(Position)
    assert table_of("`presence`, the reply", "member field") == described(Member)
    assert table_of("`subscribed`", "publication field") == {
        "data": "yes",
        "offset": "no",
        "tags": "no",
    }


def test_fields_of_a_rejection_are_those_of_the_code() -> None:
    """What an ack says of a rejected event is described in full."""
    assert table_of("`ack`", "rejection field") == described(Rejection)


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
    assert HistorySettings().idempotency_ttl_s == 5 * 60.0
    assert PresenceSettings().lease_s == 20.0
    assert (MAX_TAGS, MAX_TAG_CHARS, MAX_INFO_BYTES) == (16, 128, 2048)
