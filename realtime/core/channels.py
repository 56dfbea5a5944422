"""
Channels and namespaces: what a name may look like, and who may do what by default.

A channel is ``namespace:name``. A namespace exists when the configuration declares it;
what it declares is the default for its channels. A token may grant more, never less.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from realtime.errors import BAD_CHANNEL, CommandError, ConfigError
from realtime.types import Channel

LIVE = "live"
"""The namespace of live channels: reserved; only counters publish here."""

MAX_CHANNEL_CHARS = 255
MAX_LIVE_CHARS = 4096
"""Of a live channel, whose name holds the values of dimensions, percent-encoded."""

_NAMESPACE = re.compile(r"[A-Za-z0-9_-]{1,63}")


class Rule(StrEnum):
    """Who may do something; each one includes those before it."""

    TOKEN = "token"  # only who holds a token that grants it
    USER = "user"  # every signed-in user
    ANYONE = "anyone"  # anonymous sessions too


def namespace_of(channel: str) -> str:
    """Return the text before the first colon; ``""`` if there is no colon."""
    namespace, colon, _ = channel.partition(":")
    return namespace if colon else ""


def check_channel(name: str) -> Channel:
    """
    Return *name* as a channel: 1 to 255 printable characters without spaces (a live
    channel's up to 4,096), one of them the colon after the namespace.

    Raises:
        CommandError: BAD_CHANNEL, naming the offending character or what is missing.
    """
    if not name:
        raise _bad("channel: the name is empty")
    most = MAX_LIVE_CHARS if namespace_of(name) == LIVE else MAX_CHANNEL_CHARS
    if len(name) > most:
        raise _bad(
            f"channel: the name has {len(name)} characters, at most {most} are allowed"
        )
    if not name.isprintable() or " " in name:
        raise _bad(_offence(name))
    if not namespace_of(name):
        raise _bad(
            f"channel: {name} has no namespace; a channel is written namespace:name"
        )
    return Channel(name)


def _bad(reason: str) -> CommandError:
    return CommandError(BAD_CHANNEL, reason, field="channel")


def _offence(name: str) -> str:
    index, character = next(
        (index, character)
        for index, character in enumerate(name)
        if character == " " or not character.isprintable()
    )
    what = "a space" if character == " " else f"U+{ord(character):04X}"
    return (
        f"channel: character {index + 1} of the name is {what}; "
        "names are printable characters without spaces"
    )


@dataclass(frozen=True, slots=True)
class NamespaceDefinition:
    """``[namespaces.NAME]``: what its channels allow to whom no token grants more."""

    name: str
    subscribe: Rule = Rule.TOKEN
    publish: Rule = Rule.TOKEN

    @classmethod
    def parse(cls, name: str, raw: Mapping[str, object]) -> NamespaceDefinition:
        """
        Make a definition of the table *raw* of the configuration.

        Raises:
            ConfigError: If the name or a key is unknown or malformed.
        """
        key = f"namespaces.{name}"
        if name == LIVE:
            raise ConfigError(
                key, "is reserved: live channels are declared by [counters.NAME]"
            )
        if not _NAMESPACE.fullmatch(name):
            raise ConfigError(
                key,
                "the name must be 1 to 63 characters of A-Z, a-z, 0-9, _ and -, "
                "such as [namespaces.chat]",
            )
        for option in raw:
            if option not in _OPTIONS:
                raise ConfigError(f"{key}.{option}", _unknown(option))
        return cls(
            name,
            parse_rule(f"{key}.subscribe", raw.get("subscribe", Rule.TOKEN)),
            parse_rule(f"{key}.publish", raw.get("publish", Rule.TOKEN)),
        )


_OPTIONS = ("subscribe", "publish")


def _unknown(option: str) -> str:
    close = get_close_matches(option, _OPTIONS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(_OPTIONS)}"
    return f"is not a setting of a namespace; {hint}"


def parse_rule(key: str, value: object) -> Rule:
    """
    Return the rule that the configuration spells *value*.

    Raises:
        ConfigError: If there is no such rule.
    """
    try:
        return Rule(value)  # type: ignore[arg-type]
    except ValueError:
        known = ", ".join(f'"{rule}"' for rule in Rule)
        raise ConfigError(key, f"must be one of {known}; got {value!r}") from None
