"""
Logs: one line per fact, as JSON or for a terminal, and no secrets in either.

Everything goes through the same processors: structlog's events and the records of the
standard library, which uvicorn and other packages write.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import MutableMapping
from contextvars import copy_context
from functools import lru_cache
from typing import Any, BinaryIO, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from realtime.settings import LogSettings

REDACTED = "(redacted)"

_SECRET_WORDS = frozenset(
    {
        "authorization",
        "cookie",
        "credentials",
        "data",
        "key",
        "password",
        "payload",
        "secret",
        "token",
    }
)

# What may be inside a text, such as an exception's: a password in an address, a token
# in a query or a header, and a JSON Web Token wherever it stands.
_SECRETS_IN_TEXT = (
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+@"), rf"\1{REDACTED}@"),
    (
        re.compile(r"(?i)([?&](?:access_token|token|api_key|key)=)[^&\s\"']+"),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(?i)\b(bearer )[^\s\"',]+"), rf"\1{REDACTED}"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), REDACTED),
)

#: Loggers that say a line per request or connection, of which ours say enough.
_TALKATIVE = ("httpcore", "httpx", "uvicorn.access", "websockets")
_UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")


def configure(settings: LogSettings, stream: TextIO) -> None:
    """Send all logs to *stream* from now on. May be called again."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    as_json = settings.format == "json" or (
        settings.format == "auto" and not stream.isatty()
    )
    binary: BinaryIO | None = getattr(stream, "buffer", None)
    renderer: list[Processor]
    factory: Any
    if as_json and binary is not None:
        # One for all: structlog's own factory makes one for every line.
        writer = structlog.BytesLogger(binary)
        renderer, factory = [_to_json_bytes], lambda *names: writer
    else:
        renderer = [_to_json_text] if as_json else _console(stream.isatty())
        factory = structlog.PrintLoggerFactory(stream)
    wrapper = structlog.make_filtering_bound_logger(level)
    if as_json and binary is not None and level <= logging.INFO:
        wrapper = _with_short_way(wrapper)
    structlog.configure(
        processors=[*_PROCESSORS, *renderer],
        wrapper_class=wrapper,
        logger_factory=factory,
        # Loggers are made when modules are imported, before this is called; and tests
        # call it again.
        cache_logger_on_first_use=False,
    )
    _take_over_standard_logging(level)


def get_logger(name: str, **fields: object) -> structlog.typing.FilteringBoundLogger:
    """Return a logger whose lines carry *fields*."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(name, **fields)
    return logger


def redact(
    logger: WrappedLogger, method: str, event: MutableMapping[str, Any]
) -> EventDict:
    """Hide values whose key tells that they are secret, and secrets inside texts."""
    # Hot: a line for every connection that comes, and one when it goes.
    for key, value in event.items():
        if _is_secret(str(key)):
            if value is not None and not isinstance(value, bool):
                event[key] = REDACTED
        elif type(value) not in _HARMLESS:
            event[key] = _clean(value)
    return event


_HARMLESS = frozenset({bool, int, float, type(None)})


@lru_cache(maxsize=512)
def _is_secret(key: str) -> bool:
    """Whether *key* tells that its value is one."""
    return not _SECRET_WORDS.isdisjoint(key.lower().split("_"))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        # Each of the patterns needs one of these; most values have none of them.
        if " " in value or "=" in value or "://" in value or "eyJ" in value:
            for pattern, replacement in _SECRETS_IN_TEXT:
                value = pattern.sub(replacement, value)
        return value
    if isinstance(value, dict):
        return redact(None, "", dict(value))
    if isinstance(value, list | tuple):
        return [_clean(one) for one in value]
    if isinstance(value, BaseException):
        return _clean(str(value))
    return value


def _stamp(
    logger: WrappedLogger, method: str, event: MutableMapping[str, Any]
) -> EventDict:
    """Say when: ISO 8601, UTC. As structlog's own does, in a third of its time."""
    now_us = time.time_ns() // 1000
    event["timestamp"] = f"{_second(now_us // 1_000_000)}.{now_us % 1_000_000:06}Z"
    return event


@lru_cache(maxsize=1)
def _second(number: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(number))


_PROCESSORS: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    _stamp,
    structlog.processors.format_exc_info,
    redact,
)


def _to_json_bytes(logger: WrappedLogger, method: str, event: EventDict) -> bytes:
    first = {
        "timestamp": event.pop("timestamp", None),
        "level": event.pop("level", None),
        "event": event.pop("event", None),
    }
    line = first | dict(event)
    try:
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # an integer of more than 64 bits, or half a surrogate pair
        return json.dumps(line, default=str).encode()


def _to_json_text(logger: WrappedLogger, method: str, event: EventDict) -> str:
    return _to_json_bytes(logger, method, event).decode()


def _console(colors: bool) -> list[Processor]:
    # Not the default, which prints the local variables of every frame: secrets too.
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback
    )
    return [_escape, renderer]


def _escape(
    logger: WrappedLogger, method: str, event: MutableMapping[str, Any]
) -> EventDict:
    """Keep strangers from making lines or colours by what they call themselves."""
    for key, value in event.items():
        if key != "exception" and isinstance(value, str) and not value.isprintable():
            event[key] = ascii(value)
    return event


def _with_short_way(wrapper: Any) -> Any:
    """
    Return *wrapper* with an ``info`` that goes through one function, not through ten.

    The line is the same. Two are written for every connection, and at 57 us each they
    were a quarter of what a hello costs (benchmarks/connect.py).
    """

    class Short(wrapper):  # type: ignore[misc]
        def info(self, event: str | None = None, *args: Any, **fields: Any) -> Any:
            renders = self._processors and self._processors[-1] is _to_json_bytes
            if args or not renders or not _UNUSUAL.isdisjoint(fields) or _bound():
                return super().info(event, *args, **fields)
            line: EventDict = {**self._context, **fields}
            line["event"], line["level"] = event, "info"
            _stamp(None, "info", line)
            redact(None, "info", line)
            return self._logger.msg(_to_json_bytes(None, "info", line))

    return Short


_UNUSUAL = frozenset({"exc_info", "stack_info"})


def _bound() -> bool:
    """Whether anybody has bound values to what runs, which all of its lines show."""
    return any(var.name.startswith("structlog") for var in copy_context())


class _Forwarder(logging.Handler):
    """Hands records of the standard library to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # its arguments do not fit its format
            message = str(record.msg)
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[0] is not None:
            fields["exc_info"] = record.exc_info
        structlog.get_logger().log(_level(record.levelno), message, **fields)


def _level(number: int) -> int:
    """Return the nearest level below that has a name: some packages invent levels."""
    return max((level for level in (10, 20, 30, 40, 50) if level <= number), default=10)


def _take_over_standard_logging(level: int) -> None:
    root = logging.getLogger()
    for handler in list(root.handlers):
        # Exactly these: test tools and monitoring derive handlers of their own.
        if type(handler) in (_Forwarder, logging.StreamHandler):
            root.removeHandler(handler)
    root.addHandler(_Forwarder())
    root.setLevel(level)
    for name in _UVICORN:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
