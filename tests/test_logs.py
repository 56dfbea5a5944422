"""Logs: one line a fact, readable by machines or people, without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from realtime.logs import (
    _SECRETS_IN_TEXT,
    REDACTED,
    configure,
    get_logger,
    redact,
)
from realtime.settings import LogSettings
from tests.signing import token


@pytest.fixture(autouse=True)
def leave_logging_as_it_was() -> Iterator[None]:
    """Other tests capture logs as they please."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Stream(io.TextIOWrapper):
    """A text stream over bytes, as standard error is."""

    def __init__(self, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def text(self) -> str:
        """All that was written."""
        return self.buffer.getvalue().decode()

    def line(self) -> dict:
        """The only line, decoded."""
        (line,) = self.text().splitlines()
        return json.loads(line)


def configured(format: str = "json", level: str = "info", **kwargs) -> Stream:
    """A stream to which all logs go."""
    stream = Stream(**kwargs)
    configure(LogSettings(format=format, level=level), stream)
    return stream


def test_a_line_is_json_with_the_time_in_utc():
    """Time, level and event come first; the fields follow."""
    stream = configured()
    get_logger("x", node="n1").info("connection_opened", remote="127.0.0.1")
    line = stream.line()
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)
    assert line["level"] == "info"
    assert line["event"] == "connection_opened"
    assert line["node"] == "n1"
    assert line["remote"] == "127.0.0.1"


def test_loggers_made_before_the_configuration_obey_it():
    """Modules make theirs when they are imported."""
    early = get_logger("x")
    first, second = configured(), Stream()
    early.info("first")
    configure(LogSettings(format="json"), second)
    early.info("second")
    assert first.line()["event"] == "first"
    assert second.line()["event"] == "second"


def test_records_of_the_standard_library_take_the_same_way():
    """Uvicorn's are rendered as ours are, with the logger's name."""
    stream = configured()
    logging.getLogger("uvicorn.error").warning("%d of %s", 2, "them")
    line = stream.line()
    assert line["event"] == "2 of them"
    assert line["level"] == "warning"
    assert line["logger"] == "uvicorn.error"


def test_a_record_whose_arguments_do_not_fit_is_logged_all_the_same():
    """A mistake in somebody's log statement loses nothing."""
    stream = configured()
    record = logging.LogRecord("x", 30, "x.py", 1, "%d things", ("many",), None)
    logging.getLogger().handlers[-1].handle(record)
    assert stream.line()["event"] == "%d things"


@pytest.mark.parametrize("level, seen", [("debug", 4), ("info", 3), ("error", 1)])
def test_the_level_holds_for_both_ways(level, seen):
    """What is below it is not written."""
    for logger in (get_logger("x"), logging.getLogger("y")):
        stream = configured(level=level)
        for method in ("debug", "info", "warning", "error"):
            getattr(logger, method)("fact")
        assert len(stream.text().splitlines()) == seen


def test_a_line_per_request_of_other_packages_is_left_out():
    """Ours say what there is to say."""
    stream = configured()
    for name in ("httpx", "uvicorn.access", "websockets.server"):
        logging.getLogger(name).info("GET /")
    assert stream.text() == ""


@pytest.mark.parametrize(
    "key", ["token", "hmac_secret", "Authorization", "api_key", "payload", "data"]
)
def test_secret_fields_are_redacted(key):
    """By their names, whatever they hold; that one is missing may be said."""
    stream = configured()
    get_logger("x").info("fact", **{key: {"a": "hush"}, "inner": {key: "hush"}})
    line = stream.line()
    assert line[key] == REDACTED
    assert line["inner"] == {key: REDACTED}
    stream = configured()
    get_logger("x").info("fact", **{key: None})
    assert stream.line()[key] is None


@pytest.mark.parametrize(
    "text, secret",
    [
        ("redis://user:hush@host:6379/0", "hush"),
        ("redis://:hush@host", "hush"),
        ("GET /v1/live?channel=a&access_token=hush&x=1", "hush"),
        ("Authorization: Bearer hush", "hush"),
        (f"bad token {token()} from ann", token().split(".")[1]),
    ],
)
@pytest.mark.parametrize("format", ["json", "console"])
def test_secrets_inside_texts_are_redacted(text, secret, format):
    """In the event, in fields, in lists, in exceptions and in others' records."""
    stream = configured(format)
    log = get_logger("x")
    log.info(text, problem=text, several=[text], raised=ValueError(text))
    logging.getLogger("y").warning(text)
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("failed")
        logging.getLogger("y").exception("failed")
    assert secret not in stream.text()
    assert REDACTED in stream.text()


_PIECES = ["://", "user:pw@", "?token=", "&KEY=", "Bearer ", "eyJh.b.c", "a", ".", ":"]


@given(st.lists(st.sampled_from(_PIECES)).map("".join))
def test_a_text_without_secrets_is_told_by_its_looks(text):
    """Looking first, at a few characters, changes nothing of what is hidden."""
    expected = text
    for pattern, replacement in _SECRETS_IN_TEXT:
        expected = pattern.sub(replacement, expected)
    assert redact(None, "", {"problem": text}) == {"problem": expected}


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_shows_no_local_variables(format):
    """They may be secrets of any name."""
    stream = configured(format)
    try:
        hidden = "hush" + "-hush"
        raise ValueError(len(hidden))
    except ValueError:
        get_logger("x").exception("failed")
    assert "ValueError: 9" in stream.text()
    assert "hush-hush" not in stream.text()


@pytest.mark.parametrize("value", [2**70, "\ud800", {1: 2}, object, b"\xff", {3, 4}])
@pytest.mark.parametrize("format", ["json", "console"])
def test_odd_values_do_not_break_a_line(format, value):
    """Whatever a field holds, logging it raises nothing and makes one line."""
    stream = configured(format)
    stream.reconfigure(errors="backslashreplace")
    get_logger("x").info("fact", odd=value)
    assert len(stream.text().splitlines()) == 1


def test_a_line_break_in_a_value_makes_no_second_line():
    """Nobody can forge a line, or colours, through a name they chose."""
    for format in ("json", "console"):
        stream = configured(format)
        get_logger("x").info("fact", client="a\nb\x1b[31m")
        logging.getLogger("y").info("a\nb\x1b[31m")
        assert len(stream.text().splitlines()) == 2
        assert "\x1b" not in stream.text()


@pytest.mark.parametrize("terminal, is_json", [(True, False), (False, True)])
def test_auto_is_for_people_on_a_terminal_only(terminal, is_json):
    """A file or a pipe gets JSON."""
    stream = configured("auto", terminal=terminal)
    get_logger("x").info("fact")
    assert stream.text().startswith("{") == is_json


def test_a_stream_without_bytes_below_works_too():
    """Such as one that a test captures."""
    for format in ("json", "console"):
        stream = io.StringIO()
        configure(LogSettings(format=format), stream)
        get_logger("x").info("fact", n=1)
        assert "fact" in stream.getvalue()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"connection": "c1", "remote": "127.0.0.1", "code": 1006, "seconds": 1.5},
        {"token": "hush", "reason": "at redis://u:hush@host", "list": ["?key=hush"]},
        {"client": None, "ok": True, "nested": {"password": "hush", "n": 2**70}},
    ],
)
def test_the_short_way_of_info_writes_the_same_line(fields):
    """All others go through structlog's processors, one after the other."""
    lines = []
    for level in ("info", "warning"):
        stream = configured()
        getattr(get_logger("x", node="n1"), level)("fact", **fields)
        lines.append(stream.line())
    short, long = lines
    assert short.pop("level") == "info"
    assert long.pop("level") == "warning"
    assert datetime.fromisoformat(short.pop("timestamp")) <= datetime.fromisoformat(
        long.pop("timestamp")
    )
    assert list(short) == list(long)
    assert short == long


def test_what_is_bound_to_the_context_shows_in_info():
    """As in all other lines."""
    stream = configured()
    with structlog.contextvars.bound_contextvars(request="r1"):
        get_logger("x").info("fact", a=1)
    line = stream.line()
    assert (line["request"], line["a"]) == ("r1", 1)


def test_an_info_with_arguments_or_an_exception_is_as_any_other():
    """They are formatted."""
    stream = configured()
    get_logger("x").info("%d of %d", 1, 2)
    assert stream.line()["event"] == "1 of 2"
    stream = configured()
    try:
        raise ValueError("no")
    except ValueError:
        get_logger("x").info("failed", exc_info=True)
    assert "ValueError: no" in stream.line()["exception"]
